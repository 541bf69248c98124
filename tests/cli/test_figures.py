import pytest

from isoklx.cli.main import main


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("figure", ["--kind", "spaghetti", "--color_by_pmass", "--alphas", "1,2"]),
        ("figure", ["--log", "--kl_ymax", "auto", "--mark_t", "20", "--by", "method", "--kl_only"]),
        ("alive", ["--threshold", "0.9", "--nonormalize", "--calib_tokens", "10", "--alphas", "1"]),
    ],
)
def test_a_figure_is_written_and_said(sample, tmp_path, capsys, command, words):
    out = tmp_path / "new" / "figs"
    assert main([command, str(sample), "--out", str(out), *words]) == 0
    stem = "figure1" if command == "figure" else "alive"
    assert names(out) == [f"{stem}.png"]
    assert capsys.readouterr().out == f"wrote {out / stem}.png\n"


def test_a_figure_comes_in_several_formats(sample, tmp_path):
    out = tmp_path / "figs"
    assert (
        main(["figure", str(sample), "--out", str(out), "--format", "png,pdf,svg", "--alphas=1"])
        == 0
    )
    assert names(out) == ["figure1.pdf", "figure1.png", "figure1.svg"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--alphas", "3"], "no alpha 3"),
        (["--roll", "0"], "roll"),
        (["--format", "gif"], "png, pdf or svg"),
        (["--dpi", "0"], "dpi=0"),
        (["--color_by_pmass"], "color_by_pmass colours single lines"),
        (["--alphas", "0.5", "1.0"], "--alphas 0.5,1.0"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(sample, tmp_path, capsys, words, reason):
    assert main(["figure", str(sample), "--out", str(tmp_path / "figs"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not list(tmp_path.glob("figs/*"))
