from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isoklx
from isoklx.cells.reading import Cell, read_cell
from isoklx.cells.writing import recorded, write_cell
from isoklx.errors import BuildError, CellError, UsageError
from isoklx.system.locks import claimed
from tests.cells.measured import ALPHAS, CALIB, FORKS, HISTORY, WINDOW, arrays, contents, written

NAME = "toy-1B_mean_diff_s0_w12"
BATCHES = [[0.0, 1.0], [0.5], [2.0]]
FEW = [[0.0, 1.0], [0.5]]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.cells.test_writing"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / NAME


def read(folder: Path) -> Cell:
    cell = read_cell(folder)
    assert isinstance(cell, Cell)
    assert cell.notes == ()
    return cell


# Round trips


def test_every_array_is_read_back_exactly_without_notes(folder: Path) -> None:
    given = arrays(ALPHAS)
    assert write_cell(folder, CALIB, history=HISTORY, **given) == ALPHAS
    cell = read(folder)
    assert cell.alpha.tolist() == ALPHAS
    assert cell.fork.tolist() == FORKS
    for name in ("kl", "pmass_eval", "pmass", "p_true"):
        assert cell.data[name].dtype == np.float32
        np.testing.assert_array_equal(cell.data[name], given[name])
    for name in ("gen_len", "gen_len_qa"):
        np.testing.assert_array_equal(cell.data[name], given[name])
    np.testing.assert_array_equal(cell.data["coeff"], np.array(ALPHAS) * CALIB["c_star"])
    np.testing.assert_array_equal(cell.data["calib_coeff"], [s["coeff"] for s in HISTORY])
    for i, kl in enumerate(given["kl"]):
        tokens = kl[np.isfinite(kl)].astype(float)
        expected = {"p95": np.percentile(tokens, 95), "mean": tokens.mean(), "max": tokens.max()}
        for name, value in expected.items():
            assert cell.data[f"kl_{name}"][i] == pytest.approx(value, rel=1e-6)
    assert not {path.name for path in folder.parent.iterdir()} - {NAME}


def test_a_written_cell_builds_without_notes(folder: Path, tmp_path: Path) -> None:
    written(folder)
    report = isoklx.build(folder.parent, tmp_path / "out.nc")
    assert (list(report.notes), list(report.skipped)) == ([], [])


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, WINDOW)),
    seed=st.integers(0, 2**32 - 1),
    broken=st.floats(0, 1),
)
@settings(max_examples=40)
def test_random_arrays_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    seed: int,
    broken: float,
) -> None:
    rng = np.random.default_rng(seed)
    kl = rng.standard_normal(shape).astype(np.float32) * 10.0 ** rng.integers(-30, 30)
    kl = kl.astype(np.float32)
    lengths = rng.integers(0, shape[2] + 1, shape[:2])
    kl[(np.arange(shape[2]) >= lengths[..., np.newaxis]) | (rng.uniform(size=shape) < broken)] = (
        np.nan
    )
    folder = tmp_path_factory.mktemp("root") / NAME
    alphas = rng.uniform(-4, 4, shape[0]).tolist()
    write_cell(
        folder,
        CALIB,
        alphas=alphas,
        kl=kl,
        gen_len=lengths,
        forks=[0],
        pmass_eval=np.where(rng.uniform(size=(*shape[:2], 1)) < broken, np.nan, 0.5),
    )
    cell = read(folder)
    order = np.argsort(alphas)
    np.testing.assert_array_equal(cell.alpha, np.array(alphas)[order])
    np.testing.assert_array_equal(cell.data["gen_len"], lengths[order])
    width = cell.data["kl"].shape[2]
    np.testing.assert_array_equal(cell.data["kl"], kl[order][..., :width])
    assert np.isnan(kl[..., width:]).all()


def test_the_files_have_the_keys_of_measured_cells(folder: Path, real_root: Path) -> None:
    written(folder)
    real = real_root / "Qwen3.5-0.8B_pca_s0_w512"
    added = {"pmass.json": {"repetition_eval", "completed_alphas"}}
    left_out = {"pmass.json": {"debug_first"}}
    for file in ("trajectory.json", "pmass.json"):
        mine, measured = (json.loads((each / file).read_text()) for each in (folder, real))
        assert set(mine) - added.get(file, set()) == set(measured) - left_out.get(file, set())
    csv = [(each / "results.csv").read_bytes().split(b"\n")[0] for each in (folder, real)]
    assert csv[0].strip() == csv[1].strip()
    assert set(json.loads((real / "calib.json").read_text())) <= set(
        json.loads((folder / "calib.json").read_text())
    )


