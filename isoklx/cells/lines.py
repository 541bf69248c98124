"""The files of a cell that are no JSON, as lines by alpha."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isoklx.cells import measurements as m
from isoklx.cells.sources import GENERATIONS, RESULTS
from isoklx.cells.summaries import RESULTS_HEADER

ByAlpha = dict[str, list[str]]


@dataclass(frozen=True)
class Lines:
    """How a file's text is taken apart, and put together again.

    Parameters
    ----------
    by_alpha : callable
        Lines of a text by alpha, as it is spelt there; ValueError at one that has none.
    text : callable
        The text of lines.
    """

    by_alpha: Callable[[str], ByAlpha]
    text: Callable[[Sequence[str]], str]


def _results(text: str) -> ByAlpha:
    header, *lines = text.splitlines() or [""]
    if header != RESULTS_HEADER:
        raise ValueError(f"line 1 is {m.shown(header)}, not {RESULTS_HEADER}")
    found: ByAlpha = {}
    for i, line in enumerate(lines, start=2):
        alpha = line.partition(",")[0]
        m.alpha_of(alpha, f"line {i}, alpha")
        found[alpha] = [line]
    return found


def _generations(text: str) -> ByAlpha:
    found: ByAlpha = {}
    # Not splitlines: characters that it takes for the end of a line may stand in a text.
    for i, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            alpha = m.named(m.mapping(json.loads(line), "it"), "alpha")
            found.setdefault(repr(m.finite(alpha, "alpha")), []).append(line)
        except ValueError as error:
            raise ValueError(f"line {i} is no generation: {error}") from error
    return found


LINES = {
    RESULTS: Lines(_results, lambda lines: "\r\n".join([RESULTS_HEADER, *lines, ""])),
    GENERATIONS: Lines(_generations, lambda lines: "\n".join([*lines, ""])),
}
"""Of results.csv, whose lines end as csv's do, and gens.jsonl."""
