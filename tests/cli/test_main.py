from __future__ import annotations

import contextlib
import errno
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isoklx
from isoklx.cli import main as cli
from isoklx.cli.commands import COMMANDS
from isoklx.cli.help import explanation
from isoklx.cli.parsing import canonical_words, parameters
from isoklx.errors import BuildError, UsageError
from tests.handmade import make_cell

HEAVY = {"numpy", "xarray", "matplotlib", "dask", "netCDF4", "jiter", "fire"}

calls: list[dict[str, Any]] = []


def probe(
    *roots: Path,
    out: Path | None = None,
    window: int = 64,
    name: str = "",
    alphas: tuple[float, ...] = (1.0,),
    roll: float | Literal["auto"] = "auto",
    strict: bool = False,
    title: bool = True,
) -> None:
    """Record what arrives."""
    calls.append(locals())


def describe(file: Path, kind: Literal["band", "fan"] = "band") -> None:
    """Record what arrives."""
    calls.append(locals())


@pytest.fixture(autouse=True)
def commands() -> Iterator[None]:
    calls.clear()
    with mock.patch.dict(COMMANDS, {"probe": probe, "describe": describe}):
        yield


def isoklx_process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Output is buffered, as by default.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "isoklx", *words],
        text=True,
        check=False,
        **{"env": environment, **pipes, **options},
    )


def test_command_receives_exactly_the_given_values() -> None:
    line = "probe a b --out=o.nc --window 5 --name 007 --alphas -1,2 --roll 3 --strict --notitle"
    assert cli.main(line.split()) == 0
    expected = {
        "roots": (Path("a"), Path("b")),
        "out": Path("o.nc"),
        "window": 5,
        "name": "007",
        "alphas": (-1.0, 2.0),
        "roll": 3.0,
        "strict": True,
        "title": False,
    }
    assert calls == [expected]


def test_omitted_options_keep_their_defaults() -> None:
    assert cli.main(["describe", "f.nc"]) == 0
    assert calls == [{"file": Path("f.nc"), "kind": "band"}]


@pytest.mark.parametrize("text", ["1", "None", "[1, 2]", "{'a': 1}", "True", "1,2", "a=b", "--x"])
def test_text_is_passed_on_verbatim(text: str) -> None:
    assert cli.main(["probe", "1", f"--name={text}"]) == 0
    assert calls[0]["name"] == text
    assert calls[0]["roots"] == (Path("1"),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("probe a --windw 3", "isoklx probe: unknown flag --windw; did you mean --window?"),
        (
            "describe f g",
            ("isoklx describe: unexpected argument 'g': only FILE is written without a flag"),
        ),
        ("probe a -- --trace", "isoklx probe: unknown flag --; --help lists the flags"),
        ("prob a", "isoklx: unknown command 'prob'; did you mean probe?"),
        ("--versoin", "isoklx: unknown command '--versoin'; did you mean --version?"),
        ("help prob", "isoklx: unknown command 'prob'; did you mean probe?"),
        ("--version build", "isoklx: unexpected argument 'build'"),
    ],
)
def test_wrong_usage_prints_one_line_and_exits_with_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 2
    assert capsys.readouterr() == ("", f"{message}\n")
    assert not calls


def test_unknown_command_error_lists_all_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["qqq"]) == 2
    expected = f"isoklx: unknown command 'qqq'; commands: {', '.join(COMMANDS)}\n"
    assert capsys.readouterr().err == expected


def test_missing_command_prints_usage_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isoklx: usage: isoklx COMMAND ...")
    assert all(name in err for name in COMMANDS)


def failing(error: BaseException) -> Callable[..., None]:
    def command(file: Path) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("roll is 1 or more, not 0"), 2, "roll is 1 or more, not 0"),
        (BuildError("no cell"), 1, "no cell"),
        (BuildError("a\x1b[2J\nb ü"), 1, r"a\x1b[2J\nb ü"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
        (PermissionError(13, "Permission denied", "o.nc"), 1, "o.nc: Permission denied"),
        (OSError("odd"), 1, "odd"),
        (TimeoutError(), 1, "TimeoutError"),
        (MemoryError(), 1, "not enough memory"),
        (MemoryError("7 GiB"), 1, "not enough memory: 7 GiB"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            ZeroDivisionError("by 0"),
            1,
            "this is a bug in isoklx: ZeroDivisionError: by 0 "
            "(set ISOKLX_TRACEBACK=1 to see where)",
        ),
    ],
)
def test_failure_prints_one_line_and_sets_the_exit_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.dict(COMMANDS, {"fail": failing(error)}):
        assert cli.main(["fail", "f"]) == status
    assert capsys.readouterr() == ("", f"isoklx fail: {line}\n")


