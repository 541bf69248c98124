"""The commands ``run`` and ``recheck``, which run models."""

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
"""Largest difference at which a cell agrees with its recomputation, by dtype; else 0.1."""


def recheck(
    cell: Path, *, samples: int = 3, model: str | None = None, device: str = "auto"
) -> None:
    """Recompute numbers of a cell with a plain loop, and print the largest differences.

    Recomputes each KL and pmass of some rollouts without a cache, in a batch of one. The exit
    status is 1 if a difference exceeds what the model's precision explains.

    Parameters
    ----------
    cell : Path
        Folder of a cell that run made.
    samples : int
        Number of rollouts from prompts, and again from questions, spread over the doses.
    model : str, optional
        Present location of the model, if the cell records another one.
    device : str
        Device, as torch names it; by default a GPU if available.

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
    """Print the log of the engine to standard error, one line per message, above the progress."""
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
    """Make a command of a function: the same options; its log and results are printed."""

    @functools.wraps(function)
    def command(*models: str, **options: object) -> None:
        with log_to_stderr():
            made = function(*models, **options)
        for each in made:
            print(printable(each))

    del command.__wrapped__  # Fire would call the wrapped function
    signature = inspect.signature(function).replace(return_annotation=None)
    command.__signature__ = signature  # type: ignore[attr-defined]
    # Drop the return type: resolving it would import torch.
    command.__annotations__ = {**function.__annotations__, "return": None}
    command.__annotations__ = get_type_hints(command, function.__globals__)
    return command


run: Callable[..., None] = _command(runs.run)
run.topics = {  # type: ignore[attr-defined]
    "inputs": ("pairs", "prompts", "calib_prompts", "questions", "noquestions", "vector", "out"),
    "steering": ("method", "layer", "token", "sign", "target_kl", "statistic", "alphas"),
    "measuring": ("window", "forks", "temperature", "samples", "seed"),
    "machine": ("device", "dtype", "batch", "scheduler", "dry"),
}
