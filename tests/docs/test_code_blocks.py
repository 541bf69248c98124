"""Every code block of the documentation runs, or is on the list of those that cannot here."""

from __future__ import annotations

import doctest
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import isoklx
from isoklx.cli.commands import COMMANDS
from tests.docs.blocks import DOCS, Block, blocks, pages
from tests.docs.warm_start import LIMIT, warm_isoklx

PROJECT = DOCS.parent

RUN = {"sh", "r", "python"}
SHOWN = {"text", "json", "csv"}
"""Languages of blocks that show something: files, what is printed where it differs by machine."""

NOT_RUN = {
    "design.md": {"needs a checkout"},
    "howto/cluster.md": {"a cluster with GPUs and a model", "a network file system", "SLURM"},
    "howto/other_tools.md": {"Julia"},
    "howto/own_model.md": {"installs", "a model from a hub"},
    "howto/paper_figure.md": {"LaTeX"},
    "howto/watching.md": {"until Ctrl-C"},
    "howto/other_frameworks.md": {"TransformerLens and its model", "vLLM and its model"},
    "performance.md": {"minutes, and gigabytes of disk"},
    "reliability.md": {"hours"},
    "start.md": {"installs"},
}
"""Why blocks are not run, by page. A block that is added to it is a promise less: think twice."""

UNBUILT = {"howto/own_runs.md"}
"""Pages that build the file themselves; all others find it beside its runs root."""

PAGE = "__main__"
"""The module that a page's Python is."""

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

matplotlib.use("agg")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page starts from: a checkout's data, and a runs root with the file built of it."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(PROJECT / "data", folder / "data")
    shutil.copytree(folder / "data" / "sample", folder / "outputs")
    isoklx.build(folder / "outputs", folder / "outputs.nc", texts=True)
    (folder / "tests" / "models").mkdir(parents=True)
    (folder / "tests" / "models" / "tiny").symlink_to(PROJECT / "tests" / "models" / "tiny")
    return folder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a shell finds ``isoklx`` and the Python that it belongs to."""
    with warm_isoklx(tmp_path_factory.mktemp("bin")) as folder:
        places = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        yield os.pathsep.join(places)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages())
def test_every_block_of_a_page_runs_from_top_to_bottom(
    page: str, prepared: Path, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    if page != "start.md":  # which begins with nothing
        shutil.copytree(prepared, folder, symlinks=True)
    folder.mkdir(exist_ok=True)
    if page in UNBUILT:
        (folder / "outputs.nc").unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(COMMANDS, "data", COMMANDS.data.copy())  # a page may add one
    names: dict[str, Any] = {"__name__": PAGE}
    missing = set()
    for block in blocks(page):
        if block.language not in RUN or block.not_run:
            continue
        if block.needs and not _there(block.needs):
            missing.add(block.needs)
        elif block.language == "python":
            _run_python(block, names)
        else:
            _run_elsewhere(block)
    if missing:
        pytest.skip(f"the rest ran; blocks that need {', '.join(sorted(missing))} did not")


def test_blocks_that_are_not_run_are_those_of_the_list() -> None:
    found = {page: {block.not_run for block in blocks(page)} - {""} for page in pages()}
    assert {page: why for page, why in found.items() if why} == NOT_RUN


@pytest.mark.parametrize("page", pages())
def test_blocks_in_other_languages_say_why_they_are_not_run(page: str) -> None:
    for block in blocks(page):
        directive = block.language.startswith("{")
        known = block.language in RUN | SHOWN
        assert directive or known or block.not_run, f"{page}:{block.line}"


def _there(needs: str) -> bool:
    """Whether a tool, a Python package or a package of R is there."""
    package = needs.removeprefix("R's ")
    if package == needs:
        return bool(shutil.which(needs) or find_spec(needs))
    rscript = shutil.which("Rscript")
    if rscript is None:
        return False
    words = [rscript, "-e", f"cat(requireNamespace('{package}', quietly = TRUE))"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return "TRUE" in done.stdout


def _run_python(block: Block, names: dict[str, Any]) -> None:
    """A session, or the text of a module with the examples of its functions."""
    where = f"{block.page}:{block.line}"
    if block.text.startswith(">>>"):
        parse = doctest.DocTestParser().get_doctest
        tests = [parse(block.text, names, block.page, where, block.line - 1)]
    else:
        exec(compile(block.text, where, "exec"), names)
        find = doctest.DocTestFinder(exclude_empty=True).find
        made = [each for each in names.values() if getattr(each, "__module__", "") == PAGE]
        tests = [test for each in made for test in find(each, module=False, globs=names)]
    said: list[str] = []
    for test in tests:
        test.globs = names
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def _run_elsewhere(block: Block) -> None:
    words = ["bash", "-euo", "pipefail"] if block.language == "sh" else ["Rscript"]
    script = Path(f"block{block.line}.{block.language}")
    script.write_text(block.text)
    status, printed, errors = _bounded([*words, str(script)])
    where = f"{block.page}:{block.line}\n{printed}{errors}"
    script.unlink()
    assert status == 0, where
    if block.prints is not None:
        same = doctest.OutputChecker().check_output(block.prints, printed, FLAGS)
        assert same, f"{where}\nwas to print\n{block.prints}"


def _bounded(words: list[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a program, which leaves nothing that still runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            printed, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, errors = process.communicate()
            errors += f"not ended after {LIMIT} s"
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, printed, errors