def test_bug_prints_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISOKLX_TRACEBACK", "1")
    with mock.patch.dict(COMMANDS, {"fail": failing(ValueError("x"))}):
        assert cli.main(["fail", "f"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("isoklx fail: this is a bug in isoklx: ValueError: x\n")


@pytest.mark.parametrize(
    "line", ["probe --help", "probe -h", "help probe", "probe a --wndow --help x", "--help probe"]
)
def test_help_flag_works_at_any_position(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: isoklx probe ROOT [ROOT ...]")
    assert err == ""
    assert not calls


@pytest.mark.parametrize("line", ["--help", "-h", "help", "--frob --help"])
def test_help_lists_every_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 0
    out, err = capsys.readouterr()
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert err == ""


def real_commands() -> list[str]:
    return [name for name in COMMANDS if name not in ("probe", "describe")]


@pytest.mark.parametrize("name", real_commands())
def test_every_parameter_of_a_real_command_is_readable_and_explained(name: str) -> None:
    meanings = explanation(COMMANDS[name]).meanings
    for each in parameters(COMMANDS[name]):
        assert each.type.metavar
        assert meanings[each.name], each.written


@pytest.mark.parametrize("topic", ["", *real_commands()])
def test_every_example_in_the_help_is_valid(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["help", topic] if topic else ["help"])
    examples = capsys.readouterr().out.partition("examples:\n")[2].split("\n\n")[0].splitlines()
    assert examples
    for example in examples:
        program, name, *words = shlex.split(example, comments=True)
        assert program == "isoklx"
        assert canonical_words(COMMANDS[name], words)


def valid_lines() -> st.SearchStrategy[tuple[list[str], dict[str, object]]]:
    """Draw valid command lines, each with the values that must arrive."""
    number = st.integers(-9, 99)
    flags = {
        "window": number.map(lambda n: (str(n), n)),
        "name": st.sampled_from(["x", "1", "a=b", "None", "ü"]).map(lambda t: (t, t)),
        "alphas": st.lists(number, min_size=1, max_size=3).map(
            lambda ns: (",".join(map(str, ns)), tuple(map(float, ns)))
        ),
        "roll": st.sampled_from([("auto", "auto"), ("2", 2.0)]),
    }

    @st.composite
    def line(draw: st.DrawFn) -> tuple[list[str], dict[str, object]]:
        roots = draw(st.lists(st.sampled_from(["r1", "r2", "r3"]), min_size=1, max_size=3))
        groups = [[root] for root in roots]
        values: dict[str, object] = {}
        for flag in draw(st.sets(st.sampled_from(sorted(flags)))):
            text, values[flag] = draw(flags[flag])
            joined = draw(st.booleans())
            groups.append([f"--{flag}={text}"] if joined else [f"--{flag}", text])
        if draw(st.booleans()):
            values["strict"] = draw(st.booleans())
            groups.append(["--strict" if values["strict"] else "--nostrict"])
        order = draw(st.permutations(range(len(groups))))
        values["roots"] = tuple(Path(groups[i][0]) for i in order if i < len(roots))
        return [word for i in order for word in groups[i]], values

    return line()


@given(valid_lines())
def test_valid_line_runs_once_with_its_values(
    line: tuple[list[str], dict[str, object]],
) -> None:
    words, values = line
    calls.clear()
    assert cli.main(["probe", *words]) == 0
    [received] = calls
    assert {name: received[name] for name in values} == values


@given(valid_lines(), st.data())
def test_line_with_a_surplus_word_never_runs(
    line: tuple[list[str], dict[str, object]], data: st.DataObject
) -> None:
    words, _ = line
    foreign = data.draw(st.sampled_from(["--widow", "-", "--", "-i", "--trace", "--out", "--x=1"]))
    place = data.draw(st.integers(0, len(words)))
    words = [*words[:place], foreign, *words[place:]]
    if foreign == "--out" and place + 1 < len(words) and not words[place + 1].startswith("-"):
        return  # the next root is then a valid value of the flag
    calls.clear()
    assert cli.main(["probe", *words]) == 2
    assert not calls


WORDS = st.one_of(
    st.sampled_from(["f.nc", "--window", "--window=3", "--alphas", "0.5", "1.0", "--strict"]),
    st.sampled_from(["false", "--nostrict", "--kind", "fan", "--kind=band", "--out", "-1", "="]),
    st.sampled_from(["-", "--", "--trace", "-i", "--=", "--completion", "--separator=x", "--help"]),
    st.text(st.characters(), max_size=6),
)


@given(
    st.sampled_from(["probe", "describe", "help", "--version", "x"]), st.lists(WORDS, max_size=5)
)
def test_no_line_causes_a_traceback_or_a_partial_run(first: str, rest: list[str]) -> None:
    calls.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([first, *rest])
    assert status in (0, 2)
    assert len(err.getvalue().splitlines()) == (status == 2)
    assert bool(out.getvalue()) == (status == 0 and not calls)
    for values in calls:
        places = values.get("roots", [values.get("file")])
        flags = [word for word in rest if word.startswith("--")]
        separate = [word for word in flags if word in ("--window", "--alphas", "--kind", "--out")]
        assert len(rest) == len(places) + len(flags) + len(separate)


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"], ["--version"], ["build"]])
def test_help_and_refusals_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from isoklx.cli.main import main; main(sys.argv[1:]); "
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_version_is_printed() -> None:
    result = isoklx_process("--version")
    assert (result.returncode, result.stdout, result.stderr) == (
        0,
        f"isoklx {isoklx.__version__}\n",
        "",
    )


def test_closed_pipe_causes_no_error_message() -> None:
    read, write = os.pipe()
    os.close(read)
    result = isoklx_process("--help", stdout=write)
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_unwritable_output_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        result = isoklx_process("--help", stdout=full)
    assert result.returncode == 1
    assert result.stderr == f"isoklx: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_unwritable_message_keeps_the_exit_status() -> None:
    with Path("/dev/full").open("w") as full:
        assert isoklx_process("build", stderr=full).returncode == 2


def test_unencodable_characters_do_not_stop_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def say(file: Path) -> None:
        print(file)

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with mock.patch.dict(COMMANDS, {"say": say}):
        assert cli.main(["say", "é"]) == 0
    assert raw.getvalue() == b"\\xe9\n"


def test_help_uses_neither_pager_nor_colour() -> None:
    result = isoklx_process("build", "--help", env={**os.environ, "PAGER": "false"})
    assert result.returncode == 0
    assert result.stdout.startswith("usage: isoklx build ROOT [ROOT ...]")
    assert "\x1b" not in result.stdout


def test_closed_standard_output_does_not_crash() -> None:
    result = isoklx_process("--help", preexec_fn=lambda: os.close(1))
    assert (result.returncode, result.stderr) == (0, "")


def test_undecodable_names_are_escaped_in_errors() -> None:
    result = subprocess.run(
        [sys.executable.encode(), b"-m", b"isoklx", b"build", b"a", b"--\xff\x1b"],
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        rb"isoklx build: unknown flag --\udcff\x1b; --help lists the flags" + b"\n"
    )


def test_a_misspelt_flag_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    isoklx.simulate(tmp_path / "runs")
    result = isoklx_process("build", str(tmp_path / "runs"), "--strct")
    assert result.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_runs_root_is_built_and_described_from_the_command_line(tmp_path: Path) -> None:
    folders = isoklx.simulate(tmp_path / "runs")
    built = isoklx_process("build", str(tmp_path / "runs"), "--out", str(tmp_path / "a.nc"))
    assert (built.returncode, built.stderr) == (0, "")
    assert f"read {len(folders)} cells" in built.stdout
    info = isoklx_process("info", str(tmp_path / "a.nc"))
    assert (info.returncode, info.stderr) == (0, "")
    assert info.stdout


def test_absent_root_is_a_failure(tmp_path: Path) -> None:
    result = isoklx_process("build", str(tmp_path / "none"))
    assert result.returncode == 1
    assert result.stderr == f"isoklx build: {tmp_path / 'none'}: folder not found\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_unwritable_warning_does_not_stop_the_work(tmp_path):
    make_cell(tmp_path / "runs", "a")
    make_cell(tmp_path / "runs", "b", pmass="[")
    with Path("/dev/full").open("w") as full:
        words = ["table", str(tmp_path / "runs"), "--out", str(tmp_path / "x.csv")]
        assert isoklx_process(*words, stderr=full).returncode == 0
    assert (tmp_path / "x.csv").is_file()


def test_skipped_cell_is_reported_in_one_line(tmp_path):
    make_cell(tmp_path, "a")
    make_cell(tmp_path, "b", pmass="[")
    done = subprocess.run(
        [sys.executable, "-m", "isoklx", "info", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"isoklx: skipped {tmp_path}/b/pmass.json: not JSON, or half written")
