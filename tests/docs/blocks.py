"""Code blocks of the documentation's pages, as a reader meets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[^`\s]*)[^`]*$")
NOTE = re.compile(r"^<!-- (?P<kind>not run|needs): (?P<text>.+) -->$")


@dataclass
class Block:
    """A fenced block; a block of text right below one that is run is what that one prints."""

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""
    needs: str = ""
    prints: str | None = None


def pages() -> list[str]:
    """Every page, by its path below docs, without what a build of the site leaves."""
    found = (path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
    return sorted(str(path) for path in found if not path.parts[0].startswith("_"))


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    below: Block | None = None
    for block, adjacent in _fenced(page):
        if block.language == "text" and adjacent and below is not None:
            below.prints, below = block.text, None
            continue
        found.append(block)
        below = block if block.language in {"sh", "r", "python"} else None
    return found


def _fenced(page: str) -> Iterator[tuple[Block, bool]]:
    """Each block, and whether nothing but blank lines is between it and the one above."""
    fence, language, notes, adjacent = "", "", dict[str, str](), False
    start, content = 0, list[str]()
    for number, line in enumerate((DOCS / page).read_text().splitlines(), start=1):
        if fence:
            if line.strip() == fence:
                text = "".join(f"{each}\n" for each in content)
                notes_of = {kind.replace(" ", "_"): said for kind, said in notes.items()}
                yield Block(page, start, language, text, **notes_of), adjacent
                fence, notes, adjacent = "", {}, True
            else:
                content.append(line)
        elif opened := FENCE.match(line):
            fence, language = opened["fence"], opened["language"]
            start, content = number + 1, []
        elif note := NOTE.match(line):
            notes[note["kind"]] = note["text"]
        elif line.strip():
            notes, adjacent = {}, False
