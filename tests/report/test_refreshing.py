"""The page reads itself anew while a sweep is watched, and not from under its reader."""

import json

import pytest

import isoklx
from isoklx.report import write_report
from isoklx.report.refreshing import refreshing

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

BAR = ".watched"

LONG = 60000
"""Milliseconds that nothing takes, even on a busy machine."""


@pytest.fixture
def live(sample_page, tmp_path):
    """Write the page as a watch does, with what it says of itself."""
    path = tmp_path / "live.html"

    def written(says="first", every=6):
        text = refreshing(sample_page.read_text(encoding="utf-8"), every, says)
        put(path, text)
        return path

    return written


def put(path, text):
    """In one step, as a watch does: a browser may be about to read it."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def loads(opened):
    """Count how often the page is loaded from now on."""
    count = []
    opened.page.on("load", lambda _: count.append(1))
    return count


def test_only_a_script_is_added_before_the_end(sample_page):
    plain = sample_page.read_text(encoding="utf-8")
    text = refreshing(plain, 30, "says")
    before, _, after = text.partition("<script>const watched")
    assert before + after.rpartition("</script>\n")[2] == plain


def test_what_it_says_is_text_whatever_it_is():
    says = "</script><script>alert(1)</script>"
    text = refreshing("<body></body>", 30, says)
    assert text.count("</script>") == 1
    given = text.partition("const watched = ")[2].partition(";\n")[0]
    assert json.loads(given) == {"every": 30, "says": says}


def test_the_page_reads_itself_anew_and_shows_what_was_written_meanwhile(live, visit):
    opened = visit(live("1 of 4 cells done."))
    bar = opened.page.locator(BAR)
    assert bar.inner_text().startswith("1 of 4 cells done. This page reads itself anew every 6 s.")
    live("2 of 4 cells done.")
    opened.page.locator(BAR, has_text="2 of 4 cells done.").wait_for(timeout=LONG)
    opened.page.wait_for_selector("html[data-drawn=all]", state="attached")
    opened.faultless()


def test_the_last_page_ends_it(live, visit, sample_page):
    page = live()
    opened = visit(page)
    put(page, sample_page.read_text(encoding="utf-8"))
    opened.page.locator(BAR).wait_for(state="detached", timeout=LONG)
    opened.page.wait_for_selector("footer", state="attached")
    opened.page.wait_for_load_state("load")
    count = loads(opened)
    opened.page.wait_for_timeout(8000)
    assert count == []


def test_pause_stops_it_and_go_on_goes_on(live, visit):
    opened = visit(live(), drawn=False)
    opened.page.get_by_role("button", name="Pause").click()
    opened.say("touched = -Infinity")  # as if long ago
    count = loads(opened)
    assert "Paused" in opened.page.locator(BAR).inner_text()
    opened.page.wait_for_timeout(8000)
    assert count == []
    opened.page.get_by_role("button", name="Go on").click()
    opened.say("touched = -Infinity")
    with opened.page.expect_event("load", timeout=LONG):
        pass


@pytest.mark.parametrize("deed", ["key", "wheel", "selection"])
def test_nothing_is_taken_from_under_a_reader(live, visit, deed):
    opened = visit(live(every=4), drawn=False)
    if deed == "key":
        opened.page.keyboard.press("ArrowDown")
    elif deed == "wheel":
        opened.page.mouse.wheel(0, 300)
    else:
        opened.say("getSelection().selectAllChildren(document.querySelector('h1'))")
    count = loads(opened)
    opened.page.wait_for_timeout(6000)
    assert count == []
    opened.say("getSelection().removeAllRanges()")
    opened.say("touched = -Infinity")
    with opened.page.expect_event("load", timeout=LONG):
        pass


def test_what_was_chosen_sorted_opened_and_scrolled_to_is_so_again(live, visit):
    opened = visit(live(every=8))
    page = opened.page
    opened.read(method="pca", cell="simulated-8B_pca_s0_w64", alpha="2", prompt="3")
    heading = page.locator("#t-headline th:nth-child(4)")
    for _ in range(2):
        heading.get_by_role("button").click()
    page.locator("#t-calibration summary").click()
    page.locator("#log").click()
    page.get_by_role("link", name="Survival").click()
    before = page.locator("#t-headline tbody").inner_text()
    opened.say("scrollTo({ top: 2500, behavior: 'instant' })")
    seen = "document.querySelector('#survival').getBoundingClientRect().top"
    top = opened.say(seen)
    is_open = page.locator("#t-calibration").evaluate("each => each.open")
    opened.say("touched = -Infinity")
    with page.expect_event("load", timeout=LONG):
        pass
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.locator("#c-cell option:checked").inner_text() == "simulated-8B_pca_s0_w64"
    assert page.locator("#c-prompt").input_value() == "3"
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#t-headline tbody").inner_text() == before
    assert page.locator("#t-calibration").evaluate("each => each.open") == is_open
    assert not page.locator("#log").is_checked()
    assert opened.say(seen) == pytest.approx(top, abs=50)
    opened.faultless()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_axe_finds_nothing_to_object_to_in_a_page_that_is_watched(live, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(live(every=600), color_scheme=scheme, viewport={"width": width, "height": 800})
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [
        (each["id"], [node["html"][:200] for node in each["nodes"]]) for each in violations
    ] == []
    assert opened.say("document.documentElement.scrollWidth") <= width


def test_the_bar_is_reached_by_keyboard_first_and_is_not_printed(live, visit):
    page = visit(live(every=600)).page
    reached = []
    for _ in range(2):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached == ["Skip to the findings", "Pause"]
    page.emulate_media(media="print")
    assert not page.locator(BAR).is_visible()


def test_a_sweep_without_figures_refreshes_as_well(tmp_path, visit):
    from isoklx.cells.simulator import grid, simulate

    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], lacks="sweep"))
    with isoklx.open_sweep(tmp_path / "runs", texts=True) as ds:
        page = write_report(ds, tmp_path / "page.html")
    page.write_text(refreshing(page.read_text(encoding="utf-8"), 1, "first"), encoding="utf-8")
    opened = visit(page, drawn=False)
    with opened.page.expect_event("load", timeout=LONG):
        pass
    opened.faultless()
