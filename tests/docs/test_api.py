"""The reference of the functions names all that is public, and nothing else."""

from __future__ import annotations

import re

import isoklx
import isoklx.plot
import isoklx.report
from tests.docs.blocks import DOCS

ROOMS = {"errors", "plot"}

BESIDE = {"isoklx.simulation.sweep.CellSpec"}
"""What `isoklx.simulate` takes."""


def public() -> set[str]:
    here = {f"isoklx.{name}" for name in set(isoklx.__all__) - ROOMS}
    functions = {
        f"{room.__name__}.{name}"
        for room in (isoklx.plot, isoklx.report)
        for name, value in vars(room).items()
        if callable(value)
    }
    return here | functions | BESIDE


def documented() -> list[str]:
    pages = "\n".join(path.read_text() for path in sorted((DOCS / "api").glob("*.md")))
    return [
        name if name.startswith("isoklx.") else f"isoklx.{name}"
        for name in re.findall(r"^\.\. auto(?:function|class|exception):: (\S+)$", pages, re.M)
    ]


def listed() -> list[str]:
    page = (DOCS / "api" / "index.md").read_text()
    return [f"isoklx.{name}" for name in re.findall(r"^   (\w[\w.]*)$", page, re.M)]


def test_all_that_is_public_is_documented_once() -> None:
    assert sorted(documented()) == sorted(public())


def test_the_first_page_lists_all_that_is_public() -> None:
    assert sorted(listed()) == sorted(public())