def test_ended_rollouts_are_written_as_valid_json(folder: Path) -> None:
    given = arrays([1.0])
    write_cell(folder, CALIB, **given)
    rows = json.loads((folder / "trajectory.json").read_text())["per_prompt_per_t_kl"]["1.0"]
    assert [len(row) for row in rows] == given["gen_len"][0].tolist()
    assert "NaN" not in (folder / "trajectory.json").read_text()


def test_pmass_json_contains_texts_and_settings(folder: Path) -> None:
    given = arrays(ALPHAS)
    write_cell(folder, CALIB, **given)
    pmass = json.loads((folder / "pmass.json").read_text())
    assert pmass["completed_alphas"] == ["0.0", "0.5", "1.0", "2.0"]
    assert pmass["computed"] is True
    assert pmass["questions"] == given["questions"]
    assert pmass["prefill"] == given["prefill"]
    assert pmass["schema"] == given["schema"]
    assert pmass["answer_label"]["1.0"] == [[True] * 4, [False] * 4]
    assert pmass["argmax_str"]["1.0"] == given["answers"]["argmax_str"][2].tolist()
    assert pmass["was_thinking"]["1.0"] == []
    np.testing.assert_array_equal(
        np.array([pmass["repetition_eval"][repr(a)] for a in ALPHAS], dtype=np.float32),
        given["repetition"],
    )


def test_generations_are_ordered_by_dose(folder: Path) -> None:
    written(folder, BATCHES)
    lines = (folder / "gens.jsonl").read_text().split("\n")
    assert lines.pop() == ""
    found = [json.loads(line) for line in lines]
    assert [line["alpha"] for line in found] == [a for a in ALPHAS for _ in range(3)]
    assert [line["prompt_idx"] for line in found] == [0, 1, 2] * len(ALPHAS)
    assert found[2]["token_ids"] == list(range(found[2]["gen_len"]))


def test_missing_questions_and_pmass_are_recorded(folder: Path) -> None:
    given = arrays([0.0, 1.0])
    for name in ("pmass", "p_true", "gen_len_qa", "answers"):
        del given[name]
    write_cell(folder, CALIB, **given)
    assert read(folder).data["has_pmass"]
    assert json.loads((folder / "pmass.json").read_text())["pmass"] == {"0.0": [], "1.0": []}
    other = folder.with_name("other")
    write_cell(other, CALIB, alphas=[0.0, 1.0], kl=given["kl"])
    cell = read(other)
    assert not cell.data["has_pmass"]
    np.testing.assert_array_equal(cell.data["kl"], given["kl"])
    assert json.loads((other / "pmass.json").read_text())["computed"] is False


def test_a_cell_without_doses_is_calibrated_and_not_yet_swept(folder: Path) -> None:
    assert write_cell(folder, CALIB, history=HISTORY) == []
    assert set(contents(folder)) == {"calib.json", "history.json"}
    assert read(folder).data["calib_coeff"].size == 2
    assert recorded(folder, CALIB).alphas == []


