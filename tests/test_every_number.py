"""Every number of the cells' JSON is in the file, and nothing else is.

Of the measured sweep, and of the sample, which has the questions that the measured one skipped.

Read back by netCDF4 and json alone: no code of the project takes part after the build.
"""

import csv
import json
import math
import shutil

import netCDF4
import numpy as np
import pytest

import isoklx


@pytest.fixture(scope="module")
def newer(sample, tmp_path_factory):
    """The sample with what newer runs write beside, and with a rollout that generated nothing."""
    root = tmp_path_factory.mktemp("newer") / "runs"
    shutil.copytree(sample, root)
    for i, folder in enumerate(sorted(root.iterdir())):
        added = {"seed": 2**40 + i, "target_stat": "rms", "measured_with": {"batch": i, "é": [1.5]}}
        change(folder / "calib.json", lambda calib, added=added: calib.update(added))
        change(folder / "pmass.json", with_repetition)
        change(folder / "trajectory.json", lambda kl: kl["per_prompt_per_t_kl"]["1.0"].pop(2))
        change(folder / "pmass.json", lambda pmass: pmass["gen_lens_eval"]["1.0"].__setitem__(2, 0))
    return root


def change(path, how):
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


def with_repetition(pmass):
    rows = pmass["gen_lens_eval"]
    pmass["repetition_eval"] = {
        alpha: [i / 128 for i, _ in enumerate(row)] for alpha, row in rows.items()
    }
    pmass["completed_alphas"] = [*rows]


@pytest.fixture(scope="module", params=["real_root", "sample", "newer"])
def root(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def file(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "sweep.nc"
    isoklx.build(root, out)
    with netCDF4.Dataset(out) as dataset:
        yield dataset


@pytest.fixture(scope="module")
def cells(root):
    def content(folder):
        parsed = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        with (folder / "results.csv").open() as lines:
            return {**parsed, "results": list(csv.DictReader(lines))}

    return {folder.name: content(folder) for folder in sorted(root.iterdir())}


def finite(nested, *at):
    """Every finite number of nested lists with its position."""
    if isinstance(nested, list):
        for i, item in enumerate(nested):
            yield from finite(item, *at, i)
    elif nested is not None and math.isfinite(nested):
        yield at, nested


def test_cells_are_the_folders(file, cells):
    assert list(file["run_id"][:]) == list(cells)
    for i, cell in enumerate(cells.values()):
        for name in ("model", "method", "seed", "layer", "window", "c_star", "target_kl"):
            assert file[name][i] == cell["calib"][name]
        assert file["target_stat"][i] == cell["calib"].get("target_stat", "p95")
        measured_with = json.loads(file["measured_with"][i] or "null")
        assert measured_with == cell["calib"].get("measured_with")
    assert not file["unpaired"][:].any()
    assert not file["calib_newer"][:].any()


@pytest.mark.parametrize(
    ("variable", "source", "key"),
    [
        ("kl", "trajectory", "per_prompt_per_t_kl"),
        ("pmass_eval", "pmass", "pmass_eval"),
        ("pmass", "pmass", "pmass"),
        ("p_true", "pmass", "p_true"),
        ("gen_len", "pmass", "gen_lens_eval"),
        ("gen_len_qa", "pmass", "gen_lens_qa"),
        ("repetition", "pmass", "repetition_eval"),
    ],
)
def test_every_number_is_under_its_labels_and_the_reverse(file, cells, root, variable, source, key):
    stored = np.ma.filled(file[variable][:].astype("float64"), np.nan)
    alphas, forks = file["alpha"][:].tolist(), file["fork"][:].tolist()
    count = 0
    for i, cell in enumerate(cells.values()):
        for alpha, rows in cell[source].get(key, {}).items():
            lengths = cell["pmass"]["gen_lens_eval"][alpha]
            silent = len(lengths) - len(rows) if variable == "kl" else 0
            prompts = [j for j, length in enumerate(lengths) if length or not silent]
            for at, number in finite(rows):
                prompt = prompts[at[0]] if silent else at[0]
                where = [i, alphas.index(float(alpha)), prompt, *at[1:]]
                if variable in ("pmass_eval", "pmass", "p_true"):
                    where[-1] = forks.index(cell["pmass"]["fork_points"][where[-1]])
                assert stored[tuple(where)] == np.float32(number)
                count += 1
    assert count == np.isfinite(stored).sum()
    assert count > 0 or root.name != "runs"


def test_the_bisection_is_there_step_by_step(file, cells):
    for name in ("coeff", "kl_mean", "kl_p95", "kl_max"):
        stored = file[f"calib_{name}"][:].filled(np.nan)
        expected = [[step[name] for step in cell["history"]] for cell in cells.values()]
        assert np.isfinite(stored).sum() == sum(map(len, expected))
        for row, steps in zip(stored, expected, strict=True):
            assert row[: len(steps)].tolist() == steps


def test_recorded_doses_are_there_digit_by_digit(file, cells):
    alphas = file["alpha"][:].tolist()
    for i, cell in enumerate(cells.values()):
        for row in cell["results"]:
            for name in ("coeff", "kl_p95", "kl_mean", "kl_max"):
                assert file[name][i, alphas.index(float(row["alpha"]))] == float(row[name])
