"""Commands in surroundings that lack something: streams, a home, a locale, permission to write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import isoklx
from isoklx.simulation.sweep import grid, simulate
from isoklx.system.terminal import on_terminal
from tests.conftest import PROJECT

CLOSED = {"standard error": "2>&-", "output": ">&-", "input": "<&-", "all": "<&- >&- 2>&-"}

PROGRAMS = {
    "python -m isoklx": [sys.executable, "-m", "isoklx"],
    "isoklx": [str(Path(sys.executable).with_name("isoklx"))],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surroundings") / "runs"
    cells = {"models": ("org/größe-日本",), "seeds": (0,), "windows": (12,), "prompts": 3}
    simulate(folder, grid(**cells, questions=2, alphas=(0.0, 1.0), texts=True))
    isoklx.build(folder, folder.with_name("sweep.nc"), texts=True)
    return folder


def process(words, *, redirected="", program="python -m isoklx", prefix=(), **environment):
    """Run a command by a shell; with an environment given, in that one alone."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *prefix, *PROGRAMS[program], *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=environment or None,
    )


def command_lines(root, out):
    file = str(root.with_name("sweep.nc"))
    return {
        "build": ["build", str(root), "--out", str(out / "a.nc"), "--jobs", "2"],
        "info": ["info", file],
        "survival": ["survival", file, "--out", f"{out}/", "--format", "svg"],
        "dose": ["dose", str(root), "--json"],
        "report": ["report", file, "--out", str(out / "page.html")],
        "watch": ["watch", str(root), "--once", "--out", str(out / "watch.html")],
        "verify": ["verify", file, "--root", str(root)],
        "convert": ["convert", file, str(out / "b.nc")],
        "simulate": ["simulate", str(out / "simulated"), "--window", "8"],
        "refused": ["build", str(out / "none")],
    }


NAMES = list(command_lines(Path("root"), Path("out")))


def test_a_build_with_closed_streams_writes_its_file_and_nothing_into_it(root, tmp_path):
    """Two workers warn and draw nothing into a file that has the number of a closed stream."""
    words = command_lines(root, tmp_path)["build"]
    assert process(words, redirected=CLOSED["all"]).returncode == 0
    with isoklx.open_sweep(tmp_path / "a.nc") as found, isoklx.open_sweep(root) as expected:
        assert found.drop_vars("source_hash").equals(expected.drop_vars("source_hash"))


def test_a_message_for_a_closed_standard_error_is_not_printed_elsewhere(root, tmp_path):
    found = process(command_lines(root, tmp_path)["refused"], redirected=CLOSED["standard error"])
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED)
def test_every_command_works_with_closed_streams(root, tmp_path, name, closed):
    words = command_lines(root, tmp_path)[name]
    found = process(
        words, redirected=closed, program="isoklx" if "2" in closed else "python -m isoklx"
    )
    assert found.returncode == (1 if name == "refused" else 0), found.stderr
    assert "bug" not in found.stderr


def test_what_is_written_to_a_closed_stream_goes_into_no_file(tmp_path):
    code = """if True:
        import os, sys
        from isoklx.system.terminal import open_standard_streams
        open_standard_streams()
        with open(sys.argv[1], "wb") as file:
            assert file.fileno() > 2
            os.write(1, b"noise")
            os.write(2, b"noise")
            print("noise", file=sys.stderr)
            print(sys.stdin.read(), flush=True)
            file.write(b"data")
    """
    words = ["sh", "-c", f'exec "$@" {CLOSED["all"]}', "sh", sys.executable, "-c", code]
    subprocess.run([*words, str(tmp_path / "file")], check=True, capture_output=True)
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_closed_stream_is_no_terminal():
    assert not on_terminal(None)


WITHOUT_HOME = """import pwd
def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["build", "survival", "dose", "report", "watch"])
def test_a_command_needs_no_home(root, tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_HOME)
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    found = process(command_lines(root, tmp_path)[name], PYTHONPATH=path, PATH=os.defpath)
    assert found.returncode == 0, found.stderr
    # matplotlib says so where finding the fonts takes longer than 5 seconds.
    said = [line for line in found.stderr.splitlines() if "font cache" not in line]
    assert said == []


@pytest.mark.parametrize(
    "name", ["info", *(pytest.param(each, marks=pytest.mark.slow) for each in ("dose", "report"))]
)
def test_a_command_needs_no_locale(root, tmp_path, name):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    found = process(command_lines(root, tmp_path)[name], **environment, LC_ALL="C")
    assert (found.returncode, found.stderr) == (0, "")
    assert name in ("dose", "report") or "größe-日本" in found.stdout


def test_letters_that_the_output_lacks_are_escaped(root, tmp_path):
    found = process(
        command_lines(root, tmp_path)["info"], **{**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert r"gr\xf6\xdfe-\u65e5\u672c" in found.stdout


def unprivileged() -> list[str]:
    """Words before a command that have it run without the privileges of root."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=12345"]
    try:
        works = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip("root may write anywhere, and there are no user namespaces")
    return prefix


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("info", 0),
        ("convert", 1),
        *(
            pytest.param(name, status, marks=pytest.mark.slow)
            for name, status in {
                "build": 1,
                "survival": 1,
                "dose": 0,
                "report": 1,
                "watch": 1,
                "verify": 0,
            }.items()
        ),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line(root, tmp_path, name, status):
    out = tmp_path / "read_only"
    out.mkdir(mode=0o555)
    found = process(command_lines(root, out)[name], prefix=unprivileged())
    assert found.returncode == status, found.stderr
    assert "bug" not in found.stderr
    assert len(found.stderr.splitlines()) == (status != 0), found.stderr
    assert list(out.iterdir()) == []
