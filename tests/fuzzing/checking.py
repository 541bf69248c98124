"""Whether what was read of a cell is what its files say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import netCDF4
import numpy as np

import isoklx
from isoklx.cells.cell import Cell, read_cell
from isoklx.cells.simulator import CellSpec, simulate
from isoklx.errors import CellError
from tests.fuzzing.mutations import Files
from tests.fuzzing.oracle import Values, values_of

COMPUTED = ("kl_mean", "kl_p95", "kl_max", "coeff")
"""What is recorded or else computed, and so agrees but for the last digits."""

Dims = Mapping[str, Sequence[str]]


def valid_cells() -> list[Files]:
    """Small cells in each spelling of the format."""
    shape: dict[str, Any] = {"window": 12, "prompts": 3, "questions": 2}
    specs = [
        CellSpec(**shape, alphas=(0.0, 0.5, "1"), ending=ending, seed=i, ends_early=0.6)
        for i, ending in enumerate(("nan", "null", "short"))
    ]
    specs += [
        CellSpec(**shape, alphas=(1.0, 2.0), lacks=lack, seed=9 + i)
        for i, lack in enumerate((None, "sweep", "kl", "pmass"))
    ]
    with TemporaryDirectory() as root:
        folders = simulate(root, specs)
        return [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]


def put(files: Files, folder: Path) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text)
    return folder


def read(files: Files, root: Path) -> bool:
    """Read a cell; False when it is reported, an AssertionError when a value is another."""
    folder = put(files, root / "cell")
    try:
        cell = read_cell(folder)
    except CellError as error:
        check_report(error)
        return False
    assert isinstance(cell, Cell)
    labels, values, rounded = values_of(folder)
    scalars = {**cell.labels, **{name: cell.data[name] for name in cell.data}}
    assert {name: scalars[name] for name in labels} == labels
    assert any("float32 does not hold" in note for note in cell.notes) == rounded
    at = {"alpha": cell.alpha, "fork": cell.fork}
    found = {name: present(cell.data[name], DIMS[name], at) for name in DIMS if name in cell.data}
    check(found, values)
    return True


def build(files: Files, root: Path, beside: Files, rng: Random) -> bool:
    """As `read`, by a whole build into a file, with another cell beside."""
    put(beside, root / "valid")
    folder = put(files, root / "cell")
    report = isoklx.build(root, root.with_name("sweep.nc"), jobs=1, force=rng.random() < 0.5)
    for error in report.skipped:
        check_report(error)
    assert "valid" in report.read
    with netCDF4.Dataset(report.out) as file:
        for index, run_id in enumerate(file["run_id"][:]):
            labels, values, _ = values_of(root / run_id)
            assert {name: file[name][index] for name in labels} == labels
            at = {name: file[name][:] for name in ("alpha", "fork")}
            found = {
                name: present(np.ma.filled(file[name][index].astype("f8"), np.nan), DIMS[name], at)
                for name in DIMS
            }
            check(found, values)
    return folder.name in report.read


def check_report(error: CellError) -> None:
    assert error.folder.name == "cell"
    assert error.reason.isprintable()
    assert len(error.reason) < 500


def present(
    values: Any, dims: Sequence[str], at: Mapping[str, Any]
) -> dict[tuple[float, ...], float]:
    """What is not missing, by labels."""
    missing = values < 0 if values.dtype.kind == "i" else np.isnan(values)
    return {
        tuple(
            float(at[dim][i]) if dim in at else int(i) for dim, i in zip(dims, where, strict=True)
        ): float(values[tuple(where)])
        for where in np.argwhere(~missing)
    }


def check(found: Values, expected: Values) -> None:
    for name, values in found.items():
        assert values.keys() == expected[name].keys(), name
        for where, value in values.items():
            other = expected[name][where]
            close = name in COMPUTED and math.isclose(value, other, rel_tol=1e-5, abs_tol=1e-30)
            assert value == other or close, (name, where, value, other)


DIMS: Dims = {
    "kl": ("alpha", "prompt", "token"),
    **dict.fromkeys(("pmass_eval", "pmass", "p_true"), ("alpha", "row", "fork")),
    **dict.fromkeys(("gen_len", "gen_len_qa"), ("alpha", "row")),
    **dict.fromkeys(COMPUTED, ("alpha",)),
    **{f"calib_{name}": ("iteration",) for name in COMPUTED},
}
