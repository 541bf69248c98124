"""Checks of built files and of cells, without a model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoklx import schema
from isoklx.cells import consistency
from isoklx.cells.layout import CALIBRATION, GENERATIONS, VECTOR, Sources, cell_folders
from isoklx.cells.parsing import positions
from isoklx.cells.reading import Cell, read_cell
from isoklx.cells.rollout_checks import rollout_findings
from isoklx.cells.vector_file import vector_findings
from isoklx.errors import CellError, UsageError
from isoklx.store import opening
from isoklx.store.dataset import Alignment, assemble, texts_of
from isoklx.store.formats import is_zarr
from isoklx.store.versions import upgraded
from isoklx.system.paths import as_path, as_paths

ROUNDING = 1e-6
"""Tolerance above 1 for a probability summed in float32."""

UNREADABLE = (RuntimeError, OSError, ValueError)
"""Errors of libnetcdf and of Zarr's decompressors for damaged data."""


def verify(path: str | Path, roots: str | Path | Iterable[str | Path] = ()) -> list[str]:
    """Check a built file (with `roots` also against these), a runs root or a cell; return findings.

    The file itself: dimensions, dtype, fill value and units of every variable of the schema;
    ascending labels; probabilities within [0, 1]; ``gen_len`` at the last finite KL; no values
    beyond the end of a rollout or the window; correct flags; files of a single run (``coeff`` is
    alpha * ``c_star``, the calibration tried ``c_star`` and is not newer than the results).

    With roots: the same cells, the hash of their files, and every value equal to the output of
    `isoklx.cells.reading.read_cell`.

    Cell folders: the checks above; every line of ``gens.jsonl`` is a rollout of the cell with the
    length and coefficient of its other files; a prompt has the same token ids, text and suffix at
    every dose; and the vector has the hash in ``measured_with``. Only `isoklx.recheck` runs the
    model.
    """
    path = as_path(path)
    given = as_paths(roots)
    if path.is_dir() and not is_zarr(path):
        if given:
            raise UsageError(f"{path}: expected a built file to compare with roots, got a folder")
        here = [path] if (path / CALIBRATION).exists() else cell_folders([path])
        return [line for folder in here for line in _folder_findings(folder)]
    folders = cell_folders(given) if given else None
    opening.read(path, chunks=None).close()
    # Read the metadata of each array, not their consolidated copy.
    engine: dict[str, Any] = {"engine": "zarr", "consolidated": False} if is_zarr(path) else {}
    with xr.open_dataset(path, decode_cf=False, **({"engine": "netcdf4"} | engine)) as opened:
        ds = upgraded(opened)
        findings = [*_form_findings(ds)]
        if findings:
            return findings  # the other checks rely on the form
        try:
            findings += _label_findings(ds)
            for index in range(ds.sizes["cell"]):
                cell = ds.isel(cell=index).load()
                findings += [*_value_findings(cell), *_run_findings(cell)]
            if folders is not None:
                findings += _root_findings(ds, folders)
        except UNREADABLE as error:
            findings.append(f"damaged: a value cannot be read: {error}")
    return findings


def _form_findings(ds: xr.Dataset) -> Iterator[str]:
    """Compare the variables with the schema."""
    wide = "kl" in ds and ds["kl"].dtype == np.float64
    texts = {} if schema.TEXTS.keys().isdisjoint(ds.variables) else schema.TEXTS
    for name, var in {**schema.VARIABLES, **texts}.items():
        if name not in ds.variables:
            yield f"{name} is missing"
            continue
        stored = ds[name]
        dtype = "O" if var.dtype == "str" else "float64" if var.measured and wide else var.dtype
        if stored.dims != var.dims:
            yield f"{name} must have dimensions {var.dims}, got {stored.dims}"
        if stored.dtype != dtype and not (dtype == "O" and stored.dtype.kind in "TU"):
            yield f"{name} must be {var.dtype}, got {stored.dtype}"
        if stored.attrs.get("units") != var.units:
            yield f"{name} must have units {var.units!r}, got {stored.attrs.get('units')!r}"
        fill = stored.attrs.get("_FillValue", stored.encoding.get("_FillValue"))
        if str(fill) != str(var.fill):
            yield f"{name} must have the fill value {var.fill}, got {fill}"


