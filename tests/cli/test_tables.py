from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest

import isoklx
from isoklx.cli import main as cli
from isoklx.cli import tables as table_commands
from isoklx.cli.commands import COMMANDS
from isoklx.stats.contrasts import survival_contrast
from isoklx.stats.safety import safe_dose
from isoklx.stats.survival import survival_summary
from isoklx.tables.calibration import calibration_table
from isoklx.tables.headline import headline_table
from tests.handmade import make_cell

NAMES = ("table", "survival", "contrast", "dose", "calibration")


def figure_files(name: str) -> list[str]:
    """Return the files that a command writes into a folder."""
    response = [f"dose_response.{ending}" for ending in ("csv", "md", "tex", "png")]
    beside = {"table": [], "contrast": [], "dose": response}
    tables = [f"{name}.{ending}" for ending in ("csv", "md", "tex")]
    return [*tables, *beside.get(name, [f"{name}.png"])]


@pytest.fixture(autouse=True)
def commands() -> Iterator[None]:
    tables = {name: getattr(table_commands, name) for name in NAMES}
    with mock.patch.dict(COMMANDS, tables), mock.patch.dict(os.environ, {"COLUMNS": "100"}):
        yield


def output(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    assert cli.main([str(word) for word in words]) == status
    captured = capsys.readouterr()
    assert bool(captured.err) == bool(status)
    return captured.err if status else captured.out


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_printed_to_the_width_of_the_terminal(
    name: str, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, name, sample)
    assert max(map(len, text.splitlines())) <= 100
    assert "distinct" in text
    assert "..." not in text


@pytest.mark.parametrize(
    ("name", "tabulate"),
    [
        ("table", headline_table),
        ("survival", survival_summary),
        ("contrast", survival_contrast),
        ("calibration", calibration_table),
    ],
)
def test_json_is_the_rows_of_the_table_and_nothing_else(
    name: str,
    tabulate: Callable[..., pd.DataFrame],
    sample: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = json.loads(output(capsys, name, sample, "--json"))
    frame = tabulate(isoklx.open_sweep(sample)).astype(object)
    assert rows == frame.where(frame.notna(), None).to_dict("records")


def rows_of(name: str, text: str) -> list[dict[str, Any]]:
    """Return the rows of the first table that a command prints as JSON."""
    parsed = json.loads(text)
    return list(parsed["doses"] if name == "dose" else parsed)


def test_doses_as_json_are_all_numbers_of_both_tables(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = json.loads(output(capsys, "dose", sample, "--json"))
    ds = isoklx.open_sweep(sample)
    claims = safe_dose(ds).astype(object)
    assert tables["safe_dose"] == claims.where(claims.notna(), None).to_dict("records")
    doses = isoklx.dose_response(ds, level=0.9)
    for row in tables["doses"]:
        at = doses.sel({name: row[name] for name in ("threshold", "method", "alpha")})
        for name in ("heldout_kl", "survival", "correct"):
            found = [row[name], row[f"{name}_lower"], row[f"{name}_upper"]]
            assert found == pytest.approx([at[name].item(), *at[f"{name}_ci"].values])
        for name in ("coeff_min", "coeff_max", "at_risk", "mean_length", "share_ended"):
            assert row[name] == pytest.approx(at[name].item())


def test_doses_are_printed_with_coefficients_also_without_a_safe_dose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = Path(__file__).resolve().parents[2] / "data" / "measured"
    text = output(capsys, "dose", measured)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    (dose,) = [line for line in lines if line.startswith("pca") and "13.68  1.03" in line]
    assert dose.split() == [
        "pca",
        "1",
        "13.68",
        "1.03",
        "[0.57,",
        "1.68]",
        "1",
        "[0.74,",
        "1]",
        "10",
        "29",
        "58%",
    ]
    (claim,) = [line for line in lines if line.startswith("pca") and "24" in line.split()[-1:]]
    assert claim.split() == ["pca", "-", "-", "-", "1.000", "13.68", "0", "0.88", "24"]
    # The reason states the printed bound and the number of prompts that a claim needs.
    assert "too few prompts: 24, some ended early, give 0.85; 37 such would do" in text


@pytest.mark.parametrize("name", NAMES)
def test_files_are_written_and_named(
    name: str, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tables"
    text = output(capsys, name, sample, "--out", out)
    paths = [out / file for file in figure_files(name)]
    assert text.endswith("\n\n" + "".join(f"wrote {path}\n" for path in paths))
    assert sorted(out.iterdir()) == sorted(paths)
    assert "distinct" in paths[1].read_text().splitlines()[0]


def test_json_with_files_keeps_standard_output_machine_readable(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["table", str(sample), "--json", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 6
    assert str(tmp_path / "table.csv") in err


def test_a_built_file_gives_the_same_table_as_its_root(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    isoklx.build([sample], tmp_path / "s.nc")
    for name in NAMES:
        assert output(capsys, name, tmp_path / "s.nc") == output(capsys, name, sample)


def test_a_dose_that_is_given_twice_is_shown_once(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(output(capsys, "survival", sample, "--json", "--alphas", "2,1,2.0"))
    assert [row["alpha"] for row in rows] == [1.0, 2.0]


def test_survival_options_choose_rows_and_groups(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--threshold 0.5,0.95 --by method,seed --alphas 1,2 --metric pmass --nodistinct"
    rows = json.loads(output(capsys, "survival", sample, "--json", *words.split()))
    assert list(rows[0])[:4] == ["threshold", "method", "seed", "alpha"]
    assert len(rows) == 2 * 3 * 2 * 2
    assert {row["alpha"] for row in rows} == {1.0, 2.0}
    assert {row["threshold"] for row in rows} == {0.5, 0.95}
    assert "all n trajectories" in output(capsys, "survival", sample, *words.split())


def test_a_hue_groups_the_table_and_shares_a_panel_for_each_dose(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tables"
    words = f"--by model_short --hue method --alphas 1,2 --data --out {out} --json"
    assert cli.main(["survival", str(sample), *words.split()]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows[0])[:4] == ["threshold", "model_short", "method", "alpha"]
    assert len(rows) == 2 * 3 * 2
    drawn = pd.read_csv(out / "survival_data.csv")
    assert {"model_short", "method", "alpha"} <= set(drawn)
    assert (out / "survival.png").exists()


def test_contrast_and_dose_labels_can_be_selected(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--by alpha --threshold 0.5,0.95 --alphas 0,1,2 --nodistinct --json"
    rows = json.loads(output(capsys, "contrast", sample, *words.split()))
    assert [(row["first"], row["second"]) for row in rows[:3]] == [(0, 1), (0, 2), (1, 2)]
    assert len(rows) == 2 * 3
    words = "--by method,model_short --survive 0.5 --confidence 0.8 --ended alive --json"
    rows = json.loads(output(capsys, "dose", sample, *words.split()))["safe_dose"]
    expected = safe_dose(
        isoklx.open_sweep(sample), ["method", "model_short"], 0.5, 0.8, ended="alive"
    )
    assert [row["safe_dose"] for row in rows] == expected["safe_dose"].tolist()
    assert {row["prompts_needed"] for row in rows} == {3}


def test_the_interval_of_survival_is_named_in_the_caption(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {
        "auto": "beta product of 8 prompts",
        "beta": "beta product, trajectories independent",
        "greenwood": "Greenwood's, trajectories independent",
    }
    for interval, words in said.items():
        text = output(capsys, "survival", sample, "--interval", interval)
        assert words in " ".join(text.split())
    alone = output(capsys, "survival", sample, "--by", "run_id", "--ended", "alive")
    assert "prompts independent, rollouts that end early count as alive" in " ".join(alone.split())


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--alphas 0.3", 2, "alpha 0.3 not found; available: 0, 0.25, 0.5, 1, 2, 4"),
        ("--threshold 2", 2, "threshold of pmass_eval must be in (0, 1], got 2"),
        ("--metric kl", 2, "metric 'kl' has no default threshold; give one, in nats"),
        (
            "--metric kl --threshold 1e300",
            2,
            "threshold of kl must be above 0, in nats, got 1e+300",
        ),
        ("--by methd", 2, "cannot group by 'methd'"),
        ("--metric nonsense", 2, "--metric takes pmass_eval, pmass or kl, not 'nonsense'"),
    ],
)
def test_wrong_usage_of_survival_is_one_line(
    words: str, status: int, message: str, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = output(capsys, "survival", sample, *words.split(), status=status)
    assert error.startswith(f"isoklx survival: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_cells_of_a_table_are_selected_by_window_and_model(
    name: str, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = rows_of(name, output(capsys, name, sample, "--json"))
    words = ["--json", "--window", 64, "--model_contains", "8B"]
    part = rows_of(name, output(capsys, name, sample, *words))
    assert 0 < len(part) <= len(whole)
    assert all("8B" in row.get("model_short", "8B") for row in part)
    error = output(capsys, name, sample, "--window", 32, status=2)
    assert error == f"isoklx {name}: --window 32 not found; available: 64\n"


@pytest.mark.parametrize("name", NAMES)
def test_files_are_written_before_anything_is_printed(
    name: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    assert cli.main([name, str(sample), "--out", str(tmp_path)]) == cli.PIPE_CLOSED
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(figure_files(name))


def test_calibrated_only_sweep_has_tables_but_no_survival(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cell(tmp_path)
    assert "Cells: 1, distinct: 1." in output(capsys, "table", tmp_path)
    assert "tiny_pca_s0_w4" in output(capsys, "calibration", tmp_path)
    error = output(capsys, "survival", tmp_path, status=1)
    assert error == "isoklx survival: no cell of this sweep has pmass_eval\n"


def test_cells_of_one_seed_are_named_in_the_caption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layer in (3, 4):
        make_cell(tmp_path, f"layer{layer}", calib={"layer": layer})
    text = " ".join(output(capsys, "table", tmp_path).split())
    assert "1 cell shares its seed with another" in text
