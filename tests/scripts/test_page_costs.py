import shutil

import pytest

from scripts.page_costs import BROWSERS, make_sweep, rows

pytest.importorskip("playwright")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="needs Chromium"),
]


def test_a_page_is_opened_and_answers_every_click(tmp_path):
    file = make_sweep(tmp_path, seeds=1, prompts=8, window=8)
    measured = dict(rows(file, tmp_path / "page.html"))
    assert 0 < float(measured["size, MB"]) < 5
    for what in ("first paint, ms", "next prompt, ms", "another cell or dose, ms"):
        assert float(measured[what].split()[0]) > 0
