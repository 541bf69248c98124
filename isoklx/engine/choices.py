"""The choices that a run is asked for by name; light, as the command line reads them at once."""

from __future__ import annotations

from typing import Literal

Method = Literal["mean_diff", "pca", "pca_centred", "directional_ablation"]
"""How a direction is found in pairs; all but the last, which is put in the place of what lies along
it, are added."""

Statistic = Literal["p95", "rms", "mean"]
"""What of KL over all tokens is brought to the target."""

Token = Literal["content", "last"]
"""Where in an answer its direction is read: at the last of its own tokens, or of its turn."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Precision of a model."""

Sign = Literal["+", "-"]
"""Side of a direction."""

Forks = Literal["log"] | int | tuple[int, ...]
"""Tokens at which a rollout is asked: log-spaced, every so many, or these."""
