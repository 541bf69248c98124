"""Summaries of a sweep for people and for programs."""

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
    """Summarize a file or a runs root in a screenful of text, as `isoklx info` prints it."""
    path = as_path(path)
    with open_sweep(path) as opened:
        ds = _restored(opened)
        groups, n_distinct = _duplicates(ds)
        lines = [
            printable(ds.attrs.get("title", "untitled selection")),
            "",
            f"{ds.sizes['cell']} {_cell_noun(ds)}, {n_distinct} distinct",
            *_describe_cells(ds),
            "",
        ]
        lines += _describe_labels(ds)
        lines += [
            "",
            *_describe_values(ds),
            "",
            *_describe_duplicates(groups, ds.sizes.get("alpha", 0)),
            *_describe_origin(ds, path),
        ]
    return "\n".join(lines)


def described(path: str | Path) -> dict[str, Any]:
    """Summarize a file or a runs root as an object that JSON can hold."""
    path = as_path(path)
    with open_sweep(path) as opened:
        ds = _restored(opened)
        groups, n_distinct = _duplicates(ds)
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
            "alphas": _labels(ds, "alpha").tolist(),
            "forks": _labels(ds, "fork").tolist(),
            **{f"{dim}s": _labels(ds, dim).size for dim in ("prompt", "question", "token")},
            "present": {
                name: {"values": int(ds[name].count()), "of": ds[name].size}
                for name in MEASURED
                if name in ds
            },
            "repeats": [
                {"run_ids": list(group), "alphas": alphas} for group, alphas in groups.items()
            ],
        }


def _restored(opened: xr.Dataset) -> xr.Dataset:
    schema.require(opened, [*KEYS, "run_id", "seed", "layer"])
    return restore_dims(opened)


def _duplicates(ds: xr.Dataset) -> tuple[dict[tuple[str, ...], list[float]], int]:
    """Return the duplicate cells with their doses, and the number of distinct cells."""
    if "kl" not in ds or "pmass_eval" not in ds:
        return {}, ds.sizes["cell"]
    found = compare(ds)  # expensive: once for both results
    return found.groups, int((~found.redundant).sum())


def _plain(value: Any) -> Any:
    """Convert a value to what JSON can hold; NaN becomes null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value != value else value  # noqa: PLR0124


def _describe_cells(ds: xr.Dataset) -> list[str]:
    """Tabulate cells by model, method and window (and side or temperature, if several)."""
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


def _cell_noun(ds: xr.Dataset) -> str:
    return "cell" if ds.sizes["cell"] == 1 else "cells"


def _describe_labels(ds: xr.Dataset) -> list[str]:
    return [
        _entry("alphas", _numbers(_labels(ds, "alpha")) or "none, calibrated only"),
        _entry("windows", f"{_numbers(np.unique(ds.window))} tokens"),
        _entry("tokens", f"{_labels(ds, 'token').size} in the longest row"),
        _entry(
            "prompts",
            f"{_labels(ds, 'prompt').size}, and {_labels(ds, 'question').size} yes/no questions",
        ),
        _entry("forks", _numbers(_labels(ds, "fork")) or "none"),
    ]


def _labels(ds: xr.Dataset, dim: str) -> npt.NDArray[Any]:
    """Return the labels of a dimension; empty if a selection lacks it."""
    return np.asarray(ds[dim].values if dim in ds.variables else np.empty(0))


def _describe_values(ds: xr.Dataset) -> list[str]:
    """Report the share of each measured array that is present, and in how many cells."""
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
        lines.append(_entry(name, f"{share}, in {cells} of {ds.sizes['cell']} {_cell_noun(ds)}"))
    return lines


def _describe_duplicates(groups: dict[tuple[str, ...], list[float]], n_alphas: int) -> list[str]:
    """List duplicate cells, with their doses unless these are all doses."""
    lines = [
        _entry("repeats", " = ".join(group) + _at_alpha(alphas, n_alphas))
        for group, alphas in islice(groups.items(), MOST_ROWS)
    ]
    if len(groups) > MOST_ROWS:
        lines.append(_entry("", f"and {len(groups) - MOST_ROWS} more groups"))
    return [*lines, ""] if lines else []


def _at_alpha(alphas: list[float], n_alphas: int) -> str:
    return "" if len(alphas) == n_alphas else f" at alpha {_numbers(alphas)}"


def _describe_origin(ds: xr.Dataset, path: Path) -> list[str]:
    if path.is_dir() and not formats.is_zarr(path):
        what = "a runs root"
    else:
        what = f"{'Zarr store, ' if path.is_dir() else ''}{formats.size(path) / 1e6:.1f} MB"
    return [
        _entry("file", f"{path} ({what}, schema {ds.attrs.get('schema_version', 'unknown')})"),
        *([_entry("source", ds.attrs["source"])] if "source" in ds.attrs else []),
        *_describe_history(str(ds.attrs.get("history", ""))),
    ]


def _describe_history(text: str) -> list[str]:
    """Format one line per step, as NCO and others write them."""
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