def _label_findings(ds: xr.Dataset) -> Iterator[str]:
    """Check that labels are unique and in order."""
    for dim in ("alpha", "fork"):
        if not (np.diff(ds[dim].values) > 0).all() or not np.isfinite(ds[dim].values).all():
            yield f"{dim} must ascend, got {ds[dim].values}"
    for dim in ("prompt", "token", "question", "iteration"):
        if not np.array_equal(ds[dim].values, np.arange(ds.sizes[dim])):
            yield f"{dim} must count from 0, got {ds[dim].values}"
    names = ds["run_id"].values.tolist()
    if names != sorted(set(names)):
        [(name, times)] = Counter(names).most_common(1)
        yield f"run_id must be unique and ascending: {name!r} occurs {times} times"


def _value_findings(cell: xr.Dataset) -> Iterator[str]:
    """Check that the values of one cell are possible."""
    run_id, window, c_star = (cell[name].item() for name in ("run_id", "window", "c_star"))
    if window < 1:
        yield f"{run_id}: window is {window}"
    if not np.isfinite(c_star):
        yield f"{run_id}: c_star is {c_star}"
    for name in ("pmass_eval", "pmass", "p_true", "repetition"):
        values = cell[name].values
        yield from _one_line(
            cell,
            name,
            (values < 0) | (values > 1 + ROUNDING),
            "must be between 0 and 1, got {value:g}",
        )
    yield from _one_line(cell, "kl", np.isinf(cell["kl"].values), "is {value:g}")
    yield from _length_findings(cell, window)
    has_pmass = any(np.isfinite(cell[name].values).any() for name in ("pmass_eval", "pmass"))
    for name, there in (("has_kl", np.isfinite(cell["kl"].values).any()), ("has_pmass", has_pmass)):
        flag = cell[name].item()
        if flag != there:
            yield f"{run_id}: {name} is {flag}, but the cell {'has' if there else 'lacks'} values"


def _run_findings(cell: xr.Dataset) -> Iterator[str]:
    """Check that the files of a cell are of a single run."""
    run_id, c_star = cell["run_id"].item(), cell["c_star"].item()
    expected = f"must be alpha * c_star, got {{value:g}} with c_star = {c_star:g}"
    off = consistency.coeff_mismatch(cell["coeff"].values, cell["alpha"].values, c_star)
    yield from _one_line(cell, "coeff", off > consistency.SAME_COEFFICIENT, expected)
    tried = cell["calib_coeff"].values
    known = np.isfinite(tried).any() and np.isfinite(c_star)
    if known and not consistency.was_tried(c_star, tried):
        yield f"{run_id}: c_star is {c_star:g}, which no step of the calibration tried"
    if cell["calib_newer"].item() == 1:
        yield f"{run_id}: the calibration is newer than the results, which may be of an earlier run"


def _length_findings(cell: xr.Dataset, window: int) -> Iterator[str]:
    """Compare the lengths of rollouts with their measured values."""
    for name in ("gen_len", "gen_len_qa"):
        lengths = cell[name].values
        impossible = (lengths != schema.DATA[name].fill) & ((lengths < 0) | (lengths > window))
        yield from _one_line(
            cell, name, impossible, f"must be between 0 and {window}, got {{value:g}}"
        )
    finite, end = np.isfinite(cell["kl"].values), cell["gen_len"].values
    last = (finite * np.arange(1, finite.shape[-1] + 1)).max(axis=-1, initial=0)
    together = cell["unpaired"].values[:, np.newaxis] == 0
    wrong = (end != last) & (last > 0) & together
    yield from _one_line(
        cell, "gen_len", wrong, "is {value:g}, but the last finite kl is elsewhere"
    )
    late = (cell["fork"].values > end[..., np.newaxis]) & (end[..., np.newaxis] >= 0)
    past = late & np.isfinite(cell["pmass_eval"].values)
    yield from _one_line(cell, "pmass_eval", past, "is {value:g} after the end of the rollout")


def _one_line(cell: xr.Dataset, name: str, where: Any, what: str) -> Iterator[str]:
    """Report all values of a cell with the same fault in one line, which names the first."""
    count = np.count_nonzero(where)
    if not count:
        return
    at = tuple(np.argwhere(where)[0])
    place = ", ".join(
        f"{dim} {cell[dim].values[i]:g}" for dim, i in zip(cell[name].dims, at, strict=True)
    )
    more = f" ({count} such values)" if count > 1 else ""
    text = what.format(value=cell[name].values[at])
    yield f"{cell['run_id'].item()}: {name} at {place} {text}{more}"


