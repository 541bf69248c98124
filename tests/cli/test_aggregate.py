import shutil

import pandas as pd
import pytest

import isoklx
from isoklx.cli.main import main
from tests.handmade import kl, make_cell

TABLES = [
    f"{name}.{suffix}" for name in ("table", "calibration", "survival") for suffix in ("csv", "md")
]
FIGURES = ["figure1.png", "survival.png", "alive.png", "calibration.png"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sweep", ["sample", "real_root"])
def test_everything_is_written_into_one_folder_and_said(sweep, request, tmp_path, capsys):
    sample = request.getfixturevalue(sweep)
    before = names(sample.parent)
    assert main(["aggregate", str(sample), "--out", str(tmp_path / "figs")]) == 0
    printed = capsys.readouterr().out
    assert names(tmp_path / "figs") == sorted([*TABLES, *FIGURES, f"{sample.name}.nc"])
    for name in names(tmp_path / "figs"):
        assert f"wrote {tmp_path / 'figs' / name}" in printed
    assert names(sample.parent) == before
    headline = pd.read_csv(tmp_path / "figs" / "table.csv")
    pd.testing.assert_frame_equal(
        headline, isoklx.headline_table(isoklx.open_sweep(sample)), check_dtype=False
    )


def test_a_second_run_reuses_the_built_file(sample, tmp_path, capsys):
    for _ in range(2):
        main(["aggregate", str(sample), "--out", str(tmp_path / "figs"), "--kl_only"])
    assert "12 unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--spaghetti"], "spaghetti"),
        (["--quantile_lines"], "fan"),
        (["--quantile-lines"], "fan"),
        (["--kind", "spaghetti"], "spaghetti"),
        ([], "band"),
    ],
)
def test_the_flags_of_older_scripts_mean_what_they_meant(sample, monkeypatch, words, kind):
    seen = []
    monkeypatch.setattr(
        "isoklx.cli.aggregate.draw_figure1",
        lambda ds, out, scope, panels, saving: seen.append(panels.kind) or [],
    )
    assert main(["aggregate", "--runs_root", str(sample), "--alphas", "1", *words]) == 0
    assert seen == [kind]


@pytest.mark.parametrize(
    "words", [["--spaghetti", "--quantile_lines"], ["--spaghetti", "--kind=fan"]]
)
def test_two_kinds_of_one_figure_are_refused_before_any_work(sample, tmp_path, capsys, words):
    assert main(["aggregate", str(sample), *words]) == 2
    assert "give" in capsys.readouterr().err
    assert not (tmp_path / "here" / "figs").exists()


def test_cells_that_were_only_calibrated_give_the_tables_and_say_that_there_is_no_figure(
    tmp_path, capsys
):
    for seed in range(2):
        make_cell(tmp_path / "runs", f"c{seed}", calib={"seed": seed})
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "no figure 1: no cell of this sweep has per-token KL" in printed
    assert "no survival table: no cell of this sweep has pmass_eval" in printed
    assert {"table.csv", "table.md", "calibration.csv"} <= set(names(tmp_path / "here" / "figs"))
    assert "figure1.png" not in names(tmp_path / "here" / "figs")


def test_cells_without_pmass_have_figure_1_without_its_lower_row(tmp_path, capsys):
    make_cell(tmp_path / "runs", trajectory=kl({"1": [[1, 2, 3, 4], [0.5]]}))
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    assert "no survival figure: " in capsys.readouterr().out
    assert "figure1.png" in names(tmp_path / "here" / "figs")


def test_the_runs_root_stays_as_it_is(sample, tmp_path, capsys):
    root = shutil.copytree(sample, tmp_path / "runs")
    before = names(root)
    assert main(["aggregate", str(root), "--out", str(root / "figs")]) == 2
    assert "in the runs root" in capsys.readouterr().err
    assert names(root) == before


def test_several_windows_need_one_to_be_chosen_and_are_listed(tmp_path, capsys):
    for window in (2, 4):
        make_cell(
            tmp_path / "runs",
            f"c{window}",
            calib={"window": window},
            trajectory=kl({"1": [[1, 2]]}),
        )
    assert main(["aggregate", str(tmp_path / "runs")]) == 2
    assert "2, 4" in capsys.readouterr().err
    assert main(["aggregate", str(tmp_path / "runs"), "--window", "4"]) == 0
    assert len(pd.read_csv(tmp_path / "here" / "figs" / "table.csv")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--color_by_pmass"],
        ["--kl_ymax", "-1"],
        ["--line_alpha", "2"],
        ["--roll", "0"],
        ["--dpi", "0"],
        ["--mplstyle", "nowhere.mplstyle"],
    ],
)
def test_an_option_that_fits_no_sweep_is_refused_before_any_work(sample, tmp_path, capsys, words):
    assert main(["aggregate", str(sample), *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "here" / "figs").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--alphas", "0.3"], "no alpha 0.3"),
        (["--model_contains", "huge"], "huge"),
        (["--window", "32"], "--window 32: no cell has it; there is 64"),
        (["--mark_t", "99"], "from 0 to 64"),
    ],
)
def test_a_choice_that_is_not_there_is_one_line_and_writes_no_table(
    sample, tmp_path, capsys, words, reason
):
    assert main(["aggregate", str(sample), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert names(tmp_path / "here" / "figs") == ["sample.nc"]


@pytest.mark.parametrize("words", [["--alphas", "1"], ["--window", "4"]])
def test_calibrated_cells_have_their_tables_whatever_is_to_be_drawn(tmp_path, words):
    make_cell(tmp_path / "runs")
    assert main(["aggregate", str(tmp_path / "runs"), *words]) == 0
    assert "table.csv" in names(tmp_path / "here" / "figs")


def test_a_window_that_no_calibrated_cell_has_is_one_line(tmp_path, capsys):
    make_cell(tmp_path / "runs")
    assert main(["aggregate", str(tmp_path / "runs"), "--window", "99"]) == 2
    assert "--window 99: no cell has it; there is 4" in capsys.readouterr().err


def test_an_absent_root_is_one_line(tmp_path, capsys):
    assert main(["aggregate", str(tmp_path / "outptus")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert not (tmp_path / "here" / "figs").exists()
