"""The commands that run models: they make cells, and compute their numbers again."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_type_hints

from isoklx.engine import run as runs
from isoklx.errors import MeasureError
from isoklx.system.terminal import printable

AGREES = {"float32": 1e-3, "float64": 1e-3}
"""Differences up to which a cell agrees with what is computed again; else 0.1."""


def recheck(
    cell: Path, *, samples: int = 3, model: str | None = None, device: str = "auto"
) -> None:
    """Recompute numbers of a cell by a plain loop, and print the largest differences.

    Each KL and pmass of some rollouts is recomputed without a cache, in a batch of one. The exit
    status is 1 if a difference is larger than the model's precision explains.

    Parameters
    ----------
    cell : Path
        Folder of a cell that run made.
    samples : int
        Rollouts from prompts, and from questions, spread over the doses.
    model : str, optional
        Where the model is now, if not where the cell says.
    device : str
        As torch names it; by default a GPU where there is one.

    Examples
    --------
    $ isoklx recheck outputs/tiny_mean_diff_s0_w64 --samples 10
    """
    from isoklx.engine.recheck import LARGEST, recheck

    found = recheck(cell, samples=samples, model=model, device=device)
    shown = dict.fromkeys(LARGEST, "{:.1e}".format) | {"alpha": "{:g}".format}
    print(found.to_string(index=False, formatters=shown, na_rep="-"))
    largest = found[[*LARGEST]].max().max()
    print(f"largest difference: {largest:.1e}")
    other = found.attrs["other"]
    if not largest <= AGREES.get(found.attrs["dtype"], 0.1):
        cause = f": it was computed with {other}" if other else ""
        raise MeasureError(f"{cell}: does not agree with its recomputation{cause}")
    if other:
        print(f"the numbers agree, though computed with {other}")


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Show what the run says of itself, one line each, above its progress."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    log = logging.getLogger("isoklx.engine")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        return clear + printable(record.getMessage())


def _command(function: Callable[..., Sequence[object]]) -> Callable[..., None]:
    """The function as a command: the same options; what it says and returns is shown."""

    @functools.wraps(function)
    def command(*models: str, **options: object) -> None:
        with log_to_stderr():
            made = function(*models, **options)
        for each in made:
            print(printable(each))

    del command.__wrapped__  # Fire would call what it finds there
    signature = inspect.signature(function).replace(return_annotation=None)
    command.__signature__ = signature  # type: ignore[attr-defined]
    # Without what it returns, whose type would have torch imported.
    command.__annotations__ = {**function.__annotations__, "return": None}
    command.__annotations__ = get_type_hints(command, function.__globals__)
    return command


run: Callable[..., None] = _command(runs.run)
