"""What a sweep holds, in a screenful of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.stats.deduplication import compare
from isoklx.stats.groups import split_by
from isoklx.stats.selection import restore_dims
from isoklx.store import formats
from isoklx.sweeps.opening import open_sweep
from isoklx.system.paths import as_path
from isoklx.system.terminal import printable

WIDTH = 100
MOST_ROWS = 12
KEYS = ("model", "method", "window")
MEASURED = ("kl", "pmass_eval", "pmass")


def describe(path: str | Path) -> str:
    """Say what a file, or a runs root, holds.

    Parameters
    ----------
    path : str or Path
        As for `isoklx.open_sweep`.

    Returns
    -------
    str
        Cells by model and method, alphas, windows, prompts, the share of KL and pmass that is
        present, repeated cells, size and provenance.

    Raises
    ------
    DatasetError, BuildError
        As `isoklx.open_sweep`.

    Examples
    --------
    >>> print(describe("data/sample").splitlines()[2])
    12 cells, 10 distinct
    """
    path = as_path(path)
    with open_sweep(path) as opened:
        ds = _whole(opened)
        groups, n_distinct = _compared(ds)
        lines = [
            printable(ds.attrs.get("title", "a selection without a title")),
            "",
            f"{ds.sizes['cell']} {_cells_or_cell(ds)}, {n_distinct} distinct",
            *_cells(ds),
            "",
        ]
        lines += _labels(ds)
        lines += [
            "",
            *_present(ds),
            "",
            *_repeats(groups, ds.sizes.get("alpha", 0)),
            *_origin(ds, path),
        ]
    return "\n".join(lines)


def described(path: str | Path) -> dict[str, Any]:
    """Say what a file, or a runs root, holds, for a program to read.

    Parameters
    ----------
    path : str or Path
        As for `isoklx.open_sweep`.

    Returns
    -------
    dict
        Of what JSON can hold: ``file``, the attributes ``title``, ``source``, ``history`` and
        ``schema_version`` where they are there, ``n`` and ``n_distinct`` cells, the labels of each
        in ``cells``, ``alphas``, ``forks``, the numbers of ``prompts``, ``questions`` and
        ``tokens``, in ``present`` how many values each measured array has of how many, and in
        ``repeats`` which cells are alike, at which doses.

    Raises
    ------
    DatasetError, BuildError
        As `isoklx.open_sweep`.

    Examples
    --------
    >>> found = described("data/sample")
    >>> found["n"], found["n_distinct"], found["alphas"]
    (12, 10, [0.0, 0.25, 0.5, 1.0, 2.0, 4.0])
    """
    path = as_path(path)
    with open_sweep(path) as opened:
        ds = _whole(opened)
        groups, n_distinct = _compared(ds)
        attributes = ("title", "source", "history", "schema_version")
        names = ("run_id", "seed", "layer", *KEYS, *(name for name in schema.SPLIT if name in ds))
        labels = {name: [_plain(label) for label in ds[name].values] for name in names}
        return {
            "file": str(path),
            **{name: _plain(ds.attrs[name]) for name in attributes if name in ds.attrs},
            "n": ds.sizes["cell"],
            "n_distinct": n_distinct,
            "cells": [
                dict(zip(labels, values, strict=True))
                for values in zip(*labels.values(), strict=True)
            ],
            "alphas": _along(ds, "alpha").tolist(),
            "forks": _along(ds, "fork").tolist(),
            **{f"{dim}s": _along(ds, dim).size for dim in ("prompt", "question", "token")},
            "present": {
                name: {"values": int(ds[name].count()), "of": ds[name].size}
                for name in MEASURED
                if name in ds
            },
            "repeats": [
                {"run_ids": list(group), "alphas": alphas} for group, alphas in groups.items()
            ],
        }


def _whole(opened: xr.Dataset) -> xr.Dataset:
    schema.require(opened, [*KEYS, "run_id", "seed", "layer"])
    return restore_dims(opened)


def _compared(ds: xr.Dataset) -> tuple[dict[tuple[str, ...], list[float]], int]:
    """Cells that are alike, with their doses, and how many are distinct."""
    if "kl" not in ds or "pmass_eval" not in ds:
        return {}, ds.sizes["cell"]
    found = compare(ds)  # which is worth doing once
    return found.groups, int((~found.redundant).sum())


def _plain(value: Any) -> Any:
    """A value that JSON can hold; NaN is null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value != value else value  # noqa: PLR0124


