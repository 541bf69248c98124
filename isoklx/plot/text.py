"""Text of one rollout, each token shaded by its KL, with pmass at the forks beside it."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError
from isoklx.stats.endpoint import lifetimes
from isoklx.stats.selection import restore_dims, select
from isoklx.stats.trajectories import paired_pmass
from isoklx.sweeps.opening import open_sweep
from isoklx.system.terminal import printable

DARKEST = 0.6
"""Opacity of the darkest shade; text stays legible on white and on black."""

FULL = 6
"""KL divided by the target at which the shade is darkest."""


@dataclass(frozen=True)
class Text:
    """A rollout that notebooks display as HTML, and other programs as plain text."""

    html: str
    plain: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.plain

    __repr__ = __str__


def text(
    sweep: xr.Dataset | str | Path,
    run_id: str,
    alpha: float,
    prompt: int,
    *,
    threshold: float | None = None,
) -> Text:
    """Show the text of one rollout, each token shaded by its KL.

    Parameters
    ----------
    sweep : Dataset or path
        A sweep opened with its texts (built with ``texts=True``), or a runs root or built file.
    run_id : str
        Cell of the rollout.
    alpha : float
        Dose of the rollout.
    prompt : int
        Index of its prompt.
    threshold : float, optional
        The rollout died at the first fork whose ``pmass_eval`` is below this; by default 0.75.

    Returns
    -------
    Text
        Displayed as HTML in a notebook, with pmass at the forks in the margin. Tokens are shaded if
        ``gens.jsonl`` records them; otherwise the text is shown whole. Prompts and generated text
        are escaped.

    Raises
    ------
    DatasetError
        If `sweep` lacks texts, or the text of this rollout.
    UsageError
        If the cell, dose or prompt is not found.

    Examples
    --------
    >>> shown = text("data/sample", "simulated-1B_pca_s0_w64", alpha=2, prompt=0)
    >>> shown.plain[:37]
    'simulated-1B_pca_s0_w64, alpha 2, pro'
    """
    if not isinstance(sweep, xr.Dataset):
        with open_sweep(sweep, texts=True) as opened:
            return text(opened, run_id, alpha, prompt, threshold=threshold)
    if "gen_text" not in sweep:
        raise DatasetError("this sweep lacks texts: build it with texts=True, or --texts")
    schema.require(sweep, ["kl", "gen_text", "gen_len", "target_kl", "run_id", "alpha", "prompt"])
    rollout = select(restore_dims(sweep), run_id=[run_id], alpha=[alpha], prompt=[prompt]).load()
    generated = str(rollout["gen_text"].values.item())
    if not generated:
        raise DatasetError(f"{run_id}: no text recorded at alpha {alpha:g}, prompt {prompt}")
    kl = rollout["kl"].values[0, 0, 0]
    forks = _forks(rollout, threshold)
    head = f"{printable(run_id)}, alpha {alpha:g}, prompt {prompt}: {_summary(rollout, forks)}"
    prompt_text = str(rollout["prompt_text"].values.item()) if "prompt_text" in rollout else ""
    tokens = _tokens(rollout, generated)
    body = (
        _shaded(tokens, kl, float(rollout["target_kl"].values[0]), forks)
        if tokens
        else _escape(generated)
    )
    warning = "" if tokens else "<p>The tokens were not recorded, so the text is not shaded.</p>"
    margin = "".join(f"<li>{html.escape(each.caption)}</li>" for each in forks)
    question = ""
    if prompt_text:
        question = f"<p><b>Prompt</b></p><div style='{BOX}'>{_escape(prompt_text)}</div>"
    page = (
        f"<div style='max-width:60rem'><p><b>{html.escape(head)}</b></p>{question}{warning}"
        "<div style='display:flex;gap:1rem;flex-wrap:wrap'>"
        f"<div style='{BOX};flex:1 1 24rem'>{body}</div>"
        f"<ol style='list-style:none;margin:0;padding:0;font-size:.85em'>{margin}</ol></div></div>"
    )
    return Text(page, f"{head}\n{generated}")


BOX = "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;line-height:1.7"


@dataclass(frozen=True)
class _Fork:
    token: int
    pmass: float
    died: bool

    @property
    def caption(self) -> str:
        return f"token {self.token}: pmass {self.pmass:.3g}{', died' if self.died else ''}"


def _forks(rollout: xr.Dataset, threshold: float | None) -> list[_Fork]:
    """List the forks of the rollout with pmass, and the one at which it died."""
    if "pmass_eval" not in rollout or not rollout["pmass_eval"].notnull().any():
        return []
    events = lifetimes(rollout, "pmass_eval", threshold).isel(threshold=0).squeeze()
    death = int(events["end"]) if bool(events["died"]) else -1
    pmass = paired_pmass(rollout).values[0, 0, 0]
    return [
        _Fork(int(fork), float(value), i == death)
        for i, (fork, value) in enumerate(zip(rollout["fork"].values, pmass, strict=True))
        if math.isfinite(value)
    ]


def _summary(rollout: xr.Dataset, forks: list[_Fork]) -> str:
    length = rollout["gen_len"].values.item()
    tokens = "" if math.isnan(length) else f"{int(length)} tokens"
    dead = [f"died at token {fork.token}" for fork in forks if fork.died]
    return ", ".join(filter(None, [tokens, *dead]))


def _tokens(rollout: xr.Dataset, generated: str) -> list[str]:
    """Split the text into tokens; return an empty list if their lengths are not recorded."""
    if "token_chars" not in rollout:
        return []
    length = rollout["gen_len"].values.item()
    chars = rollout["token_chars"].values[0, 0, 0][: 0 if math.isnan(length) else int(length)]
    ends = np.concatenate([[0], np.cumsum(chars, dtype=np.int64)]).tolist()
    return [generated[a:b] for a, b in pairwise(ends)] if ends[-1] == len(generated) else []


def _shaded(tokens: list[str], kl: Any, target: float, forks: list[_Fork]) -> str:
    """Write the shaded tokens as HTML, with a mark at each fork."""
    marks = {fork.token: fork for fork in forks}
    parts = []
    for i, token in enumerate(tokens):
        parts.append(_mark(marks.get(i)))
        nats = float(kl[i]) if i < len(kl) else math.nan
        known = math.isfinite(nats)
        share = min(1.0, math.sqrt(max(nats, 0) / (FULL * target))) if known and target > 0 else 0
        title = f"token {i}, KL {nats:.3g}" if known else f"token {i}"
        style = f"background:rgba(213,94,0,{DARKEST * share:.3f});unicode-bidi:isolate"
        parts.append(f"<span title='{title}' style='{style}'>{_escape(token)}</span>")
    return "".join([*parts, _mark(marks.get(len(tokens)))])


def _mark(fork: _Fork | None) -> str:
    if fork is None:
        return ""
    label = f"died, pmass {fork.pmass:.3g}" if fork.died else f"{fork.pmass:.3g}"
    style = "border:1px solid;border-radius:.6em;padding:0 .3em;margin:0 .2em"
    return f"<sup style='{style}' title='pmass at token {fork.token}'>{label}</sup>"


def _escape(raw: str) -> str:
    """Escape untrusted text for HTML, keeping its line breaks."""
    return "\n".join(html.escape(printable(line)) for line in raw.split("\n"))
