"""Choices that a run takes by name; import-light, as the command line reads them at startup."""

from __future__ import annotations

from typing import Literal

Method = Literal["mean_diff", "pca", "pca_centred", "directional_ablation"]
"""How a direction is found in pairs. The last one replaces the component along its direction; the
others add theirs."""

Statistic = Literal["p95", "rms", "mean"]
"""Statistic of KL over all tokens that is brought to the target."""

Token = Literal["content", "last"]
"""Token of an answer at which the direction is read: the last of its content, or of its turn."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Precision of a model."""

Sign = Literal["+", "-"]
"""Side of a direction."""

Forks = Literal["log"] | int | tuple[int, ...]
"""Tokens at which a fork probes the model: log-spaced, every N tokens, or the listed ones."""