def _cells(ds: xr.Dataset) -> list[str]:
    """A table of cells by model, method and window, and side or temperature where several."""
    keys = split_by(ds, KEYS)
    labels = ds[[*keys, "seed", "layer"]].reset_coords().to_dataframe()
    rows = [(*keys, "cells", "seeds", "layer")]
    for key, group in labels.groupby(keys, dropna=False):
        seeds, layers = (_numbers(sorted(set(group[name]))) for name in ("seed", "layer"))
        rows.append((*map(printable, key), str(len(group)), seeds, layers))
    hidden = len(rows) - 1 - MOST_ROWS
    rows = rows[: MOST_ROWS + 1]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return lines + ([f"  and {hidden} more rows"] if hidden > 0 else [])


def _cells_or_cell(ds: xr.Dataset) -> str:
    return "cell" if ds.sizes["cell"] == 1 else "cells"


def _labels(ds: xr.Dataset) -> list[str]:
    return [
        _entry("alphas", _numbers(_along(ds, "alpha")) or "none, calibrated only"),
        _entry("windows", f"{_numbers(np.unique(ds.window))} tokens"),
        _entry("tokens", f"{_along(ds, 'token').size} in the longest row"),
        _entry(
            "prompts",
            f"{_along(ds, 'prompt').size}, and {_along(ds, 'question').size} yes/no questions",
        ),
        _entry("forks", _numbers(_along(ds, "fork")) or "none"),
    ]


def _along(ds: xr.Dataset, dim: str) -> npt.NDArray[Any]:
    """The labels of a dimension; none where a selection has left it out."""
    return np.asarray(ds[dim].values if dim in ds.variables else np.empty(0))


def _present(ds: xr.Dataset) -> list[str]:
    """The share of each measured array that has a number, and in how many cells."""
    lines = []
    for name in MEASURED:
        if name not in ds or "cell" not in ds[name].dims:
            continue
        size, count = (
            ds[name].size,
            ds[name].count([dim for dim in ds[name].dims if dim != "cell"]).values,
        )
        share = f"{100 * count.sum() / size:.0f}% of {size} values" if size else "no values"
        cells = np.count_nonzero(count)
        lines.append(
            _entry(name, f"{share}, in {cells} of {ds.sizes['cell']} {_cells_or_cell(ds)}")
        )
    return lines


def _repeats(groups: dict[tuple[str, ...], list[float]], n_alphas: int) -> list[str]:
    """Which cells are alike, and where, unless they are at every dose."""
    lines = [
        _entry("repeats", " = ".join(group) + _where(alphas, n_alphas))
        for group, alphas in islice(groups.items(), MOST_ROWS)
    ]
    if len(groups) > MOST_ROWS:
        lines.append(_entry("", f"and {len(groups) - MOST_ROWS} more groups"))
    return [*lines, ""] if lines else []


def _where(alphas: list[float], n_alphas: int) -> str:
    return "" if len(alphas) == n_alphas else f" at alpha {_numbers(alphas)}"


def _origin(ds: xr.Dataset, path: Path) -> list[str]:
    if path.is_dir() and not formats.is_zarr(path):
        what = "a runs root"
    else:
        what = f"{'Zarr store, ' if path.is_dir() else ''}{formats.size(path) / 1e6:.1f} MB"
    return [
        _entry("file", f"{path} ({what}, schema {ds.attrs.get('schema_version', 'unknown')})"),
        *([_entry("source", ds.attrs["source"])] if "source" in ds.attrs else []),
        *_history(str(ds.attrs.get("history", ""))),
    ]


def _history(text: str) -> list[str]:
    """A line for each step, as NCO and others write them."""
    steps = text.splitlines()
    return [_entry("" if place else "history", step) for place, step in enumerate(steps)]


def _entry(name: str, text: str) -> str:
    indent = " " * 12
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=f"{name:<12}",
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _numbers(values: Iterable[float]) -> str:
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(shown if len(shown) <= 24 else [*shown[:12], "...", *shown[-4:]])
