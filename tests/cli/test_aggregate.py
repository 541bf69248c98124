import shutil

import pandas as pd
import pytest
from matplotlib.figure import Figure

import isoklx
from isoklx.cli.main import main
from isoklx.simulation.sweep import grid, simulate
from tests.handmade import kl, make_cell

TABLES = [
    f"{name}.{suffix}"
    for name in ("table", "calibration", "survival", "contrast", "dose", "dose_response")
    for suffix in ("csv", "md", "tex")
]
FIGURES = [
    f"{name}.png" for name in ("figure1_band", "survival", "dose_response", "alive", "calibration")
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sweep", ["sample", "real_root"])
def test_everything_is_written_into_one_folder_and_reported(sweep, request, tmp_path, capsys):
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


@pytest.mark.slow
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
def test_flags_of_older_scripts_keep_their_meaning(sample, monkeypatch, words, kind):
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


def test_calibrated_only_cells_give_tables_and_report_missing_figures(tmp_path, capsys):
    for seed in range(2):
        make_cell(tmp_path / "runs", f"c{seed}", calib={"seed": seed})
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "no figure 1: no cell of this sweep has per-token KL" in printed
    assert "no survival table: no cell of this sweep has pmass_eval" in printed
    assert {"table.csv", "table.md", "calibration.csv"} <= set(names(tmp_path / "here" / "figs"))
    assert "figure1_band.png" not in names(tmp_path / "here" / "figs")


def test_calibrated_only_method_has_no_contrast(tmp_path, capsys):
    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], prompts=2, windows=[8]))
    simulate(tmp_path / "runs", grid(methods=["mean_diff"], seeds=[0], lacks="sweep"))
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "no contrast table: no two groups to compare by 'method'; available: pca" in printed
    assert "figure1_band.png" in names(tmp_path / "here" / "figs")


def test_cells_without_pmass_omit_the_lower_row_of_figure_1(tmp_path, capsys):
    make_cell(tmp_path / "runs", trajectory=kl({"1": [[1, 2, 3, 4], [0.5]]}))
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    assert "no survival figure: " in capsys.readouterr().out
    assert "figure1_band.png" in names(tmp_path / "here" / "figs")


def test_runs_root_is_unchanged(sample, tmp_path, capsys):
    root = shutil.copytree(sample, tmp_path / "runs")
    before = names(root)
    assert main(["aggregate", str(root), "--out", str(root / "figs")]) == 2
    assert "inside the runs root" in capsys.readouterr().err
    assert names(root) == before


def test_several_windows_are_listed_and_need_a_selection(tmp_path, capsys):
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
        ["--line_lw", "1"],
        ["--out", "figs.pdf"],
        ["--mplstyle", "nowhere.mplstyle"],
    ],
)
def test_invalid_option_is_refused_before_any_work(sample, tmp_path, capsys, words):
    assert main(["aggregate", str(sample), *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "here" / "figs").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--alphas", "0.3"], "alpha 0.3 not found"),
        (["--model_contains", "huge"], "huge"),
        (["--window", "32"], "--window 32 not found; available: 64"),
        (["--mark_t", "99"], "between 0 and 64"),
        (["--by", "methd"], "methd"),
        (["--threshold", "2"], "threshold of pmass_eval must be in (0, 1], got 2"),
    ],
)
def test_absent_selection_is_one_line_and_writes_no_table(sample, tmp_path, capsys, words, reason):
    assert main(["aggregate", str(sample), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert names(tmp_path / "here" / "figs") == ["sample.nc"]


@pytest.mark.parametrize("words", [["--alphas", "1"], ["--window", "4"]])
def test_calibrated_cells_have_tables_with_any_figure_options(tmp_path, words):
    make_cell(tmp_path / "runs")
    assert main(["aggregate", str(tmp_path / "runs"), *words]) == 0
    assert "table.csv" in names(tmp_path / "here" / "figs")


def test_absent_window_of_calibrated_cells_is_one_line(tmp_path, capsys):
    make_cell(tmp_path / "runs")
    assert main(["aggregate", str(tmp_path / "runs"), "--window", "99"]) == 2
    assert "--window 99 not found; available: 4" in capsys.readouterr().err


def test_an_absent_root_is_one_line(tmp_path, capsys):
    assert main(["aggregate", str(tmp_path / "outptus")]) == 1
    assert "folder not found" in capsys.readouterr().err
    assert not (tmp_path / "here" / "figs").exists()


@pytest.mark.slow
def test_several_roots_are_built_into_one_file(sample, tmp_path, capsys):
    roots = []
    for half in ("1B", "8B"):
        roots.append(tmp_path / half)
        roots[-1].mkdir()
        for cell in sample.glob(f"*{half}*"):
            (roots[-1] / cell.name).symlink_to(cell)
    assert main(["aggregate", *map(str, roots), "--kl_only"]) == 0
    figs = tmp_path / "here" / "figs"
    assert names(figs) == sorted([*TABLES, *FIGURES, "sweep.nc"])
    built, whole = isoklx.open_sweep(figs / "sweep.nc"), isoklx.open_sweep(sample)
    assert built.run_id.values.tolist() == whole.run_id.values.tolist()
    assert main(["aggregate", "--runs_root", ",".join(map(str, roots)), "--kl_only"]) == 0
    assert "12 unchanged" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_built_file_is_used_unchanged(sample, tmp_path, capsys, ending):
    built = isoklx.build(sample, tmp_path / f"x.{ending}").out
    assert main(["aggregate", str(built), "--kl_only"]) == 0
    assert names(tmp_path / "here" / "figs") == sorted([*TABLES, *FIGURES])
    assert capsys.readouterr().out.startswith("wrote figs/table.csv\n")


def test_a_built_file_among_roots_is_one_line(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "x.nc").out
    assert main(["aggregate", str(sample), str(built)]) == 2
    assert "give runs roots, or one built file" in capsys.readouterr().err
    assert not (tmp_path / "here" / "figs").exists()


@pytest.mark.slow
def test_figure_of_an_earlier_run_is_reported(sample, tmp_path, capsys):
    assert main(["aggregate", str(sample), "--format", "png,svg"]) == 0
    capsys.readouterr()
    make_cell(tmp_path / "runs")
    assert main(["aggregate", str(tmp_path / "runs")]) == 0
    old = {line for line in capsys.readouterr().out.splitlines() if "from an earlier run" in line}
    left = [*TABLES[6:], *FIGURES[:-1]]
    left += [name.replace("png", "svg") for name in FIGURES]
    assert old == {f"from an earlier run: figs/{name}" for name in left}


@pytest.mark.slow
def test_table_and_both_figures_agree_on_death(sample, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("isoklx.plot.alive", lambda *_, **options: seen.append(options) or Figure())
    words = ["--threshold", "0.9,0.95", "--by", "method", "--nodistinct", "--kl_only"]
    assert main(["aggregate", str(sample), *words]) == 0
    (options,) = seen
    assert (options["threshold"], options["by"]) == (0.9, "method")
    table = pd.read_csv(tmp_path / "here" / "figs" / "survival.csv")
    expected = isoklx.survival_summary(
        isoklx.open_sweep(sample), threshold=[0.9, 0.95], by=["method"], distinct=False
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


@pytest.mark.slow
def test_files_are_written_before_anything_is_printed(sample, tmp_path, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    assert main(["aggregate", str(sample), "--kl_only"]) == 141
    assert names(tmp_path / "here" / "figs") == sorted([*TABLES, *FIGURES, "sample.nc"])
