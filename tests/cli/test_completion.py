"""Completion scripts, tested in the shells themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoklx.cli import main as cli
from isoklx.cli.commands import COMMANDS
from tests.cli.shells import Fish, Terminal

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for name in ("a sweep.nc", "another.nc"):
        (folder / name).write_text("")
    (folder / "outputs").mkdir()
    return folder


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[Any]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    opened = asked(request.param, home)
    yield opened
    opened.close()


def asked(name: str, home: Path) -> Terminal | Fish:
    script = home / f"completion.{name}"
    words = [sys.executable, "-m", "isoklx", "completion", name]
    script.write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
    return Fish(script, home) if name == "fish" else Terminal(name, script, home)


def added(shell: Terminal | Fish, line: str) -> set[str]:
    """Return the completions after the trailing space of a line."""
    words = line.split()[1:]
    found = shell.completed(line)
    assert found[: len(words)] == words
    return set(found[len(words) :])


def helped(capsys: pytest.CaptureFixture[str], name: str) -> str:
    """Return the usage of a command, as in its help."""
    assert cli.main(["help", name]) == 0
    return capsys.readouterr().out.partition("\n\n")[0]


def test_first_word_completes_to_a_command(shell: Any) -> None:
    assert added(shell, "isoklx ") - {"--help", "--version"} == {*COMMANDS, "help"}
    assert shell.completed("isoklx bui") == ["build"]
    assert set(shell.completed("isoklx --")) == {"--help", "--version"}
    assert added(shell, "isoklx help ") == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_completed_flags_match_the_help(
    name: str, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = set(re.findall(r"--\w+", helped(capsys, name))) | {"--help"}
    found = shell.completed(f"isoklx {name} --")
    assert (found[0], set(found[1:])) == (name, expected)


@pytest.mark.parametrize("name", COMMANDS)
def test_choices_of_a_flag_are_completed(
    name: str, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    takes = re.findall(r"(--\w+) ([^\]]+)\]", " ".join(helped(capsys, name).split()))
    for flag, metavar in takes:
        words = set(re.split(r"[|,]", metavar)) - {"", "..."}
        if "PATH" not in words and "TEXT" not in words:
            assert added(shell, f"isoklx {name} {flag} ") == words - {"INT", "NUMBER"}


def test_value_completes_after_an_equals_sign_or_space(shell: Any) -> None:
    assert shell.completed("isoklx figure --kind=fa") == ["figure", "--kind=fan"]
    assert shell.completed("isoklx figure --kind fa") == ["figure", "--kind", "fan"]
    found = shell.completed("isoklx figure a.nc --kind=")
    assert {each.removeprefix("--kind=") for each in found[2:]} == {"band", "fan", "spaghetti"}


def test_a_list_is_completed_after_its_comma(shell: Any) -> None:
    assert shell.completed("isoklx run m --method pca,mea") == [
        *("run", "m", "--method", "pca,mean_diff")
    ]
    assert shell.completed("isoklx figure --format=png,s") == ["figure", "--format=png,svg"]


def test_paths_complete_to_files(shell: Any) -> None:
    assert shell.completed("isoklx info a") == ["info", "a sweep.nc", "another.nc"]
    assert shell.completed("isoklx convert x.nc ano") == ["convert", "x.nc", "another.nc"]
    *words, folder = shell.completed("isoklx build x y out")
    assert [*words, folder.removesuffix("/")] == ["build", "x", "y", "outputs"]
    assert shell.completed("isoklx table x --out ano") == ["table", "x", "--out", "another.nc"]
    assert shell.completed("isoklx table x --out=ano") == ["table", "x", "--out=another.nc"]


def test_numbers_do_not_complete_to_files(shell: Any) -> None:
    assert added(shell, "isoklx figure x --window ") == set()


def test_given_flag_is_not_offered_again(shell: Any) -> None:
    found = shell.completed("isoklx build --strict --out x --")
    assert found[:4] == ["build", "--strict", "--out", "x"]
    assert {"--window", "--force"} < set(found[4:])
    assert not {"--strict", "--out"} & set(found[4:])
    assert "--out" in shell.completed("isoklx build --ou")


def test_command_is_recognised_by_position(shell: Any) -> None:
    assert "--jobs" not in shell.completed("isoklx info build --")
    assert "--json" in shell.completed("isoklx info build --")


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes_an_unambiguous_word(name: str, home: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    terminal = asked(name, home)
    try:
        assert isinstance(terminal, Terminal)
        found = terminal.completed("isoklx figu\t--ki\tfa", "\t")
        assert " ".join(found).replace("=", " ") == "figure --kind fan"  # zsh inserts =
        assert terminal.completed("isoklx figure --kind=sp", "\t") == ["figure", "--kind=spaghetti"]
        assert terminal.completed("isoklx run m --method pca,me\t,d", "\t") == [
            *("run", "m", "--method", "pca,mean_diff,directional_ablation")
        ]
    finally:
        terminal.close()


def test_bash_completes_with_equals_sign_removed_from_wordbreaks(home: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    terminal = asked("bash", home)
    try:
        assert isinstance(terminal, Terminal)
        terminal.run("COMP_WORDBREAKS=${COMP_WORDBREAKS//=}")
        assert terminal.completed("isoklx figure --kind=fa") == ["figure", "--kind=fan"]
        assert terminal.completed("isoklx figure --format=png,s") == ["figure", "--format=png,svg"]
        assert terminal.completed("isoklx table --out=ano") == ["table", "--out=another.nc"]
        terminal.run("set -u")
        assert terminal.completed("isoklx figure --kind=fa") == ["figure", "--kind=fan"]
    finally:
        terminal.close()


def test_unknown_shell_error_lists_supported_shells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    error = capsys.readouterr().err
    assert error == "isoklx completion: SHELL takes bash, zsh or fish, not 'tcsh'\n"


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import sys; from isoklx.cli.main import main; main(['completion', 'zsh']); "
        "assert not {'numpy', 'xarray', 'matplotlib', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