def test_arrays_of_other_libraries_and_lists_are_accepted(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    kl = [[[0.5, 0.25]]]
    write_cell(folder, CALIB, alphas=[np.float32(0.5)], kl=torch.tensor(kl), gen_len=[[2]])
    write_cell(folder, CALIB | {"seed": np.int64(0)}, alphas=[1], kl=kl)
    np.testing.assert_array_equal(read(folder).data["kl"], np.array([kl[0], kl[0]]))
    with pytest.raises(UsageError, match="kl must be an array of numbers: Can't call numpy"):
        write_cell(folder, CALIB, alphas=[2], kl=torch.tensor(kl, requires_grad=True))


def test_a_calibration_can_be_written_unchanged(folder: Path) -> None:
    found = isoklx.calibrate(lambda c: np.array([[(c / 3) ** 2, np.nan]]), start=1.0)
    write_cell(folder, CALIB | {"c_star": found.c_star}, history=found.history)
    np.testing.assert_array_equal(
        read(folder).data["calib_coeff"], [step["coeff"] for step in found.history]
    )


# Several calls


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_batches_in_any_order_make_the_same_bytes(folder: Path, order: tuple[int, ...]) -> None:
    whole = contents(written(folder.with_name("whole")))
    assert contents(written(folder, [BATCHES[i] for i in order])) == whole


def test_completed_doses_are_recorded(folder: Path) -> None:
    assert recorded(folder) is None
    done: list[float] = []
    for batch in BATCHES:
        done = sorted([*done, *batch])
        assert write_cell(folder, CALIB, history=HISTORY, **arrays(batch)) == done
        assert recorded(folder, CALIB).alphas == done
    without = {key: value for key, value in CALIB.items() if key != "c_star"}
    assert recorded(folder, without).calib == CALIB
    assert recorded(folder, without).history == HISTORY


def test_writing_a_complete_dose_again_changes_nothing(folder: Path) -> None:
    before = contents(written(folder))
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_cell(folder, CALIB, history=HISTORY, **arrays([0.5]))
    assert contents(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def test_a_dose_with_other_numbers_is_refused(folder: Path) -> None:
    before = contents(written(folder))
    given = arrays([1.0, 4.0])
    given["kl"][0, 2, 5] += 1e-3
    with pytest.raises(UsageError) as error:
        write_cell(folder, CALIB, **given)
    place = 'per_t_p95_kl["1.0"] differs from the recorded value'
    assert str(error.value) == f"{folder / 'trajectory.json'}: {place}, but the dose is complete"
    assert contents(folder) == before


def test_arrays_cannot_be_added_to_a_complete_dose(folder: Path) -> None:
    given = arrays([1.0])
    write_cell(folder, CALIB, **(given | {"repetition": None, "generations": []}))
    before = contents(folder)
    for name, message in (
        (
            "repetition",
            'pmass.json: repetition_eval["1.0"] is not recorded, but the dose is complete',
        ),
        ("generations", "gens.jsonl: alpha 1 is not recorded, but the dose is complete"),
    ):
        others = {"repetition": None, "generations": []} | {name: given[name]}
        with pytest.raises(UsageError) as error:
            write_cell(folder, CALIB, **(given | others))
        assert str(error.value) == f"{folder}/{message}"
    assert contents(folder) == before


WAYS_OUT = "give the recorded value, or write to another folder"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "calib.json: seed is 0 in the file, but 1 now"),
        ({"c_star": 2.5}, "calib.json: c_star is 2.0721502863934007 in the file, but 2.5 now"),
        ({"target_stat": "rms"}, "calib.json: target_stat is 'p95' in the file, but 'rms' now"),
        (
            {"measured_with": CALIB["measured_with"] | {"torch": "2.12.0"}},
            "calib.json: measured_with.torch is '2.13.0' in the file, but '2.12.0' now",
        ),
        (
            {"measured_with": {"torch": "2.13.0", "dtype": "float32"}},
            "calib.json: measured_with.true_ids is a list of 2 in the file, but not given now",
        ),
        ({"commit": "abc"}, "calib.json: commit is not given in the file, but 'abc' now"),
    ],
)
def test_a_folder_with_another_calibration_is_refused_unchanged(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    before = contents(written(folder, BATCHES[:1]))
    for attempt in (
        lambda: write_cell(folder, CALIB | change, **arrays([0.5])),
        lambda: recorded(folder, CALIB | change),
    ):
        with pytest.raises(UsageError) as error:
            attempt()
        assert str(error.value) == f"{folder}/{message}: {WAYS_OUT}"
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"questions": ["Is it?", "Was it?"]},
            "questions[0] is 'Is water wet?' in the file, but 'Is it?' now",
        ),
        ({"prefill": "Well"}, "prefill is '\\n{\"choice\":' in the file, but 'Well' now"),
        (
            {
                "pmass_eval": None,
                "pmass": None,
                "p_true": None,
                "gen_len_qa": None,
                "answers": None,
            },
            "computed is true in the file, but false now",
        ),
    ],
)
def test_questions_and_suffix_are_the_same_at_all_doses(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    before = contents(written(folder, BATCHES[:1]))
    with pytest.raises(UsageError) as error:
        write_cell(folder, CALIB, **(arrays([0.5]) | change))
    assert str(error.value) == f"{folder}/pmass.json: {message}: {WAYS_OUT}"
    assert contents(folder) == before


def test_a_different_history_is_refused(folder: Path) -> None:
    written(folder)
    with pytest.raises(
        UsageError, match=r"history.json: \[0\].kl_p95 is 0.9 in the file, but 0.8 now"
    ):
        write_cell(folder, CALIB, history=[HISTORY[0] | {"kl_p95": 0.8}, HISTORY[1]])


def test_doses_can_be_added_to_a_cell_of_another_script(folder: Path, real_root: Path) -> None:
    shutil.copytree(real_root / "Qwen3.5-0.8B_pca_s0_w512", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    before = read(folder)
    pmass = json.loads((folder / "pmass.json").read_text())
    assert recorded(folder).alphas == [0, 0.5, 1, 2, 4]
    write_cell(
        folder,
        json.loads((folder / "calib.json").read_text()),
        alphas=[8.0],
        kl=np.full((1, 8, 512), 9.0),
        forks=pmass["fork_points"],
        pmass_eval=np.zeros((1, 8, 14)),
        **{key: pmass[key] for key in ("questions", "prefill", "schema")},
    )
    after = read(folder)
    assert after.alpha.tolist() == [0, 0.5, 1, 2, 4, 8]
    for name in ("kl", "pmass_eval", "gen_len", "kl_p95"):
        np.testing.assert_array_equal(after.data[name][:5], before.data[name])
    assert json.loads((folder / "pmass.json").read_text())["debug_first"] == pmass["debug_first"]


# Killed processes, full disks, concurrent writers


def write_and_die(folder: Path, at: int, how_many: Any) -> None:
    """Write in batches, and kill this process before its `at`-th change of the disk."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove"):
            place, mode = arguments[:2]
            count += str(place).startswith(str(folder.parent)) and mode not in ("r", "rb")
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    written(folder, FEW)
    how_many.value = count


@pytest.mark.slow
def test_a_killed_write_is_readable_and_continues_to_the_same_bytes(
    folder: Path,
) -> None:
    whole = contents(written(folder.with_name("whole"), FEW))
    how_many = PROCESSES.Value("i", 0)
    at, states = 0, set()
    while not how_many.value:
        at += 1
        process = PROCESSES.Process(target=write_and_die, args=(folder, at, how_many))
        process.start()
        process.join()
        assert process.exitcode == (0 if how_many.value else -signal.SIGKILL)
        found = recorded(folder, CALIB)
        states.add(None if found is None else len(found.alphas))
        if found is not None:
            assert set(found.alphas) <= set(read(folder).alpha)
        done = [] if found is None else found.alphas
        written(folder, [batch for batch in FEW if not set(batch) <= set(done)] or FEW)
        assert contents(folder) == whole
        assert not [path for path in folder.parent.iterdir() if path.name.endswith(".claim")]
        shutil.rmtree(folder)
    assert at > 50
    assert states == {None, 0, 2, 3}


def write_with_room_for(size: int, folder: Path, said: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        written(folder, [[2.0]])
    except BuildError as error:
        said.put(str(error))
    else:
        said.put("")


@pytest.mark.parametrize("size", [0, 200, 1000, 3000])
def test_a_full_disk_loses_only_the_doses_of_the_call(folder: Path, size: int) -> None:
    written(folder, BATCHES[:2])
    said = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=write_with_room_for, args=(size, folder, said))
    process.start()
    process.join()
    line = said.get()
    assert line.startswith(str(folder))
    assert line.endswith("cannot be written: File too large")
    assert "\n" not in line
    assert recorded(folder, CALIB).alphas == [0.0, 0.5, 1.0]
    read(folder)
    assert contents(written(folder, BATCHES)) == contents(written(folder.with_name("whole")))


def test_a_disk_full_from_the_start_leaves_no_files(folder: Path) -> None:
    folder.parent.mkdir()
    said = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=write_with_room_for, args=(0, folder, said))
    process.start()
    process.join()
    assert said.get() == f"{folder}: cannot be written: File too large"
    assert not [*folder.parent.iterdir()]


def test_a_cell_that_another_process_writes_is_refused(folder: Path) -> None:
    said = PROCESSES.SimpleQueue()
    folder.parent.mkdir()
    with claimed(folder):
        written(folder, BATCHES[:1])  # the owner of the claim may write
        process = PROCESSES.Process(target=write_with_room_for, args=(10**9, folder, said))
        process.start()
        process.join()
    assert said.get() == f"{folder}: another process is writing this cell"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("calib.json", "{", "calib.json: not JSON, or half written"),
        ("calib.json", "[]", "calib.json: the file must be an object, got a list of 0"),
        ("pmass.json", "[1]", "pmass.json: the file must be an object, got a list of 1"),
        (
            "pmass.json",
            '{"completed_alphas": 3}',
            "pmass.json: completed_alphas must be a list, got 3",
        ),
        ("trajectory.json", '{"per_prompt_per_t_kl": {"x": []}}', "trajectory.json: a key of"),
        ("results.csv", "a,b\n", "results.csv: line 1 must be alpha,coeff,kl_p95"),
        ("gens.jsonl", '{"alpha": 1}\n{"al', "gens.jsonl: line 2 is not a generation"),
    ],
)
def test_an_unreadable_file_is_named_and_nothing_changes(
    folder: Path, file: str, content: str, message: str
) -> None:
    written(folder, BATCHES[:1])
    (folder / file).write_text(content)
    before = contents(folder)
    with pytest.raises((CellError, UsageError)) as error:
        written(folder, [[2.0]])
    assert str(error.value).startswith(f"{folder}/{message}")
    assert contents(folder) == before


def test_results_of_an_unknown_calibration_are_refused(folder: Path) -> None:
    written(folder)
    (folder / "calib.json").unlink()
    with pytest.raises(CellError, match=r"calib.json: missing, but trajectory.json exists"):
        written(folder)


def test_an_impossible_folder_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, reason in (
        (tmp_path / "file" / "cell", "cannot be made: File exists"),
        (tmp_path / "file", "cannot be read: Not a directory"),
    ):
        with pytest.raises((BuildError, CellError), match=reason):
            written(folder)
    with pytest.raises(UsageError, match="the name of a cell's folder must not start with _"):
        written(tmp_path / "_cell")


def test_an_existing_empty_folder_is_used(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "vector.safetensors").write_bytes(b"v")
    written(folder)
    read(folder)
    assert contents(folder)["vector.safetensors"] == b"v"


# Invalid arguments


def bad(**change: Any) -> dict[str, Any]:
    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bad(alphas=[1.0, 1.0 + 1e-12]), "alphas: 1 occurs twice"),
        (bad(alphas=[1.0, math.nan]), "alphas[1] must be a finite number, got nan"),
        (bad(kl=None), "kl is missing: give an array (alpha, prompt, token)"),
        (bad(kl=np.ones((2, 3))), "kl must have the shape 2 x any x any, got 2 x 3"),
        (bad(kl=np.ones((2, 0, 3))), "kl must have at least 1 prompt, got 0"),
        (bad(kl=[[1.0], [1.0, 2.0]]), "kl must be an array of numbers"),
        (
            bad(kl=np.full((2, 3, 5), np.inf)),
            "kl[0, 0, 0] must be NaN or within the range of float32, got inf",
        ),
        (
            bad(kl=np.full((2, 3, 5), 1e40)),
            "kl[0, 0, 0] must be NaN or within the range of float32, got 1e+40",
        ),
        (
            bad(kl=np.ones((2, 3, 13)), gen_len=None),
            "kl must be NaN beyond the window of 12, got a value at token 12",
        ),
        (bad(kl=np.ones((2, 3, 12))), "gen_len[0, 0] is 0, but kl has a value at token 11"),
        (
            bad(gen_len=np.full((2, 3), -1)),
            "gen_len[0, 0] must be a whole number from 0 to 12, got -1",
        ),
        (bad(gen_len=np.full((2, 4), 1)), "gen_len must have the shape 2 x 3, got 2 x 4"),
        (bad(kl=np.full((2, 3, 4), np.nan)), "gen_len[0, 1] is"),
        (bad(forks=[0, 4, 1, 12]), "forks[2] must be greater than 4, got 1"),
        (bad(forks=[0, 1, 4, 13]), "forks must be at most 12 (the window), got 13"),
        (bad(forks=["x"]), "invalid literal for int() with base 10: 'x'"),
        (
            bad(pmass_eval=np.ones((2, 3, 3))),
            "pmass_eval must have the shape 2 x 3 x 4, got 2 x 3 x 3",
        ),
        (
            bad(pmass_eval=np.ones((2, 3, 4))),
            "pmass_eval[0, 0, 1] must be NaN after the rollout's end at token 0, got 1 at token 1",
        ),
        (bad(pmass=None), "p_true, gen_len_qa and answers require pmass"),
        (bad(questions=["One?"]), "pmass has 2 questions, but questions has 1"),
        (
            bad(answers={"argmax_str": [["a"]]}),
            'answers["argmax_str"] must have the shape 2 x 2 x 4, got 1 x 1',
        ),
        (bad(repetition=np.ones((2, 2))), "repetition must have the shape 2 x 3, got 2 x 2"),
        (bad(generations=[{"kind": "eval"}]), 'generations[0]["alpha"] must be a number, got null'),
        (
            bad(generations=[{"kind": "eval", "alpha": 3}]),
            'generations[0]["alpha"] must be one of alphas, got 3',
        ),
        (
            bad(generations=[{"kind": "x", "alpha": 1}]),
            "generations[0][\"kind\"] must be eval or qa, got 'x'",
        ),
        (
            bad(generations=[{"kind": "qa", "alpha": 1, "x": {1, 2}}]),
            "generations[0]: {1, 2} cannot be written as JSON",
        ),
    ],
)
def test_an_invalid_array_is_a_one_line_error_and_creates_nothing(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        write_cell(folder, CALIB, **(arrays([0.5, 1.0]) | change))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c_star": math.nan}, "calib: c_star must be a finite number, got nan"),
        ({"model": ""}, "calib: model must be a non-empty string, got ''"),
        ({"window": 0}, "calib: window must be between 1 and 2147483647, got 0"),
        ({"layer": "14"}, "calib: layer must be a whole number, got '14'"),
        ({"c_star": 3.0}, "calib: c_star must be the coeff of a step in history, got 3"),
        ({"measured_with": {1, 2}}, "calib: {1, 2} cannot be written as JSON"),
    ],
)
def test_an_invalid_calibration_is_not_written(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        write_cell(folder, CALIB | change, history=HISTORY)
    assert str(error.value) == message
    assert not folder.parent.exists()


def test_a_missing_key_of_calib_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="calib: layer is missing"):
        write_cell(folder, {k: v for k, v in CALIB.items() if k != "layer"})


def test_answers_are_written_and_read(folder: Path) -> None:
    write_cell(folder, CALIB, **arrays([0.0, 1.0]), answer_key=[True, False])
    assert json.loads((folder / "pmass.json").read_text())["answer_key"] == [True, False]
    ds = isoklx.open_sweep(folder.parent)
    assert ds.answer.values.tolist() == [[1, 0]]


def test_answers_can_be_added_to_a_cell(folder: Path) -> None:
    write_cell(folder, CALIB, **arrays([0.0]))
    assert isoklx.open_sweep(folder.parent).answer.isnull().all()
    write_cell(folder, CALIB, **arrays([1.0]), answer_key=[True, False])
    assert isoklx.open_sweep(folder.parent).answer.values.tolist() == [[1, 0]]
    with pytest.raises(UsageError, match="answer_key"):
        write_cell(folder, CALIB, **arrays([2.0]), answer_key=[True, True])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ([True], r"answer_key must have one answer per question \(2\), got 1"),
        ([True, "no"], r"answer_key\[1\] must be True or False, got 'no'"),
    ],
)
def test_invalid_answers_are_refused(folder: Path, key: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_cell(folder, CALIB, **arrays([0.0]), answer_key=key)


def test_answers_in_a_file_must_match_the_questions(folder: Path) -> None:
    write_cell(folder, CALIB, **arrays([0.0]), answer_key=[True, False])
    pmass = json.loads((folder / "pmass.json").read_text())
    for key, message in (([True], "answer_key must have 2 answers, got 1"), ([1, 0], "got 1")):
        (folder / "pmass.json").write_text(json.dumps(pmass | {"answer_key": key}))
        with pytest.raises(CellError, match=message):
            read_cell(folder)
