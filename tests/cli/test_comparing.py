"""The command ``compare``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import isoklx
from isoklx.cli import main as cli
from tests.handmade import kl, make_cell
from tests.two_sweeps import GONE, NEW, made_again

NAMES = ("compare_cells", "compare_doses", "compare_settings")


@pytest.fixture(scope="module")
def again(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_again(sample, tmp_path_factory.mktemp("again") / "runs")


def output(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    assert cli.main(["compare", *map(str, words)]) == status
    captured = capsys.readouterr()
    assert bool(captured.err) == bool(status)
    return captured.err if status else captured.out


def test_compare_prints_common_cells_settings_and_doses(
    sample: Path, again: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = output(capsys, sample, again)
    assert max(map(len, text.splitlines())) <= 100
    said = " ".join(text.split())
    assert f"A is {sample}, B is {again}. Cells in both: 11, only in A: 1, only in B: 1;" in said
    assert "wherever both were measured): 1 of 11." in said
    assert "Largest differences: pmass_eval by 0.799 in simulated-1B_mean_diff_s0_w64 at" in said
    assert "at alpha 0.5, prompt 0, fork 32: 0.999466 in A, 0.2 in B." in said
    assert f"{GONE} A " in said
    assert f"{NEW} B " in said
    assert "layer 14 11 1" in said
    assert "Prompts: identical texts in 11 cells." in said
    assert "Doses at which a cell duplicates another in both sweeps are left out." in said


def test_json_is_the_rows_of_all_three_tables(
    sample: Path, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--threshold", "0.5,0.95", "--alphas", "1,2", "--nodistinct", "--ended", "alive")
    tables = json.loads(output(capsys, sample, again, "--json", *words))
    a, b = (
        isoklx.select(isoklx.open_sweep(root, texts=True), alpha=[1, 2]) for root in (sample, again)
    )
    found = isoklx.compare(a, b, threshold=[0.5, 0.95], distinct=False, ended="alive")
    assert list(tables) == ["cells", "settings", "doses"]
    for name, frame in found._asdict().items():
        shown = frame.astype(object)
        assert tables[name] == shown.where(shown.notna(), None).to_dict("records")


def test_each_table_is_written_and_named(
    sample: Path, again: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, sample, again, "--out", tmp_path / "tables")
    names = [f"{name}.{ending}" for name in NAMES for ending in ("csv", "md", "tex")]
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == names
    assert all(f"wrote {tmp_path / 'tables' / name}\n" in text for name in names)
    assert "Differences are B minus A." in (tmp_path / "tables" / "compare_doses.md").read_text()


def test_a_file_a_store_and_a_root_are_compared_alike(
    sample: Path, again: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = isoklx.build(sample, tmp_path / "a.nc", texts=True).out
    expected = output(capsys, sample, again, "--json")
    assert output(capsys, file, again, "--json") == expected
    pytest.importorskip("zarr")
    assert cli.main(["convert", str(file), str(tmp_path / "a.zarr")]) == 0
    capsys.readouterr()
    assert output(capsys, tmp_path / "a.zarr", again, "--json") == expected


def test_identical_sweeps_are_reported_without_a_table(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sample, tmp_path / "copy")
    text = output(capsys, sample, tmp_path / "copy")
    assert "No setting differs between A and B, as far as settings were recorded.\n\nSurv" in text
    assert "below 0.05 in 0 of" in " ".join(text.split())


def test_renamed_cell_is_shown_by_both_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for root, name in (("a", "old"), ("b", "new\u202e")):
        make_cell(tmp_path / root, name, trajectory=kl({"1": [[0.5] * 4]}))
    text = output(capsys, tmp_path / "a", tmp_path / "b")
    assert "new\\u202e" in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{a}",), "missing B"),
        (("{a}", "{a}/"), "{a} and {a} are the same sweep; give two different ones"),
        (("{a}", "{b}", "--alphas", "9"), "{a}: alpha 9 not found; available: 1"),
        (("{a}", "{b}", "--window", "9"), "{a}: --window 9 not found; available: 4"),
        (("{a}", "{b}"), "no cell is in both A and B: window is 4 in A and 8 in B"),
        (("{a}", "{b}", "--threshold", "2"), "threshold of pmass_eval must be in (0, 1], got 2"),
        (
            ("{a}", "{b}", "--out", "x.csv"),
            "--out x.csv: must be a folder; the command writes several files",
        ),
        (("{a}", "{b}", "{c}"), "unexpected argument '{c}'"),
    ],
)
def test_wrong_usage_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: str(tmp_path / name) for name in "abc"}
    make_cell(tmp_path / "a", trajectory=kl({"1": [[0.5] * 4]}))
    make_cell(tmp_path / "b", calib={"window": 8}, trajectory=kl({"1": [[0.5] * 4]}))
    error = output(capsys, *(word.format(**places) for word in words), status=2)
    assert error.startswith(f"isoklx compare: {message.format(**places)}")
    assert error.count("\n") == 1


def test_absent_sweep_is_a_failure(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = output(capsys, sample, tmp_path / "nowhere.nc", status=1)
    assert error == f"isoklx compare: {tmp_path}/nowhere.nc: file not found\n"


def test_files_are_written_before_anything_is_printed(
    sample: Path, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    words = ["compare", str(sample), str(again), "--alphas", "1", "--out", str(tmp_path)]
    assert cli.main(words) == cli.PIPE_CLOSED
    assert sorted({path.stem for path in tmp_path.iterdir()}) == list(NAMES)
