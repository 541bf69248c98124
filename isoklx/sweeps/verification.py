"""Checks of a built file (its form, its numbers, its folders) and of cells, without a model."""

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
"""How far beyond 1 a probability may be, that was summed in float32."""

UNREADABLE = (RuntimeError, OSError, ValueError)
"""What libnetcdf, and what decompresses Zarr, raise where stored bytes are damaged."""


def verify(path: str | Path, roots: str | Path | Iterable[str | Path] = ()) -> list[str]:
    """Check a built file, and whether it holds what its runs roots say; or a runs root by itself.

    The file's own form and numbers: every variable of the schema with its dimensions, dtype, fill
    value and units; labels that ascend; probabilities within [0, 1]; ``gen_len`` where the last
    finite KL of each trajectory is; nothing measured beyond a rollout's end or its window; flags
    that are true; nothing that says that a cell's files are of two runs (``coeff`` is alpha *
    ``c_star``, the bisection tried ``c_star``, the calibration is older than the results).

    With roots, also: the same cells; the hash of each cell's files; and every value, NaN included,
    equal to what `isoklx.cells.reading.read_cell`, the reader of a build, makes of the JSON now.

    Of cells in folders, with or without a file: each can be read; its numbers, lengths and flags
    are possible; its files are of one run; every line of ``gens.jsonl`` is a rollout of the cell,
    of the length and coefficient that its other files say; each prompt was given the same token
    ids, text and suffix at every dose; and the vector is the one that ``measured_with`` has the
    hash of. Numbers of a model are computed again by `isoklx.recheck` alone.

    Parameters
    ----------
    path : path
        What `isoklx.build` wrote, or a runs root, or one cell's folder. One cell at a time is in
        memory.
    roots : path or iterable of paths
        The runs roots that a built file was built from.

    Returns
    -------
    list of str
        One line for each finding; empty when all is well.

    Raises
    ------
    DatasetError
        When the file is absent, no sweep, unreadable, or of a newer schema.
    BuildError
        When a root is no folder of cells.
    UsageError
        When `path` is a runs root, and roots are given as well.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from isoklx import build
    >>> with TemporaryDirectory() as folder:
    ...     file = build("data/sample", f"{folder}/sample.nc").out
    ...     verify(file, "data/sample")
    []
    """
    path = as_path(path)
    given = as_paths(roots)
    if path.is_dir() and not is_zarr(path):
        if given:
            raise UsageError(f"{path}: is a folder of cells; give a built file to compare it with")
        here = [path] if (path / CALIBRATION).exists() else cell_folders([path])
        return [line for folder in here for line in _of_folder(folder)]
    folders = cell_folders(given) if given else None
    opening.read(path, chunks=None).close()
    # Of a store what it holds, and not the copy of its metadata.
    engine: dict[str, Any] = {"engine": "zarr", "consolidated": False} if is_zarr(path) else {}
    with xr.open_dataset(path, decode_cf=False, **({"engine": "netcdf4"} | engine)) as opened:
        ds = upgraded(opened)
        findings = [*_form(ds)]
        if findings:
            return findings  # nothing else can be relied upon
        try:
            findings += _labels(ds)
            for index in range(ds.sizes["cell"]):
                cell = ds.isel(cell=index).load()
                findings += [*_numbers(cell), *_contradictions(cell)]
            if folders is not None:
                findings += _against(ds, folders)
        except UNREADABLE as error:
            findings.append(f"damaged: a value cannot be read: {error}")
    return findings


def _form(ds: xr.Dataset) -> Iterator[str]:
    """Variables as the schema has them."""
    wide = "kl" in ds and ds["kl"].dtype == np.float64
    texts = {} if schema.TEXTS.keys().isdisjoint(ds.variables) else schema.TEXTS
    for name, var in {**schema.VARIABLES, **texts}.items():
        if name not in ds.variables:
            yield f"{name} is missing"
            continue
        stored = ds[name]
        dtype = "O" if var.dtype == "str" else "float64" if var.measured and wide else var.dtype
        if stored.dims != var.dims:
            yield f"{name} has dimensions {stored.dims}, not {var.dims}"
        if stored.dtype != dtype and not (dtype == "O" and stored.dtype.kind in "TU"):
            yield f"{name} is {stored.dtype}, not {var.dtype}"
        if stored.attrs.get("units") != var.units:
            yield f"{name} has units {stored.attrs.get('units')!r}, not {var.units!r}"
        fill = stored.attrs.get("_FillValue", stored.encoding.get("_FillValue"))
        if str(fill) != str(var.fill):
            yield f"{name} has the fill value {fill}, not {var.fill}"