def _root_findings(ds: xr.Dataset, folders: Sequence[Path]) -> Iterator[str]:
    """Compare the file with the folders it was built from."""
    stored = {run_id: index for index, run_id in enumerate(ds["run_id"].values)}
    found = {folder.name: folder for folder in folders}
    for run_id in sorted(stored.keys() - found.keys()):
        yield f"{run_id}: in the file, but no folder under the roots has that name"
    dtype, texts = str(ds["kl"].dtype), "gen_text" in ds.variables
    for run_id, folder in found.items():
        try:
            cell = read_cell(folder, dtype=dtype, texts=texts)
        except CellError as error:
            yield f"{error}" + ", but the cell is in the file" * (run_id in stored)
            continue
        assert isinstance(cell, Cell)
        if run_id not in stored:
            yield f"{run_id}: not in the file"
        else:
            yield from _cell_differences(ds.isel(cell=stored[run_id]).load(), cell)
            yield from _rollout_findings(cell)


def _folder_findings(folder: Path) -> Iterator[str]:
    """Check one cell folder by itself, without its model."""
    try:
        cell = read_cell(folder)
    except CellError as error:
        yield str(error)
        return
    assert isinstance(cell, Cell)
    ds = assemble([cell]).isel(cell=0)
    yield from _value_findings(ds)
    yield from _run_findings(ds)
    yield from _rollout_findings(cell)


def _rollout_findings(cell: Cell) -> Iterator[str]:
    """Check the rollouts and the vector of a cell, which are in no built file."""
    sources = Sources(cell.folder)
    try:
        sources.read(GENERATIONS, VECTOR)
    except CellError as error:
        yield str(error)
        return
    recorded = cell.data["measured_with"]
    measured_with = json.loads(recorded) if recorded else {}
    findings = (
        *rollout_findings(sources.bytes(GENERATIONS), cell, measured_with),
        *vector_findings(sources.bytes(VECTOR), measured_with),
    )
    for line in findings:
        yield f"{cell.labels['run_id']}: {line}"


def _cell_differences(stored: xr.Dataset, cell: Cell) -> Iterator[str]:
    """Compare a cell of the file with its folder."""
    run_id = cell.labels["run_id"]
    if stored["source_hash"].item() != cell.data["source_hash"]:
        yield f"{run_id}: the cell's files have changed since the build (another SHA-256)"
        return
    for name in (*cell.labels, "c_star", "target_kl", "target_stat", "measured_with"):
        value, own = stored[name].item(), {**cell.labels, **cell.data}[name]
        if value != own and not (pd.isna(value) and pd.isna(own)):
            yield f"{run_id}: {name} is {value!r} in the file, but {own!r} in the folder"
    alignment = Alignment({dim: stored[dim].values for dim in schema.DIMS if dim != "cell"})
    for dim, lacks in (
        ("alpha", _lacks_dose(stored["alpha"].values, cell.alpha)),
        ("fork", not np.isin(cell.fork, stored["fork"].values).all()),
    ):
        if lacks:
            yield f"{run_id}: the file lacks a label of the cell along {dim}"
            return
    for name, var in {**schema.DATA, **texts_of([cell])}.items():
        if not var.dims[1:]:
            continue  # compared above, or a flag derived from arrays compared here
        if any(a > b for a, b in zip(cell.shapes[name], stored[name].shape, strict=True)):
            yield f"{run_id}: {name} is larger in the folder: {cell.shapes[name]}"
            continue
        expected = alignment.placed(name, [cell])[0]
        differs = ~_equal(stored[name].values, expected)
        text = "is {value!r}" if var.dtype == "str" else "is {value:g}"
        for line in _one_line(stored, name, differs, text):
            own = expected[tuple(np.argwhere(differs)[0])]
            yield f"{line}, but {repr(own) if var.dtype == 'str' else f'{own:g}'} in the folder"


def _lacks_dose(labels: Any, doses: Any) -> bool:
    if not labels.size:
        return bool(doses.size)
    return not schema.same_dose(labels[positions(labels, doses)], doses).all()


def _equal(stored: Any, expected: Any) -> Any:
    """Return where texts or numbers are equal, or both NaN."""
    if expected.dtype == object:
        return stored == expected
    return (stored == expected) | (np.isnan(stored) & np.isnan(expected))
