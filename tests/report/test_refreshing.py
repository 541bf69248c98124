"""The page reloads while a sweep is watched, unless its reader is busy."""

import json

import pytest

import isoklx
from isoklx.report import write_report
from isoklx.report.parts import refreshing

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

BAR = ".watched"

EVERY = 600
"""Seconds between reloads: longer than any test, so that only the test's clock triggers one."""

LONG = 60_000
"""Timeout in milliseconds, sufficient on a busy machine."""


@pytest.fixture
def live(sample_page, tmp_path):
    """Write the page as `isoklx watch` does, with a message."""
    path = tmp_path / "live.html"

    def written(says="first", every=EVERY):
        text = refreshing(sample_page.read_text(encoding="utf-8"), every, says)
        path.write_text(text, encoding="utf-8")
        return path

    return written


def after(opened, seconds):
    """Advance the clock of the page, and wait until it has reloaded."""
    with opened.page.expect_event("load", timeout=LONG):
        opened.page.clock.fast_forward(1000 * seconds)


def stays(opened, seconds):
    """Return whether the page has not started to reload after some seconds of its clock."""
    opened.say("here = true; sessionStorage.clear()")
    opened.page.clock.run_for(1000 * seconds)
    # It stores its state before it reloads.
    return opened.say("typeof here === 'boolean' && sessionStorage.length === 0")


def test_only_a_script_is_added_before_the_end(sample_page):
    plain = sample_page.read_text(encoding="utf-8")
    text = refreshing(plain, 30, "says")
    before, _, after = text.partition("<script>const watched")
    assert before + after.rpartition("</script>\n")[2] == plain


def test_the_message_is_text_and_not_executed():
    says = "</script><script>alert(1)</script>"
    text = refreshing("<body></body>", 30, says)
    assert text.count("</script>") == 1
    given = text.partition("const watched = ")[2].partition(";\n")[0]
    assert json.loads(given) == {"every": 30, "says": says}


def test_the_page_reloads_and_shows_the_new_content(live, visit):
    opened = visit(live("1 of 4 cells done."), clock=True)
    bar = opened.page.locator(BAR)
    says = f"1 of 4 cells done. This page reloads every {EVERY} s."
    assert bar.inner_text().startswith(says)
    live("2 of 4 cells done.")
    after(opened, EVERY)
    assert bar.inner_text().startswith("2 of 4 cells done.")
    opened.page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=LONG)
    opened.faultless()


def test_it_reloads_when_due_and_not_before(live, visit):
    opened = visit(live(), clock=True)
    opened.page.clock.pause_at(EVERY / 2)
    assert stays(opened, EVERY / 2 - 1)
    after(opened, EVERY)


def test_the_final_page_does_not_reload(live, visit, sample_page):
    opened = visit(live(), clock=True)
    live().write_text(sample_page.read_text(encoding="utf-8"), encoding="utf-8")
    after(opened, EVERY)
    assert opened.page.locator(BAR).count() == 0
    opened.page.clock.pause_at(3 * EVERY)
    assert stays(opened, 2 * EVERY)


def test_pause_stops_and_resume_restarts_reloading(live, visit):
    opened = visit(live(), clock=True)
    opened.page.get_by_role("button", name="Pause").click()
    assert "Paused" in opened.page.locator(BAR).inner_text()
    opened.page.clock.pause_at(EVERY - 1)
    assert stays(opened, 2 * EVERY)
    opened.page.get_by_role("button", name="Resume").click()
    assert stays(opened, 50)  # the click counts as activity
    after(opened, EVERY)


@pytest.mark.parametrize("deed", ["key", "wheel", "selection"])
def test_the_page_does_not_reload_while_its_reader_is_busy(live, visit, deed):
    opened = visit(live(), clock=True)
    opened.page.clock.pause_at(EVERY - 10)
    if deed == "key":
        opened.page.keyboard.press("ArrowDown")
    elif deed == "wheel":
        opened.page.mouse.wheel(0, 300)
        opened.until("touched > 0")
    else:
        opened.say("getSelection().selectAllChildren(document.querySelector('h1'))")
    assert stays(opened, 50)
    if deed == "selection":
        assert stays(opened, 50)
        opened.say("getSelection().removeAllRanges()")
    after(opened, EVERY)


def test_choices_sorting_open_tables_and_scroll_position_are_restored(live, visit):
    opened = visit(live(), clock=True)
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
    after(opened, EVERY)
    page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=LONG)
    assert page.locator("#c-cell option:checked").inner_text() == "simulated-8B_pca_s0_w64"
    assert page.locator("#c-prompt").input_value() == "3"
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#t-headline tbody").inner_text() == before
    assert page.locator("#t-calibration").evaluate("each => each.open") == is_open
    assert not page.locator("#log").is_checked()
    assert opened.say(seen) == pytest.approx(top, abs=50)
    opened.faultless()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 380)])
def test_axe_finds_no_violations_in_a_watched_page(live, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(live(), color_scheme=scheme, viewport={"width": width, "height": 800})
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [
        (each["id"], [node["html"][:200] for node in each["nodes"]]) for each in violations
    ] == []
    assert opened.say("document.documentElement.scrollWidth") <= width


def test_the_bar_is_first_in_the_tab_order_and_not_printed(live, visit):
    page = visit(live()).page
    reached = []
    for _ in range(2):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached == ["Skip to the findings", "Pause"]
    page.emulate_media(media="print")
    assert not page.locator(BAR).is_visible()


def test_a_sweep_without_figures_reloads_too(tmp_path, visit):
    from isoklx.simulation.sweep import grid, simulate

    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], lacks="sweep"))
    with isoklx.open_sweep(tmp_path / "runs", texts=True) as ds:
        page = write_report(ds, tmp_path / "page.html")
    page.write_text(refreshing(page.read_text(encoding="utf-8"), EVERY, "first"), encoding="utf-8")
    opened = visit(page, drawn=False, clock=True)
    after(opened, EVERY)
    opened.faultless()