def _labels(ds: xr.Dataset) -> Iterator[str]:
    """Labels that name one thing each, in order."""
    for dim in ("alpha", "fork"):
        if not (np.diff(ds[dim].values) > 0).all() or not np.isfinite(ds[dim].values).all():
            yield f"{dim} does not ascend: {ds[dim].values}"
    for dim in ("prompt", "token", "question", "iteration"):
        if not np.array_equal(ds[dim].values, np.arange(ds.sizes[dim])):
            yield f"{dim} does not count from 0: {ds[dim].values}"
    names = ds["run_id"].values.tolist()
    if names != sorted(set(names)):
        [(name, times)] = Counter(names).most_common(1)
        yield f"run_id does not name cells in order: {name!r} is there {times} times"


def _numbers(cell: xr.Dataset) -> Iterator[str]:
    """Values of one cell that cannot be."""
    run_id, window, c_star = (cell[name].item() for name in ("run_id", "window", "c_star"))
    if window < 1:
        yield f"{run_id}: window is {window}"
    if not np.isfinite(c_star):
        yield f"{run_id}: c_star is {c_star}"
    for name in ("pmass_eval", "pmass", "p_true", "repetition"):
        values = cell[name].values
        yield from _first(
            cell, name, (values < 0) | (values > 1 + ROUNDING), "is {value:g}, not within 0 and 1"
        )
    yield from _first(cell, "kl", np.isinf(cell["kl"].values), "is {value:g}")
    yield from _lengths(cell, window)
    has_pmass = any(np.isfinite(cell[name].values).any() for name in ("pmass_eval", "pmass"))
    for name, there in (("has_kl", np.isfinite(cell["kl"].values).any()), ("has_pmass", has_pmass)):
        flag = cell[name].item()
        if flag != there:
            yield f"{run_id}: {name} is {flag}, and there is {'some' if there else 'none'}"


def _contradictions(cell: xr.Dataset) -> Iterator[str]:
    """What says that a cell's files are of two runs."""
    run_id, c_star = cell["run_id"].item(), cell["c_star"].item()
    expected = f"is {{value:g}}, which is not alpha * c_star, of c_star = {c_star:g}"
    off = consistency.coeff_mismatch(cell["coeff"].values, cell["alpha"].values, c_star)
    yield from _first(cell, "coeff", off > consistency.SAME_COEFFICIENT, expected)
    tried = cell["calib_coeff"].values
    known = np.isfinite(tried).any() and np.isfinite(c_star)
    if known and not consistency.was_tried(c_star, tried):
        yield f"{run_id}: c_star is {c_star:g}, which no step of the bisection tried"
    if cell["calib_newer"].item() == 1:
        yield f"{run_id}: its calibration is newer than its results, which may be of an earlier run"


def _lengths(cell: xr.Dataset, window: int) -> Iterator[str]:
    """Lengths of rollouts against what was measured along them."""
    for name in ("gen_len", "gen_len_qa"):
        lengths = cell[name].values
        impossible = (lengths != schema.DATA[name].fill) & ((lengths < 0) | (lengths > window))
        yield from _first(cell, name, impossible, f"is {{value:g}}, not within 0 and {window}")
    finite, end = np.isfinite(cell["kl"].values), cell["gen_len"].values
    last = (finite * np.arange(1, finite.shape[-1] + 1)).max(axis=-1, initial=0)
    together = cell["unpaired"].values[:, np.newaxis] == 0
    wrong = (end != last) & (last > 0) & together
    yield from _first(cell, "gen_len", wrong, "is {value:g}, and the last finite kl elsewhere")
    late = (cell["fork"].values > end[..., np.newaxis]) & (end[..., np.newaxis] >= 0)
    past = late & np.isfinite(cell["pmass_eval"].values)
    yield from _first(cell, "pmass_eval", past, "is {value:g}, past the rollout's end")


