"""Lines of a page that stand for text which the package itself gives.

A line ``<!-- generated: NAME -->`` of any page becomes Markdown, before the page is parsed: so its
headings and links are those of a page that was written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from extensions import command_reference, dataset_tables

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARK = re.compile(r"^<!-- generated: (?P<name>.+) -->$", re.MULTILINE)

GENERATED: dict[str, Callable[[], str]] = {
    "commands": command_reference.commands,
    "exit codes": command_reference.exit_codes,
    "coordinates": dataset_tables.coordinates,
    "data variables": dataset_tables.data_variables,
    "texts": dataset_tables.texts,
    "flags": dataset_tables.flags,
    "global attributes": dataset_tables.attributes_of_a_file,
}
"""Generators by name."""


def filled(page: str) -> str:
    """Put what is asked for in the place of each mark; KeyError where there is no such thing."""
    return MARK.sub(lambda mark: GENERATED[mark["name"]](), page)


def fill(app: Sphinx, _: str, source: list[str]) -> None:
    """Fill in a page that Sphinx has read."""
    if MARK.search(source[0]):
        # It is made of code, of which nothing here can tell when it changes.
        app.env.note_reread()
        source[0] = filled(source[0])
