"""Names and texts with code in them."""

import json

import pytest

import isoklx
from isoklx.report import write_report
from tests.handmade import kl, make_cell, write

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SCRIPT = "<script>window.ran = 1</script><img src=x onerror='window.ran=1'>"
CLOSING = "</script><script>window.ran = 1</script>"
TEXTS = {
    "script": [SCRIPT],
    "closing": [CLOSING, "<!--", "-->", "]]>"],
    "right to left": ["\u202eabc\u2066", "\N{HEBREW LETTER ALEF}\u200f", "x"],
    "long": ["y" * 20000] * 4 + ["z" * 20000],
    "emoji": ["\N{GRINNING FACE}", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "e\u0301"],
    "nul": ["a\0b", "\x1b[31m", "\u2028"],
    "template": ["{{ 7 * 7 }}", "${7 * 7}", "$$\\frac{1}{2}$$", "&lt;b&gt;"],
}


@pytest.fixture
def hostile(tmp_path):
    """Write a runs root with one cell per text, with names as hostile."""
    root = tmp_path / "runs"
    for i, (name, tokens) in enumerate(TEXTS.items()):
        bad = "".join(tokens)[:60].translate({ord(c): "" for c in "/\0\x1b\u2028"})
        calib = {"method": f"<b>{name}</b>{CLOSING}$$x$$", "model": f"org/{SCRIPT}", "seed": i}
        row = [0.5] * len(tokens)
        folder = make_cell(
            root,
            f"{bad.strip()}_{i}",
            calib={**calib, "window": max(4, len(tokens))},
            trajectory=kl({"1": [row]}),
            pmass={
                "fork_points": [0],
                "pmass_eval": {"1": [[0.9]]},
                "gen_lens_eval": {"1": [len(tokens)]},
            },
            history=[{"coeff": 1.5, "kl_mean": 0.2, "kl_p95": 1.0, "kl_max": 2.0}],
        )
        line = {"kind": "eval", "alpha": 1, "prompt_idx": 0, "prompt": CLOSING, "tokens": tokens}
        write(folder / "gens.jsonl", json.dumps({**line, "gen_text": "".join(tokens)}))
    return root


def test_hostile_text_is_shown_and_not_executed(hostile, tmp_path, visit):
    file = isoklx.build(hostile, texts=True)
    assert len(file.read) == len(TEXTS)
    with isoklx.open_sweep(file.out) as ds:
        page = write_report(ds, tmp_path / "page.html")
    opened = visit(page)
    shown = set()
    for i, option in enumerate(opened.page.locator("#c-method option").all_text_contents()):
        assert option.endswith("$$x$$")
        opened.page.locator("#c-method").select_option(index=i)
        opened.settled()
        shown.add("".join(opened.page.locator("#said .t").all_text_contents()))
        assert opened.page.locator("#asked").text_content() == CLOSING
    assert SCRIPT in shown
    assert "".join(TEXTS["closing"]) in shown
    assert "".join(TEXTS["emoji"]) in shown
    assert "".join(TEXTS["template"]) in shown
    assert "".join(TEXTS["long"]) in shown
    assert "\\u202eabc\\u2066\N{HEBREW LETTER ALEF}\\u200fx" in shown
    assert "a\N{SYMBOL FOR NULL}b\\u001b[31m\\u2028" in shown
    assert opened.say("window.ran") is None
    assert opened.page.locator("main img, main b, main script").count() == 0
    opened.faultless()


def test_a_long_name_does_not_widen_the_page_on_a_phone(hostile, tmp_path, visit):
    with isoklx.open_sweep(hostile, texts=True) as ds:
        page = write_report(ds, tmp_path / "page.html")
    opened = visit(page, viewport={"width": 380, "height": 800})
    assert opened.say("document.documentElement.scrollWidth") == 380
    opened.faultless()