def _first(cell: xr.Dataset, name: str, where: Any, what: str) -> Iterator[str]:
    """One line for all values of a cell with the same fault, naming the first."""
    count = np.count_nonzero(where)
    if not count:
        return
    at = tuple(np.argwhere(where)[0])
    place = ", ".join(
        f"{dim} {cell[dim].values[i]:g}" for dim, i in zip(cell[name].dims, at, strict=True)
    )
    more = f" ({count} such values)" if count > 1 else ""
    said = what.format(value=cell[name].values[at])
    yield f"{cell['run_id'].item()}: {name} at {place} {said}{more}"


def _against(ds: xr.Dataset, folders: Sequence[Path]) -> Iterator[str]:
    """The file against the folders it was built from."""
    stored = {run_id: index for index, run_id in enumerate(ds["run_id"].values)}
    found = {folder.name: folder for folder in folders}
    for run_id in sorted(stored.keys() - found.keys()):
        yield f"{run_id}: in the file, and no folder of that name under the roots"
    dtype, texts = str(ds["kl"].dtype), "gen_text" in ds.variables
    for run_id, folder in found.items():
        try:
            cell = read_cell(folder, dtype=dtype, texts=texts)
        except CellError as error:
            yield f"{error}" + ", and the cell is in the file" * (run_id in stored)
            continue
        assert isinstance(cell, Cell)
        if run_id not in stored:
            yield f"{run_id}: not in the file"
        else:
            yield from _differences(ds.isel(cell=stored[run_id]).load(), cell)
            yield from _of_rollouts(cell)


def _of_folder(folder: Path) -> Iterator[str]:
    """One cell by itself, without a built file and without its model."""
    try:
        cell = read_cell(folder)
    except CellError as error:
        yield str(error)
        return
    assert isinstance(cell, Cell)
    ds = assemble([cell]).isel(cell=0)
    yield from _numbers(ds)
    yield from _contradictions(ds)
    yield from _of_rollouts(cell)


def _of_rollouts(cell: Cell) -> Iterator[str]:
    """The files of a cell that are in no built file: its rollouts and its vector."""
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


def _differences(stored: xr.Dataset, cell: Cell) -> Iterator[str]:
    """A cell in the file against the cell in its folder."""
    run_id = cell.labels["run_id"]
    if stored["source_hash"].item() != cell.data["source_hash"]:
        yield f"{run_id}: its files are not those that the file was built from (another SHA-256)"
        return
    for name in (*cell.labels, "c_star", "target_kl", "target_stat", "measured_with"):
        value, own = stored[name].item(), {**cell.labels, **cell.data}[name]
        if value != own and not (pd.isna(value) and pd.isna(own)):
            yield f"{run_id}: {name} is {value!r}, and {own!r} in its folder"
    alignment = Alignment({dim: stored[dim].values for dim in schema.DIMS if dim != "cell"})
    for dim, lacks in (
        ("alpha", _lacks_dose(stored["alpha"].values, cell.alpha)),
        ("fork", not np.isin(cell.fork, stored["fork"].values).all()),
    ):
        if lacks:
            yield f"{run_id}: the file lacks one of its labels along {dim}"
            return
    for name, var in {**schema.DATA, **texts_of([cell])}.items():
        if not var.dims[1:]:
            continue  # compared above, or a flag of what is compared here
        if any(a > b for a, b in zip(cell.shapes[name], stored[name].shape, strict=True)):
            yield f"{run_id}: {name} is larger in its folder, {cell.shapes[name]}"
            continue
        expected = alignment.placed(name, [cell])[0]
        differs = ~_equal(stored[name].values, expected)
        said = "is {value!r}" if var.dtype == "str" else "is {value:g}"
        for line in _first(stored, name, differs, said):
            own = expected[tuple(np.argwhere(differs)[0])]
            yield f"{line}, and {repr(own) if var.dtype == 'str' else f'{own:g}'} in its folder"


def _lacks_dose(labels: Any, doses: Any) -> bool:
    if not labels.size:
        return bool(doses.size)
    return not schema.same_dose(labels[positions(labels, doses)], doses).all()


def _equal(stored: Any, expected: Any) -> Any:
    """Where texts or numbers are the same, or both NaN."""
    if expected.dtype == object:
        return stored == expected
    return (stored == expected) | (np.isnan(stored) & np.isnan(expected))
