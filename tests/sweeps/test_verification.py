from __future__ import annotations

import hashlib
import json
import os
import re
import shutil

import netCDF4
import numpy as np
import pytest

import isoklx
from isoklx.cli.files import verify as command
from isoklx.errors import BuildError, DatasetError, UsageError
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.sweeps.verification import verify
from tests.handmade import NAN, kl, make_cell

try:
    import zarr
except ImportError:
    zarr = None

SUFFIXES = ["nc"] if zarr is None else ["nc", "zarr"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a runs root and its file; copy them before changing them."""
    folder = tmp_path_factory.mktemp("verify")
    shape = {"window": 8, "prompts": 2, "questions": 2}
    specs = [CellSpec(**shape, seed=0, ends_early=0.9), CellSpec(**shape, seed=1, lacks="sweep")]
    simulate(folder / "runs", specs)
    isoklx.build(folder / "runs")
    if zarr is not None:
        isoklx.build(folder / "runs", folder / "runs.zarr")
    return folder


@pytest.fixture
def root(built, tmp_path):
    return shutil.copytree(built / "runs", tmp_path / "runs")


@pytest.fixture(params=["nc", "zarr"])
def file(request, built, tmp_path):
    name = f"runs.{request.param}"
    if request.param == "nc":
        return shutil.copy(built / name, tmp_path / name)
    if zarr is None:
        pytest.skip("needs the extra zarr")
    return shutil.copytree(built / name, tmp_path / name)


@pytest.fixture
def netcdf(built, tmp_path):
    return shutil.copy(built / "runs.nc", tmp_path / "runs.nc")


def change(file, name, where, value):
    if file.is_dir():
        zarr.open_array(file / name, mode="r+")[where] = value
        return
    with netCDF4.Dataset(file, "a") as opened:
        opened.set_auto_maskandscale(False)
        opened[name][where] = value


def test_a_file_of_its_roots_has_no_finding(root, file):
    assert verify(file) == []
    assert verify(file, [root]) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_measured_sweep_has_no_finding(real_root, tmp_path, dtype, suffix):
    out = isoklx.build(real_root, tmp_path / f"a.{suffix}", dtype=dtype).out
    assert verify(out, [real_root]) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cells_of_any_mix_have_no_finding(tmp_path, suffix):
    make_cell(tmp_path / "x", "a", trajectory=kl({"1": [[1, NAN, 3], []], "2": []}))
    make_cell(tmp_path / "y", "b", pmass={"fork_points": [1, 3], "pmass_eval": {"4": [[1, NAN]]}})
    roots = [tmp_path / "x", tmp_path / "y"]
    assert verify(isoklx.build(roots, tmp_path / f"a.{suffix}").out, roots) == []


PLANTED = {
    "pmass": (
        "pmass_eval",
        (0, 2, 1, 0),
        1.5,
        "pmass_eval at alpha 0.5, prompt 1, fork 0 must .*, got 1.5",
    ),
    "negative": ("p_true", (0, 2, 1, 0), -0.1, "p_true at .* must be between 0 and 1, got -0.1"),
    "infinite": ("kl", (0, 2, 1, 0), np.inf, "kl at alpha 0.5, prompt 1, token 0 is inf"),
    "length": (
        "gen_len",
        (0, 2, 1),
        9,
        "gen_len at alpha 0.5, prompt 1 must be between 0 and 8, got 9",
    ),
    "end": ("gen_len", (0, 5, 0), 3, "gen_len at .* is 3, but the last finite kl is elsewhere"),
    "unknown": (
        "gen_len",
        (0, 5, 0),
        -1,
        "gen_len at .* is -1, but the last finite kl is elsewhere",
    ),
    "flag": ("has_kl", 0, 0, "has_kl is 0, but the cell has values"),
    "no pmass": ("has_pmass", 1, 1, "s1_w8: has_pmass is 1, but the cell lacks values"),
    "window": ("window", 1, 0, "window is 0"),
    "c_star": ("c_star", 1, NAN, "c_star is nan"),
    "alpha": ("alpha", 1, 9.0, "alpha must ascend"),
    "fork": ("fork", 1, 0, "fork must ascend"),
    "token": ("token", 1, 0, "token must count from 0"),
    "names": ("run_id", 1, "simulated-1B_pca_s0_w8", "'.*s0_w8' occurs 2 times"),
}


@pytest.mark.parametrize(("name", "where", "value", "finding"), PLANTED.values(), ids=PLANTED)
def test_impossible_values_are_found_without_roots(file, name, where, value, finding):
    change(file, name, where, value)
    with pytest.raises(AssertionError, match=finding):
        assert verify(file) == []


@pytest.mark.parametrize(
    ("name", "where", "value"),
    [
        ("kl", (0, 1, 0, 0), 0.125),
        ("kl", (0, 1, 0, 0), NAN),
        ("kl", (1, 1, 0, 0), 0.125),
        ("pmass", (0, 1, 0, 0), 0.5),
        ("coeff", (0, 1), 9.0),
        ("kl_p95", (0, 1), np.nextafter(0, 1)),
        ("calib_kl_max", (0, 0), 9.0),
        ("gen_len_qa", (0, 1, 1), 2),
        ("c_star", 0, 9.0),
        ("seed", 1, 7),
        ("method", 0, "pcb"),
        ("source_hash", 0, "0" * 64),
    ],
)
def test_a_value_other_than_in_the_folder_is_found_with_roots(root, file, name, where, value):
    change(file, name, where, value)
    findings = verify(file, [root])
    assert any(name in line or "SHA-256" in line for line in findings)
    assert all("\n" not in line for line in findings)


def test_a_difference_is_reported_with_its_place_and_both_values(root, file):
    rows = json.loads((root / "simulated-1B_pca_s0_w8" / "trajectory.json").read_text())
    value = rows["per_prompt_per_t_kl"]["0.25"][0][0]
    change(file, "kl", (0, 1, 0, 0), 0.125)
    assert verify(file, [root]) == [
        "simulated-1B_pca_s0_w8: kl at alpha 0.25, prompt 0, token 0 is 0.125, "
        f"but {value:g} in the folder"
    ]


def test_changed_new_and_missing_folders_are_found(root, file):
    for name in ("calib.json", "trajectory.json"):
        path = root / "simulated-1B_pca_s0_w8" / name
        path.write_bytes(path.read_bytes() + b"\n")
    make_cell(root, "new")
    make_cell(root, "broken", pmass="[")
    shutil.rmtree(root / "simulated-1B_pca_s1_w8")
    gone, broken, new, changed = verify(file, [root])
    assert gone.startswith("simulated-1B_pca_s1_w8: in the file, but no folder")
    assert broken.startswith(f"{root}/broken/pmass.json: not JSON, or half written")
    assert new == "new: not in the file"
    assert changed.startswith("simulated-1B_pca_s0_w8: the cell's files have changed")


@pytest.mark.parametrize(("dim", "label"), [("alpha", 4.5), ("fork", 99)])
def test_labels_that_the_file_lacks_are_found(root, file, dim, label):
    change(file, dim, -1, label)
    lack = f"simulated-1B_pca_s0_w8: the file lacks a label of the cell along {dim}"
    assert lack in verify(file, [root])


def test_a_wrong_form_ends_the_checks(netcdf):
    file = netcdf
    with netCDF4.Dataset(file, "a") as opened:
        opened.renameVariable("layer", "old")
        opened.createVariable("layer", "f8", ("alpha",))
        opened["kl"].units = "nat"
        opened["window"][0] = -1
    assert verify(file) == [
        "layer must have dimensions ('cell',), got ('alpha',)",
        "layer must be int32, got float64",
        "kl must have units '1', got 'nat'",
    ]


@pytest.mark.skipif(zarr is None, reason="needs the extra zarr")
def test_a_fill_value_on_a_label_is_found(built, tmp_path):
    store = shutil.copytree(built / "runs.zarr", tmp_path / "runs.zarr")
    array = store / "alpha" / ".zarray"
    array.write_text(json.dumps(json.loads(array.read_text()) | {"fill_value": "NaN"}))
    assert verify(store) == ["alpha must have the fill value None, got nan"]


def test_a_truncated_file_is_one_line(netcdf):
    file = netcdf
    whole = file.read_bytes()
    for length in (0, 8, 1000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"runs\.nc: cannot be read as netCDF"):
            verify(file)


def test_an_unreadable_value_is_a_finding(file, monkeypatch):
    def damaged(*_):
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr("isoklx.sweeps.verification._value_findings", damaged)
    assert verify(file) == ["damaged: a value cannot be read: NetCDF: HDF error"]


def test_a_missing_root_is_one_line(file, tmp_path):
    with pytest.raises(BuildError, match="folder not found"):
        verify(file, [tmp_path / "none"])


def test_the_command_prints_findings_and_fails(root, file, capsys):
    command(file, root=(root,))
    assert capsys.readouterr().out == f"{file}: no finding, compared with {root}\n"
    command(file)
    assert capsys.readouterr().out == f"{file}: no finding, not compared with a root\n"
    change(file, "window", 1, 0)
    with pytest.raises(DatasetError, match=r"runs\.(nc|zarr): 1 finding$"):
        command(file)
    assert capsys.readouterr().out == "simulated-1B_pca_s1_w8: window is 0\n"


TWO_RUNS = {
    "coeff": (
        ("coeff", (0, 3), 9.0),
        r"s0_w8: coeff at alpha 1 must be alpha \* c_star, got 9 with c_star = ",
    ),
    "c_star": (("c_star", 0, 99.0), "s0_w8: c_star is 99, which no step of the calibration tried"),
    "time": (("calib_newer", 0, 1), "s0_w8: the calibration is newer than the results"),
}


@pytest.mark.parametrize(("planted", "finding"), TWO_RUNS.values(), ids=TWO_RUNS)
def test_files_of_two_runs_are_found_without_the_roots(file, planted, finding):
    change(file, *planted)
    assert any(re.search(finding, line) for line in verify(file))


def test_files_of_two_runs_are_found_in_a_file_that_equals_them(tmp_path):
    folder = make_cell(
        tmp_path / "runs",
        "a",
        calib={"c_star": 2.0},
        trajectory=kl({"0": [[0]], "1": [[1]]}),
        history=[{"coeff": 1.5, "kl_mean": 1, "kl_p95": 1, "kl_max": 1}],
        results="alpha,coeff\n0,0\n1,1.5\n",
    )
    os.utime(folder / "calib.json", (2 * 10**9,) * 2)
    report = isoklx.build(tmp_path / "runs")
    assert [note.split("a/")[1].split(":")[0] for note in report.notes] == [
        "results.csv",
        "history.json",
        "calib.json",
    ]
    assert verify(report.out, tmp_path / "runs") == [
        "a: coeff at alpha 1 must be alpha * c_star, got 1.5 with c_star = 2",
        "a: c_star is 2, which no step of the calibration tried",
        "a: the calibration is newer than the results, which may be of an earlier run",
    ]


def test_lengths_of_unpaired_rows_are_not_compared_with_kl(tmp_path):
    make_cell(
        tmp_path / "runs",
        trajectory=kl({"1": [[1, 2, 3], [4, 5]]}),
        pmass={
            "fork_points": [0],
            "pmass_eval": {"1": [[0.5]] * 3},
            "gen_lens_eval": {"1": [1, 4, 2]},
        },
    )
    report = isoklx.build(tmp_path / "runs")
    assert "cannot be paired" in report.notes[0]
    assert verify(report.out, tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("name", "where", "value", "finding"),
    [
        (
            "repetition",
            (0, 1, 0),
            1.5,
            "repetition at alpha 1, prompt 0 must be between 0 and 1, got 1.5",
        ),
        ("repetition", (0, 1, 0), 0.5, "repetition at alpha 1, prompt 0 is 0.5, but 0.25 in the"),
        ("unpaired", (0, 1), 1, "unpaired at alpha 1 is 1, but 0 in the folder"),
        (
            "measured_with",
            0,
            "{}",
            """measured_with is '{}' in the file, but '{"torch": "2.13"}' in the""",
        ),
        ("target_stat", 0, "rms", "target_stat is 'rms' in the file, but 'mean' in the folder"),
        ("seed", 0, 3, "seed is 3 in the file, but 1099511627776 in the folder"),
        ("alpha", 0, 0.3000001, "the file lacks a label of the cell along alpha"),
    ],
)
def test_variables_of_version_2_are_compared_too(tmp_path, name, where, value, finding):
    make_cell(
        tmp_path / "runs",
        calib={"target_stat": "mean", "measured_with": {"torch": "2.13"}, "seed": 2**40},
        trajectory=kl({"0.30000000000000004": [[1]], "1": [[1]]}),
        pmass={"repetition_eval": {"0.3": [0.75], "1": [0.25]}},
    )
    file = isoklx.build(tmp_path / "runs").out
    assert verify(file, tmp_path / "runs") == []
    change(file, name, where, value)
    assert any(finding in line for line in verify(file, tmp_path / "runs"))


MEASURED = "tiny_pca_s0_w48"


@pytest.fixture
def cells(sample, tmp_path):
    """Return a runs root with one measured cell, including rollouts and vector."""
    shutil.copytree(sample.parent / "measured" / MEASURED, tmp_path / "cells" / MEASURED)
    return tmp_path / "cells"


def rewritten(root, change):
    """Change the lines of gens.jsonl, one object each."""
    path = root / MEASURED / "gens.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = change(lines) or lines
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def each(lines, kind="eval", **where):
    return [line for line in lines if where.items() <= line.items() and line["kind"] == kind]


def test_cells_in_folders_have_no_finding(sample, real_root):
    assert verify(sample) == []
    assert verify(sample.parent / "measured") == []
    assert verify(sample.parent / "measured" / MEASURED) == []
    assert verify(real_root) == []


def other_ids(lines):
    for alpha in (1.0, 4.0):
        for line in each(lines, alpha=alpha):
            line["prompt_ids"] = [*line["prompt_ids"], 5]


def other_question(lines):
    [line] = each(lines, kind="qa", alpha=1.0, prompt_idx=2)
    line["prompt"] = "Is it?"


def other_suffix(lines):
    [line] = each(lines, alpha=2.0, prompt_idx=3)
    line["fork_tail_ids"] = [1, 2]


def shorter(lines):
    [line] = each(lines, alpha=2.0, prompt_idx=3)
    line["token_ids"] = line["token_ids"][:2]


def other_coefficient(lines):
    for line in each(lines, alpha=2.0, prompt_idx=3):
        line["coeff"] *= 1.01


def another_dose(lines):
    [line] = each(lines, alpha=2.0, prompt_idx=3)
    line["alpha"] = 3.0


def repeated(lines):
    return [*lines, lines[0]]


def without_one(lines):
    return lines[1:]


def of_another_kind(lines):
    lines[4]["kind"] = "other"


ROLLOUTS = {
    other_ids: "prompt 0 was given different token ids at alpha 1, 4 and at alpha "
    "0, 0.25, 0.5, 0.75, 1.5, 2 (one of 24)",
    other_question: "question 2 was given different texts at alpha 1 and at alpha "
    "0, 0.25, 0.5, 0.75, 1.5, 2, 4",
    other_suffix: "prompt 3 was given different suffixes at its forks at alpha 2 and at alpha "
    "0, 0.25, 0.5, 0.75, 1, 1.5, 4",
    shorter: "alpha 2, prompt 3 has 2 tokens according to token_ids, but 48 according to the "
    "cell's other files",
    other_coefficient: "alpha 2, prompt 3 has the coefficient ",
    another_dose: "alpha 3, prompt 3 is not a rollout of this cell",
    repeated: "alpha 0, prompt 0 occurs twice",
    without_one: "no rollout for alpha 0, prompt 0",
    of_another_kind: "line 5: kind must be eval or qa, got 'other'",
}


@pytest.mark.parametrize(
    ("change", "said"), ROLLOUTS.items(), ids=[change.__name__ for change in ROLLOUTS]
)
def test_rollouts_that_contradict_the_cell_are_found_with_and_without_a_file(cells, change, said):
    file = isoklx.build(cells).out
    assert verify(file, cells) == []
    rewritten(cells, change)
    line = f"{MEASURED}: gens.jsonl: {said}"
    found = verify(cells)
    assert any(finding.startswith(line) for finding in found), found
    assert verify(cells / MEASURED) == found
    assert verify(file, cells) == found
    assert verify(file) == []


def test_a_half_written_line_of_the_rollouts_is_found(cells):
    path = cells / MEASURED / "gens.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    [broken, missing] = verify(cells)
    assert broken.startswith(f"{MEASURED}: gens.jsonl: line ")
    assert "no rollout for alpha" in missing


def test_prompts_other_than_the_recorded_ones_are_found(cells):
    rows = {}
    for line in map(json.loads, (cells / MEASURED / "gens.jsonl").read_text().splitlines()):
        if line["kind"] == "eval":
            rows[line["prompt_idx"]] = line["prompt_ids"]
    text = json.dumps([rows[place] for place in sorted(rows)])
    recorded = f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cells / MEASURED / "calib.json"
    calib = json.loads(path.read_text())
    for known, findings in (
        (recorded, []),
        (
            "sha256:0",
            [
                f"{MEASURED}: gens.jsonl: token ids of the prompts differ from prompt_ids in "
                "measured_with"
            ],
        ),
    ):
        calib["measured_with"]["identity"] = {"prompt_ids": known}
        path.write_text(json.dumps(calib))
        os.utime(path, (0, 0))
        assert verify(cells) == findings


def test_a_vector_other_than_the_recorded_one_is_found(cells):
    path = cells / MEASURED / "vector.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    [finding] = verify(cells)
    assert finding.startswith(
        f"{MEASURED}: vector.safetensors: differs from the vector that measured_with records: its"
    )
    path.write_bytes(content[:100])
    [finding] = verify(cells)
    assert finding.startswith(f"{MEASURED}: vector.safetensors: cannot be read: ")
    path.unlink()
    assert verify(cells) == [
        f"{MEASURED}: vector.safetensors: missing, but measured_with records its hash"
    ]


def test_a_vector_at_another_layer_is_found(cells):
    path = cells / MEASURED / "vector.safetensors"
    path.write_bytes(path.read_bytes().replace(b"layer2.v", b"layer3.v"))
    findings = verify(cells)
    assert "differs from the vector" in findings[0]
    assert findings[1] == (
        f"{MEASURED}: vector.safetensors: layers is [3], but [2] in measured_with"
    )


def test_impossible_numbers_are_found_in_folders_too(cells):
    make_cell(cells, "broken", pmass="[")
    folder = make_cell(
        cells,
        "two_runs",
        calib={"c_star": 2.0},
        trajectory=kl({"1": [[1, 1, NAN, NAN]]}),
        pmass={
            "fork_points": [0],
            "pmass_eval": {"1": [[1.5]]},
            "gen_lens_eval": {"1": [4]},
        },
        results="alpha,coeff\n1,1.5\n",
    )
    os.utime(folder / "calib.json", (0, 0))
    findings = verify(cells)
    assert findings[0].startswith(f"{cells}/broken/pmass.json: not JSON, or half written")
    assert findings[1:] == [
        "two_runs: pmass_eval at alpha 1, prompt 0, fork 0 must be between 0 and 1, got 1.5",
        "two_runs: gen_len at alpha 1, prompt 0 is 4, but the last finite kl is elsewhere",
        "two_runs: coeff at alpha 1 must be alpha * c_star, got 1.5 with c_star = 2",
    ]


def test_a_folder_of_cells_cannot_be_compared_with_roots(cells, root):
    with pytest.raises(UsageError, match="expected a built file to compare with roots"):
        verify(cells, root)
    with pytest.raises(BuildError, match="no cell here, but some one level down"):
        verify(cells.parent)
