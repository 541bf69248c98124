import re
from pathlib import Path

from scripts.draw_readme import GALLERY, IMAGES, PROJECT, SHOWN, code_cells, draw_readme


def test_the_pictures_that_are_drawn_are_those_that_are_shown():
    pages = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"img/(\w+)\.png", page.read_text())}
    assert shown == {path.stem for path in IMAGES.iterdir()} == set(SHOWN)


def test_the_gallery_s_code_draws_them(tmp_path: Path):
    written = draw_readme(tmp_path)
    assert sorted(path.name for path in written) == sorted(f"{name}.png" for name in SHOWN)


def test_every_cell_of_the_gallery_is_found():
    page = GALLERY.read_text()
    assert len(code_cells(page)) == page.count("```{code-cell}")


def test_a_cell_has_the_tag_of_its_head_or_none():
    page = """\
```{code-cell} python
:tags: [remove-cell]
%config a
import a
```

```{code-cell} python
b = 1
```

```{code-cell} python
---
tags: [picture]
mystnb:
  image:
    alt: What it shows.
---
c = 2
d = 3
```
"""
    assert code_cells(page) == [
        ("remove-cell", "import a"),
        ("", "b = 1"),
        ("picture", "c = 2\nd = 3"),
    ]
