"""Whether what was read of a cell is what its files say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import netCDF4
import numpy as np
from numpy.testing import assert_equal

import isoklx
from isoklx.cells.reading import Cell, read_cell
from isoklx.errors import CellError
from isoklx.simulation.sweep import CellSpec, simulate
from tests.fuzzing.mutations import Files
from tests.fuzzing.oracle import Values, same, values_of
from tests.handmade import NAN

COMPUTED = ("kl_mean", "kl_p95", "kl_max", "coeff")
"""What is recorded or else computed, and so agrees but for the last digits."""

Dims = Mapping[str, Sequence[str]]
Value = dict[tuple[float, ...], float]

NOTES = {
    "rounded": "float32 does not hold",
    "unpaired": "cannot be paired",
    "no trajectory": "trajectory.json is missing",
    "not finished": "is unfinished",
    "no number": "read as missing",
    "coeff": "results.csv: coeff is",
    "c_star": "no step tried",
    "calib newer": "newer than the results",
    "stale": "stale",
}
"""What the oracle calls a note, and how it is known."""


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
        cells = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    return [*cells, newer(cells[0]), with_a_silent_rollout(cells[0])]


def newer(files: Files) -> Files:
    """The same cell with the keys that newer runs write."""
    out = dict(files)
    calib, pmass = (json.loads(files[name]) for name in ("calib.json", "pmass.json"))
    calib |= {"target_stat": "mean", "sign": "+"}
    calib["measured_with"] = {"torch": "2.13", "batch": [8, 1.5], "temperature": 0.7}
    pmass["completed_alphas"] = [*pmass["pmass_eval"]]
    pmass["repetition_eval"] = {alpha: [0.25, NAN, 0.5] for alpha in pmass["pmass_eval"]}
    out["calib.json"], out["pmass.json"] = (json.dumps(each).encode() for each in (calib, pmass))
    return out


def with_a_silent_rollout(files: Files) -> Files:
    """The same cell where one rollout generated nothing, and so has no row of KL."""
    out = dict(files)
    kl, pmass = (json.loads(files[name]) for name in ("trajectory.json", "pmass.json"))
    for rows in kl["per_prompt_per_t_kl"].values():
        del rows[1]
    for lengths in pmass["gen_lens_eval"].values():
        lengths[1] = 0
    out["trajectory.json"], out["pmass.json"] = (json.dumps(each).encode() for each in (kl, pmass))
    return out


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
    labels, values, notes = values_of(folder)
    scalars = {**cell.labels, **{name: cell.data[name] for name in cell.data}}
    assert_equal({name: scalars[name] for name in labels}, labels)
    said = {kind for note in cell.notes for kind, words in NOTES.items() if words in note}
    assert said == notes | ({"stale"} & said)
    at = {"alpha": cell.alpha, "fork": cell.fork}
    found = {name: present(cell.data[name], name, at) for name in DIMS if name in cell.data}
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
            assert_equal({name: file[name][index] for name in labels}, labels)
            at = {name: file[name][:] for name in ("alpha", "fork")}
            found = {
                name: present(np.ma.filled(file[name][index].astype("f8"), np.nan), name, at)
                for name in DIMS
            }
            check(found, {name: at_labels(values[name], name, at["alpha"]) for name in found})
    return folder.name in report.read


def check_report(error: CellError) -> None:
    assert error.folder.name == "cell"
    assert error.reason.isprintable()
    assert len(error.reason) < 500


def at_labels(values: Value, name: str, labels: Any) -> Value:
    """A cell's values under the labels that its doses have in a file."""
    if DIMS[name][0] != "alpha":
        return values
    out = {}
    for at, value in values.items():
        [label] = [float(label) for label in labels if same(label, at[0])]
        out[label, *at[1:]] = value
    return out


def present(values: Any, name: str, at: Mapping[str, Any]) -> Value:
    """What is not missing, by labels; of a flag, where it is up."""
    missing = values < 0 if values.dtype.kind == "i" else np.isnan(values)
    if name == "unpaired":
        missing = values == 0
    return {
        tuple(
            float(at[dim][i]) if dim in at else int(i)
            for dim, i in zip(DIMS[name], where, strict=True)
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
    **dict.fromkeys(("gen_len", "gen_len_qa", "repetition"), ("alpha", "row")),
    **dict.fromkeys((*COMPUTED, "unpaired"), ("alpha",)),
    **{f"calib_{name}": ("iteration",) for name in COMPUTED},
}
