"""What is taken for a block, and what for the words that it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import blocks as module
from tests.docs.blocks import blocks, pages

PAGE = """
# A page

```sh
isoklx info outputs.nc
```

```text
12 cells
```

<!-- needs: Rscript -->

```r
print(1)
```

Text that shows something else:

```text
outputs/
```

<!-- not run: Julia -->

```julia
println(1)
```

````md
```sh
rm -rf /
```
````
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(module, "DOCS", tmp_path)
    return "page.md"


def test_text_right_below_a_block_is_what_it_prints(page: str) -> None:
    first, second, shown, *_ = blocks(page)
    assert (first.text, first.prints) == ("isoklx info outputs.nc\n", "12 cells\n")
    assert second.prints is None
    assert (shown.language, shown.text) == ("text", "outputs/\n")


def test_a_comment_above_a_block_says_what_it_needs_or_why_it_is_not_run(page: str) -> None:
    notes = [(block.language, block.needs, block.not_run) for block in blocks(page)]
    assert notes == [
        ("sh", "", ""),
        ("r", "Rscript", ""),
        ("text", "", ""),
        ("julia", "", "Julia"),
        ("md", "", ""),
    ]


def test_a_block_within_a_block_is_none(page: str) -> None:
    assert blocks(page)[-1].text == "```sh\nrm -rf /\n```\n"


def test_a_block_is_found_at_the_line_where_it_begins(page: str) -> None:
    lines = PAGE.splitlines()
    assert [lines[block.line - 1] for block in blocks(page)][:2] == [
        "isoklx info outputs.nc",
        "print(1)",
    ]


def test_every_folder_of_pages_is_looked_into() -> None:
    assert {"start.md", "howto/own_runs.md", "api/survival.md"} <= set(pages())
