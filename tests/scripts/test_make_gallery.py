import re
from pathlib import Path

from scripts.make_gallery import FIGURES, IMAGES

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_shows_every_figure_of_the_gallery_and_no_other():
    shown = re.findall(r"docs/img/(\w+)\.png", README.read_text())
    assert sorted(shown) == sorted(FIGURES) == sorted(path.stem for path in IMAGES.iterdir())
