from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from isoklx.cli.commands import COMMANDS, TOPICS
from isoklx.cli.help import command_help, overview
from isoklx.cli.parsing import parameters


def draw(
    *roots: Path,
    out: Path,
    kind: Literal["band", "fan"] = "band",
    alphas: tuple[float, ...] = (0.5, 1.0),
    roll: int | None = None,
    title: bool = True,
    strict: bool = False,
) -> None:
    """Draw trajectories.

    One panel per dose, and `quantiles` in each of them: the paragraph is long enough to be wrapped
    by any terminal.

    Parameters
    ----------
    *roots : Path
        Runs root.
    out : Path
        File to write.
    kind : {"band", "fan"}
        How the spread is drawn: as one band between two quantiles, or as a fan of
        several.
    alphas : tuple of float
        Doses.
    roll : int, optional
        Window of the moving mean.
    title : bool
        Leave the title out.
    strict : bool
        Fail where a cell is skipped.

    Raises
    ------
    UsageError
        Never mind.

    Examples
    --------
    $ isoklx draw runs --out a.png
    >>> 1 + 1
    2
    """


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    "line",
    [
        "  ROOT                 Runs root.",
        "  --out PATH           File to write. [required]",
        "  --alphas NUMBER,...  Doses. [default: 0.5,1.0]",
        "  --roll INT           Window of the moving mean.",
        "  --notitle            Leave the title out.",
        "  --strict             Fail where a cell is skipped.",
    ],
)
def test_every_parameter_is_shown_with_its_type_default_and_meaning(line: str) -> None:
    assert line in command_help("draw", draw).splitlines()


@pytest.mark.usefixtures("wide")
def test_usage_line_distinguishes_required_from_optional() -> None:
    usage = " ".join(command_help("draw", draw).split("\n\n")[0].split())
    assert usage == (
        "usage: isoklx draw ROOT [ROOT ...] --out PATH [--kind band|fan] [--alphas NUMBER,...] "
        "[--roll INT] [--notitle] [--strict]"
    )


def test_the_command_lines_among_the_examples_are_shown() -> None:
    assert command_help("draw", draw).endswith("\n\nexamples:\n  isoklx draw runs --out a.png")


@pytest.mark.parametrize("columns", [40, 61, 80, 100])
def test_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = command_help("draw", draw) + "\n" + overview({"draw": draw}, draw.__doc__)
    assert max(len(line) for line in text.splitlines()) <= columns


def test_long_name_has_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = command_help("draw", draw).splitlines()
    assert lines[lines.index("  --alphas NUMBER,...") + 1] == " " * 14 + "Doses. [default: 0.5,1.0]"


def test_a_flag_and_its_value_stay_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(40, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        usage = command_help("draw", draw).split("\n\n")[0]
        assert all(line.count("[") == line.count("]") for line in usage.splitlines())


@pytest.mark.usefixtures("wide")
def test_the_overview_gives_a_command_one_line() -> None:
    assert "commands:\n  draw  Draw trajectories.\n\n" in overview({"draw": draw}, "About.")


def test_a_command_without_a_docstring_still_has_its_usage() -> None:
    def bare(file: Path) -> None: ...

    assert command_help("bare", bare) == "usage: isoklx bare FILE\n\narguments:\n  FILE"


def test_commands_and_flags_stand_under_their_topics() -> None:
    topics = {"make": ["draw", "absent"], "empty": []}
    text = overview({"draw": draw, "look": draw}, "About.", topics)
    assert text.index("make:\n  draw") < text.index("commands:\n  look")
    assert "empty" not in text
    assert "absent" not in text


def test_every_command_and_every_flag_of_run_has_one_topic() -> None:
    named = [name for commands in TOPICS.values() for name in commands]
    assert sorted(named) == sorted(set(COMMANDS)) == sorted(set(named))
    run = COMMANDS["run"]
    flags = [name for names in run.topics.values() for name in names]  # type: ignore[attr-defined]
    assert sorted(flags) == sorted(each.name for each in parameters(run) if each.flag)
    assert "\noptions:" not in command_help("run", run)
