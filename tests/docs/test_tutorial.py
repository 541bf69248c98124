"""The notebook as it is kept: without outputs, which the build of the site makes anew."""

from __future__ import annotations

import json
import shlex

from isoklx.cli.commands import COMMANDS
from isoklx.cli.parsing import canonical_words
from tests.docs.blocks import DOCS

CELLS = json.loads((DOCS / "tutorial.ipynb").read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_no_output_of_the_notebook_is_kept() -> None:
    assert CODE
    for cell in CODE:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_what_an_editor_keeps_of_a_cell_is_not_kept() -> None:
    for cell in CELLS:
        assert set(cell["metadata"]) <= {"mystnb", "tags"}


def test_every_picture_of_the_notebook_has_words() -> None:
    for cell in CODE:
        if "isoklx.plot." in "".join(cell["source"]).replace("isoklx.plot.text", ""):
            assert cell["metadata"]["mystnb"]["image"]["alt"]


def test_its_command_line_is_one_that_is_understood_and_names_files_that_there_are() -> None:
    text = "\n".join("".join(cell["source"]) for cell in CELLS)
    [line] = [block.split("```")[0] for block in text.split("```sh\n") if "isoklx run" in block]
    program, command, *words = shlex.split(line)
    assert (program, command) == ("isoklx", "run")
    understood = canonical_words(COMMANDS["run"], words)
    files = [word.split("=")[-1] for word in understood if "tests/models/tiny" in word]
    assert len(files) == 4
    assert all((DOCS.parent / file).exists() for file in files)
