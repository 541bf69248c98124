"""The notebook as it is kept: without outputs, which the build of the site makes anew."""

from __future__ import annotations

import json

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
