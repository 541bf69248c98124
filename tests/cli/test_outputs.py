from __future__ import annotations

import re
from pathlib import Path

import pytest

from isoklx.cli.main import main
from isoklx.cli.outputs import BOTH, FIGURES, TABLES, Out, Target
from isoklx.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def target(text: str, endings: tuple[str, ...] = BOTH) -> Target:
    return Target.of(Out.read(text), endings)


@pytest.mark.parametrize("text", ["figs", "a/b", ".", "..", ".hidden", "sweep_0.5", "2026.11.25"])
def test_name_without_ending_is_a_folder(text: str) -> None:
    assert target(text) == Target(Path(text))


@pytest.mark.parametrize("text", ["figs.v2/", "fig.pdf/", "x.nc/"])
def test_trailing_separator_means_a_folder(text: str) -> None:
    assert target(text) == Target(Path(text))


def test_existing_folder_is_a_folder_whatever_its_name(here: Path) -> None:
    (here / "figs.v2").mkdir()
    assert target("figs.v2") == Target(Path("figs.v2"))


@pytest.mark.parametrize("ending", BOTH)
def test_supported_ending_makes_a_file_name(ending: str) -> None:
    assert target(f"a/b.c.{ending}") == Target(Path("a"), "b.c", ending)


@pytest.mark.parametrize("text", ["fig.jpg", "fig.PDF", "sweep.nc", "figs.v2", "a/x.json"])
def test_any_other_ending_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=rf"--out {text}: must be a folder, or .* \({text}/ names a fol"
    ):
        target(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("notes", "notes is a file, not a folder"),
        ("notes/figs", "notes is a file, not a folder"),
        ("notes/fig.pdf", "notes is a file, not a folder"),
        ("dangling", "dangling is a file, not a folder"),
        ("made.pdf", "made.pdf: is an existing folder; write made.pdf/ to write into it"),
    ],
)
def test_unwritable_target_is_refused(here: Path, text: str, reason: str) -> None:
    (here / "notes").touch()
    (here / "made.pdf").mkdir()
    (here / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError, match=re.escape(reason)):
        target(text)


COMMANDS = {
    "table": TABLES,
    "survival": BOTH,
    "calibration": BOTH,
    "figure": FIGURES,
    "alive": FIGURES,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "ending"),
    [(name, ending) for name in COMMANDS for ending in COMMANDS[name] if ending != "svg"],
)
def test_file_name_writes_only_that_file(
    sample: Path, here: Path, capsys: pytest.CaptureFixture[str], command: str, ending: str
) -> None:
    assert main([command, str(sample), "--out", f"new/mine.{ending}"]) == 0
    assert [path.name for path in (here / "new").iterdir()] == [f"mine.{ending}"]
    assert capsys.readouterr().out.endswith(f"wrote new/mine.{ending}\n")


@pytest.mark.parametrize("command", [*COMMANDS, "aggregate"])
@pytest.mark.parametrize("out", ["x.jpg", "x.nc", "notes", "x.pdf"])
def test_unsupported_name_is_refused_before_reading(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, out: str
) -> None:
    (here / "notes").touch()
    status = main([command, "absent.nc", "--out", out])
    line = capsys.readouterr().err
    if out == "x.pdf" and "pdf" in COMMANDS.get(command, ()):
        assert (status, "absent.nc" in line) == (1, True)
    else:
        assert (status, f"--out {out}: " in line) == (2, True)
    assert [path.name for path in here.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    "words",
    [
        ["survival", "--format", "pdf"],
        ["survival", "--dpi", "100"],
        ["calibration", "--mplstyle", "ggplot"],
        ["survival", "--dpi", "100", "--out", "x.csv"],
        ["calibration", "--format", "pdf", "--out", "x.md"],
        ["figure", "--format", "png", "--out", "x.pdf"],
        ["alive", "--format", "png,pdf", "--out", "x.pdf"],
    ],
)
def test_options_of_figures_without_a_figure_to_write_are_refused(
    sample: Path, here: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    command, flag, *_ = words
    assert main([command, str(sample), *words[1:]]) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert (flag if flag != "--out" else "--format") in line
    assert not list(here.iterdir())


def test_format_may_repeat_the_file_ending(sample: Path, here: Path) -> None:
    words = ["--alphas", "1", "--format", "pdf", "--out", "x.pdf"]
    assert main(["survival", str(sample), *words]) == 0
    assert [path.name for path in here.iterdir()] == ["x.pdf"]


def test_figure_of_another_format_is_reported_as_earlier(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["survival", str(sample), "--alphas", "1", "--out", "figs"]
    assert main([*words, "--format", "pdf,png"]) == 0
    assert "from an earlier run" not in capsys.readouterr().out
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("from an earlier run: figs/survival.pdf\n")


def test_older_figure_is_reported_if_the_new_one_fails(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["survival", str(sample), "--out", "figs", "--json"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--by", "method,seed", "--threshold", "0.5,0.9"]) == 0
    out, err = capsys.readouterr()
    assert "from an earlier run: figs/survival.png\n" in err
    assert "no figure: panels can differ in at most two dimensions" in err
    assert out.endswith("]\n")


def test_failure_of_the_only_requested_file_is_an_error(
    sample: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--by", "method,seed", "--threshold", "0.5,0.9", "--out", "x.png"]
    assert main(["survival", str(sample), *words]) == 2
    assert "panels can differ in at most two dimensions" in capsys.readouterr().err
    assert not list(here.iterdir())
