"""One rollout to read: its text, each token shaded by its KL, and pmass at the forks beside it."""

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
"""Opacity of the darkest shade, through which a text can be read on white and on black."""

FULL = 6
"""KL over the target from which on a shade is the darkest."""


@dataclass(frozen=True)
class Text:
    """A rollout that a notebook shows as HTML, and anything else as plain text."""

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
    """Show what a model said at a dose, each token shaded by its KL.

    Parameters
    ----------
    sweep : Dataset or path
        A sweep that was opened with its texts (built with ``texts=True``), or a runs root or a
        built file to open.
    run_id : str
        The cell.
    alpha : float
        The dose.
    prompt : int
        Index of the prompt.
    threshold : float, optional
        Of ``pmass_eval``, by default 0.75: where it first falls below, the rollout died.

    Returns
    -------
    Text
        Shown as HTML by a notebook: tokens shaded where ``gens.jsonl`` has them one by one, else
        the text as a whole; pmass at the forks in the margin. All that is other people's is
        escaped.

    Raises
    ------
    DatasetError
        When `sweep` has no texts, or none of this rollout.
    UsageError
        When the cell, dose or prompt is not there.

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
        raise DatasetError("this sweep has no texts: build it with texts=True, or --texts")
    schema.require(sweep, ["kl", "gen_text", "gen_len", "target_kl", "run_id", "alpha", "prompt"])
    one = select(restore_dims(sweep), run_id=[run_id], alpha=[alpha], prompt=[prompt]).load()
    said = str(one["gen_text"].values.item())
    if not said:
        raise DatasetError(f"{run_id}: no text was recorded at alpha {alpha:g}, prompt {prompt}")
    kl = one["kl"].values[0, 0, 0]
    forks = _forks(one, threshold)
    head = f"{printable(run_id)}, alpha {alpha:g}, prompt {prompt}: {_fate(one, forks)}"
    asked = str(one["prompt_text"].values.item()) if "prompt_text" in one else ""
    tokens = _tokens(one, said)
    body = _shaded(tokens, kl, float(one["target_kl"].values[0]), forks) if tokens else _safe(said)
    whole = "" if tokens else "<p>Its tokens were not recorded, so it is not shaded.</p>"
    margin = "".join(f"<li>{html.escape(each.says)}</li>" for each in forks)
    question = f"<p><b>Prompt</b></p><div style='{BOX}'>{_safe(asked)}</div>" if asked else ""
    page = (
        f"<div style='max-width:60rem'><p><b>{html.escape(head)}</b></p>{question}{whole}"
        "<div style='display:flex;gap:1rem;flex-wrap:wrap'>"
        f"<div style='{BOX};flex:1 1 24rem'>{body}</div>"
        f"<ol style='list-style:none;margin:0;padding:0;font-size:.85em'>{margin}</ol></div></div>"
    )
    return Text(page, f"{head}\n{said}")


BOX = "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;line-height:1.7"


@dataclass(frozen=True)
class _Fork:
    token: int
    pmass: float
    died: bool

    @property
    def says(self) -> str:
        return f"token {self.token}: pmass {self.pmass:.3g}{', died' if self.died else ''}"


def _forks(one: xr.Dataset, threshold: float | None) -> list[_Fork]:
    """Where the rollout was asked."""
    if "pmass_eval" not in one or not one["pmass_eval"].notnull().any():
        return []
    lives = lifetimes(one, "pmass_eval", threshold).isel(threshold=0).squeeze()
    death = int(lives["end"]) if bool(lives["died"]) else -1
    pmass = paired_pmass(one).values[0, 0, 0]
    return [
        _Fork(int(fork), float(value), i == death)
        for i, (fork, value) in enumerate(zip(one["fork"].values, pmass, strict=True))
        if math.isfinite(value)
    ]


def _fate(one: xr.Dataset, forks: list[_Fork]) -> str:
    length = one["gen_len"].values.item()
    tokens = "" if math.isnan(length) else f"{int(length)} tokens"
    dead = [f"died at token {fork.token}" for fork in forks if fork.died]
    return ", ".join(filter(None, [tokens, *dead]))


def _tokens(one: xr.Dataset, said: str) -> list[str]:
    """The text token by token; nothing where that is not known."""
    if "token_chars" not in one:
        return []
    length = one["gen_len"].values.item()
    chars = one["token_chars"].values[0, 0, 0][: 0 if math.isnan(length) else int(length)]
    ends = np.concatenate([[0], np.cumsum(chars, dtype=np.int64)]).tolist()
    return [said[a:b] for a, b in pairwise(ends)] if ends[-1] == len(said) else []


def _shaded(tokens: list[str], kl: Any, target: float, forks: list[_Fork]) -> str:
    """Tokens as HTML, the forks among them."""
    marks = {fork.token: fork for fork in forks}
    parts = []
    for i, token in enumerate(tokens):
        parts.append(_mark(marks.get(i)))
        nats = float(kl[i]) if i < len(kl) else math.nan
        known = math.isfinite(nats)
        share = min(1.0, math.sqrt(max(nats, 0) / (FULL * target))) if known and target > 0 else 0
        title = f"token {i}, KL {nats:.3g}" if known else f"token {i}"
        style = f"background:rgba(213,94,0,{DARKEST * share:.3f});unicode-bidi:isolate"
        parts.append(f"<span title='{title}' style='{style}'>{_safe(token)}</span>")
    return "".join([*parts, _mark(marks.get(len(tokens)))])


def _mark(fork: _Fork | None) -> str:
    if fork is None:
        return ""
    says = f"died, pmass {fork.pmass:.3g}" if fork.died else f"{fork.pmass:.3g}"
    style = "border:1px solid;border-radius:.6em;padding:0 .3em;margin:0 .2em"
    return f"<sup style='{style}' title='pmass at token {fork.token}'>{says}</sup>"


def _safe(said: str) -> str:
    """Other people's text as HTML that shows it and does nothing else; lines stay lines."""
    return "\n".join(html.escape(printable(line)) for line in said.split("\n"))
