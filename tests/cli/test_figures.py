import re

import matplotlib.pyplot as plt
import pytest

from isoklx.cli.main import main
from isoklx.simulation.sweep import CellSpec, simulate


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        (
            "figure1_spaghetti_by_pmass",
            ["--kind", "spaghetti", "--color_by_pmass", "--alphas", "1,2"],
        ),
        (
            "figure1_band",
            ["--linear", "--kl_ymax", "auto", "--mark_t", "20", "--by", "method", "--kl_only"],
        ),
        ("alive", ["--threshold", "0.9", "--nonormalize", "--alphas", "1"]),
    ],
)
def test_figure_is_written_and_reported(sample, tmp_path, capsys, stem, words):
    out = tmp_path / "new" / "figs"
    command = "alive" if stem == "alive" else "figure"
    assert main([command, str(sample), "--out", str(out), *words]) == 0
    assert names(out) == [f"{stem}.png"]
    assert capsys.readouterr().out == f"wrote {out / stem}.png\n"


def test_a_figure_comes_in_several_formats(sample, tmp_path):
    out = tmp_path / "figs"
    assert (
        main(["figure", str(sample), "--out", str(out), "--format", "png,pdf,svg", "--alphas=1"])
        == 0
    )
    assert names(out) == ["figure1_band.pdf", "figure1_band.png", "figure1_band.svg"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--alphas", "3"], "alpha 3 not found"),
        (["--roll", "0"], "roll"),
        (["--format", "gif"], "png, pdf or svg"),
        (["--dpi", "0"], "dpi must be between 20 and 2400, got 0"),
        (["--dpi", "5"], "dpi must be between 20 and 2400, got 5"),
        (
            ["--kl_ymax", "1e308"],
            "kl_ymax must be above 0 and at most 1e+30 nats, or 'auto', got 1e+308",
        ),
        (["--median_lw", "1e308"], "median_lw must be above 0 and at most 100 points, got 1e+308"),
        (["--kind=spaghetti", "--line_lw", "1e308"], "line_lw must be above 0 and"),
        (["--color_by_pmass"], "color_by_pmass applies to kind spaghetti only, got band"),
        (["--line_lw", "2"], "line_lw applies to kind spaghetti only, got band"),
        (["--line_alpha=1", "--kind", "fan"], "line_alpha applies to kind spaghetti only, got fan"),
        (["--spaghetti"], "unknown flag --spaghetti; did you mean --kind spaghetti?"),
        (["--png"], "unknown flag --png; did you mean --format png?"),
        (["--mplstyle", "ggplto"], "not a style sheet, and not a style of matplotlib"),
        (["--alphas", "0.5", "1.0"], "--alphas 0.5,1.0"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(sample, tmp_path, capsys, words, reason):
    assert main(["figure", str(sample), "--out", str(tmp_path / "figs"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not list(tmp_path.glob("figs/*"))


def test_kinds_of_figure_have_different_files(sample, tmp_path):
    words = ["--alphas=1", "--kl_only", "--dpi=40", "--out", str(tmp_path)]
    for kind in (["band"], ["fan"], ["spaghetti"], ["spaghetti", "--color_by_pmass"]):
        assert main(["figure", str(sample), *words, "--kind", *kind]) == 0
    kinds = ("band", "fan", "spaghetti", "spaghetti_by_pmass")
    assert names(tmp_path) == [f"figure1_{kind}.png" for kind in kinds]


def test_figure_has_the_given_width_and_name(sample, tmp_path, capsys):
    words = ["--alphas=1", "--dpi=100", "--out", str(tmp_path), "--notitle"]
    for width, pixels in (("column", 330), ("5.5", 550)):
        assert main(["figure", str(sample), *words, "--width", width, "--name", "mine"]) == 0
        assert plt.imread(tmp_path / "mine.png").shape[1] == pixels
        assert capsys.readouterr().out == f"wrote {tmp_path}/mine.png\n"
    assert main(["survival", str(sample), *words, "--width=3.3", "--name=s"]) == 0
    assert plt.imread(tmp_path / "s.png").shape[1] == 330
    assert names(tmp_path) == ["mine.png", "s.png", "survival.csv", "survival.md", "survival.tex"]


def test_figure_options_are_refused_without_a_figure(sample, tmp_path, capsys):
    for out in ([], ["--out", str(tmp_path / "a.csv")]):
        assert main(["dose", str(sample), "--show", "pmass,correct", *out]) == 2
        assert "--show pmass,correct needs a figure" in capsys.readouterr().err
    assert main(["dose", str(sample), "--show", "pmass", "--out", str(tmp_path / "a.png")]) == 0
    assert names(tmp_path) == ["a.png"]


def test_numbers_of_a_figure_are_written_beside_it(sample, tmp_path, capsys):
    words = ["--alphas=1", "--dpi=40", "--data"]
    assert main(["figure", str(sample), *words, "--out", str(tmp_path / "figs")]) == 0
    assert names(tmp_path / "figs") == ["figure1_band.png", "figure1_band_data.csv"]
    assert "wrote" in capsys.readouterr().out.splitlines()[1]
    assert main(["dose", str(sample), *words, "--out", str(tmp_path / "d.pdf")]) == 0
    assert {"d.pdf", "d_data.csv"} <= set(names(tmp_path))
    main(["figure", str(sample), *words[:2], "--out", str(tmp_path / "figs")])
    assert "from an earlier run: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--width", "0.1"], "width must be 2.5 to 100 inches, 'column' or 'page', got 0.1"),
        (["--width", "wide"], "--width takes a finite number or column or page"),
        (["--name", "a/b"], "--name a/b: must be a file name"),
        (["--name", "a", "--out", "b.png"], "--name a: --out b.png already names the file"),
        (["--hue", "method", "--kind", "spaghetti"], "hue=method applies to kind band or fan only"),
        (["--hue", "method", "--by", "method"], "hue=method is also in by; give it once"),
        (["--pmass", "pmass", "--kl_only"], "pmass=pmass has no effect with kl_only"),
    ],
)
def test_impossible_layout_is_one_line(sample, tmp_path, monkeypatch, capsys, words, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", str(sample), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not list(tmp_path.iterdir())


def test_calib_tokens_without_normalisation_is_refused(sample, tmp_path, capsys):
    words = ["--nonormalize", "--calib_tokens", "10", "--out", str(tmp_path / "figs")]
    assert main(["alive", str(sample), *words]) == 2
    assert "calib_tokens=10 has no effect" in capsys.readouterr().err
    assert not (tmp_path / "figs").exists()


def test_a_style_may_be_given_by_its_name(sample, tmp_path):
    words = ["--alphas", "1", "--kl_only", "--out", str(tmp_path)]
    assert main(["figure", str(sample), *words]) == 0
    plain = (tmp_path / "figure1_band.png").read_bytes()
    assert main(["figure", str(sample), *words, "--mplstyle", "ggplot"]) == 0
    assert (tmp_path / "figure1_band.png").read_bytes() != plain


@pytest.fixture(scope="module")
def many_doses(tmp_path_factory):
    root = tmp_path_factory.mktemp("many") / "runs"
    alphas = tuple(round(0.1 * i, 1) for i in range(41))
    simulate(root, [CellSpec(alphas=alphas, window=8, prompts=2)])
    return root


@pytest.mark.parametrize("command", ["figure", "alive", "survival"])
def test_drawn_doses_of_many_are_reported(many_doses, tmp_path, capsys, command):
    out = str(tmp_path / "figs")
    assert main([command, str(many_doses), "--out", out]) == 0
    said = capsys.readouterr().err
    assert re.search(r"1[012] of 41 doses drawn \(alpha .*1, .*4\); --alphas selects others", said)
    assert main([command, str(many_doses), "--out", out, "--alphas", "0.5,1"]) == 0
    assert "doses drawn" not in capsys.readouterr().err
