import re
from pathlib import Path

from scripts.make_gallery import FIGURES, IMAGES, PAGE, recipes

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_gallery_shows_every_figure_and_recipe_and_no_other():
    page = PAGE.read_text()
    shown = re.findall(r"\(img/(\w+)\.png", page)
    assert sorted(shown) == sorted([*FIGURES, *recipes(page)])
    assert sorted(shown) == sorted(path.stem for path in IMAGES.iterdir())


def test_the_readme_shows_three_of_them():
    shown = re.findall(r"\(docs/img/(\w+)\.png", README.read_text())
    assert len(shown) == 3
    assert set(shown) <= set(FIGURES)


def test_a_recipe_is_the_code_above_its_picture():
    parts = [">>> a = 1\n", "![x](img/recipe_one.png)", ">>> b = 2\n", "![y](img/recipe_two.png)"]
    page = "\n".join(parts)
    found = recipes(page)
    assert {name: [each.source for each in code] for name, code in found.items()} == {
        "recipe_one": ["a = 1\n"],
        "recipe_two": ["b = 2\n"],
    }
