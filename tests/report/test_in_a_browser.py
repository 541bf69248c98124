"""The page with mouse, keyboard, phone, dark mode, screen reader and on paper."""

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pytest

import isoklx
from isoklx.report import write_report
from isoklx.stats.endpoint import lifetimes
from isoklx.tables import captioned
from isoklx.tables.table import as_csv

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_the_page_makes_no_requests_and_no_errors(sample_page, visit):
    opened = visit(sample_page)
    assert opened.say("[...document.querySelectorAll('.plot')].every(n => n.children.length > 0)")
    opened.faultless()


def test_a_policy_forbids_requests_from_the_page(sample_page, visit):
    opened = visit(sample_page)
    left = opened.say("fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')")
    assert left == "refused"
    assert any("Content Security Policy" in error for error in opened.errors)


def column(page, table, index):
    cells = page.locator(f"#t-{table} tbody tr td:nth-child({index})")
    return cells.all_inner_texts()


def test_a_table_is_sorted_by_its_heading_up_and_down(sample_page, visit, sample_ds):
    page = visit(sample_page).page
    expected = isoklx.headline_table(sample_ds)["c_mean"]
    heading = page.locator("#t-headline th:nth-child(4) button")
    for order, ascending in (("ascending", True), ("descending", False)):
        heading.click()
        assert page.locator("#t-headline th:nth-child(4)").get_attribute("aria-sort") == order
        shown = [float(each) for each in column(page, "headline", 4)]
        np.testing.assert_allclose(shown, expected.sort_values(ascending=ascending), rtol=1e-3)


def test_missing_values_sort_last_in_both_orders(sample_page, visit):
    page = visit(sample_page).page
    for _ in range(2):
        page.locator("#t-headline th:nth-child(5) button").click()
        shown = column(page, "headline", 5)
        assert "" in shown
        assert shown == [*filter(None, shown), *[""] * shown.count("")]


def test_a_table_is_copied_with_all_its_digits(sample_page, visit, sample_ds):
    opened = visit(sample_page, permissions=["clipboard-read", "clipboard-write"])
    opened.page.locator("[data-copy=headline]").click()
    opened.page.locator("#t-headline [role=status]", has_text="Copied.").wait_for()
    copied = opened.say("navigator.clipboard.readText()")
    expected = as_csv(captioned.headline(sample_ds))
    assert list(csv.reader(io.StringIO(copied))) == list(csv.reader(io.StringIO(expected)))
    with opened.page.expect_download() as saved:
        opened.page.locator("[data-save=headline]").click()
    assert saved.value.suggested_filename == "headline.csv"
    assert saved.value.path().read_bytes() == expected.encode()
    opened.faultless()


@pytest.fixture
def texts(sample):
    with isoklx.open_sweep(sample, texts=True) as ds:
        yield ds.load()


CELL = "simulated-8B_pca_s0_w64"


def test_the_chosen_rollout_is_shown(sample_page, visit, texts):
    opened = visit(sample_page)
    lives = lifetimes(texts).isel(threshold=0)
    for alpha, prompt in ((2.0, 3), (4.0, 1), (0.0, 0)):
        opened.read(method="pca", cell=CELL, alpha=f"{alpha:g}", prompt=str(prompt))
        one = texts.sel(run_id=CELL, alpha=alpha, prompt=prompt)
        tokens = opened.page.locator("#said .t").all_text_contents()
        assert "".join(tokens) == one["gen_text"].item()
        assert len(tokens) == one["gen_len"].item()
        assert opened.page.locator("#asked").inner_text() == one["prompt_text"].item()
        life = lives.isel(cell=list(texts.run_id.values).index(CELL)).sel(
            alpha=alpha, prompt=prompt
        )
        fate = opened.page.locator("#fate").inner_text()
        fork = texts["fork"].values[life["end"].item()]
        says = "Died: first below pmass 0.75 at" if life["died"] else "Alive at its last fork,"
        assert f"{says} token {fork}" in fate
        forks = one["pmass_eval"].values
        shown = opened.page.locator("#forks button").all_inner_texts()
        assert len(shown) == np.isfinite(forks).sum()
        assert shown[0].startswith(f"token 0: {float(f'{forks[0]:.3g}'):g}")
    opened.faultless()


def test_tokens_are_shaded_in_the_order_of_their_kl(sample_page, visit, texts):
    opened = visit(sample_page)
    opened.read(method="pca", cell=CELL, alpha="1", prompt="2")
    shades = opened.say(
        "[...document.querySelectorAll('#said .t')].map(n => +n.style.getPropertyValue('--k'))"
    )
    kl = texts["kl"].sel(run_id=CELL, alpha=1.0, prompt=2).values[: len(shades)]
    expected = np.minimum(0.62, 0.62 * np.sqrt(np.clip(kl, 1e-4, None) / 6))
    np.testing.assert_allclose(shades, expected, atol=0.02)
    opened.page.locator("#said .t").nth(5).click()
    said = opened.page.locator("#token-says").inner_text()
    assert float(said.split("about ")[1]) == pytest.approx(kl[5], rel=0.06)


def test_a_click_on_a_line_reads_it(sample_page, visit, texts):
    opened = visit(sample_page)
    opened.read(method="pca", cell=CELL, alpha="1", prompt="0")
    opened.page.locator("#lines").scroll_into_view_if_needed()
    opened.settled()
    x, y, i = opened.say(
        """() => {
          const view = [...Bokeh.index.roots].find((each) => each.model === reader.plot);
          const [frame, box] = [view.frame, view.el.getBoundingClientRect()];
          const highest = (line) => Math.max(...line.y), lines = reader.lines.slice(1);
          const peak = Math.max(...lines.map(highest));
          const i = 1 + lines.findIndex((each) => highest(each) === peak);
          const { x, y } = reader.lines[i], k = y.indexOf(Math.max(...y));
          return [box.left + frame.x_scale.compute(x[k]), box.top + frame.y_scale.compute(y[k]), i];
        }"""
    )
    opened.page.mouse.click(x, y)
    opened.settled()
    assert opened.page.locator("#c-prompt").input_value() == str(i)
    expected = texts.sel(run_id=CELL, alpha=1.0, prompt=i)["gen_text"].item()
    assert "".join(opened.page.locator("#said .t").all_text_contents()) == expected
    opened.faultless()


def test_every_dose_has_an_axis_that_shows_its_lines(sample_page, visit, texts):
    opened = visit(sample_page)
    for alpha in ("1", "4", "0.25"):
        opened.read(method="pca", cell=CELL, alpha=alpha, prompt="0")
        highest = isoklx.smooth(texts["kl"].sel(run_id=CELL, alpha=float(alpha)), 9).max().item()
        assert opened.say("reader.plot.y_range.end") >= 0.99 * max(highest, 1)
        drawn = opened.say("reader.source.data.ys.flat().filter(y => y === y)")
        assert max(drawn) == pytest.approx(highest, abs=0.002)
        dead = opened.say("reader.rows.filter(row => row.died).length")
        colours = opened.say("reader.source.data.c")
        assert len(set(colours)) == 1 + (0 < dead < 8)


def test_a_figure_links_to_the_rollouts_at_its_dose(sample_page, visit):
    opened = visit(sample_page)
    opened.page.locator(".jump[data-alpha='2.0']").first.click()
    opened.settled()
    assert "alpha 2," in opened.page.locator("#fate").inner_text()


def test_the_url_fragment_selects_the_rollout(sample_page, visit):
    opened = visit(sample_page)
    opened.read(method="mean_diff", alpha="4", prompt="6")
    place = opened.say("location.hash")
    again = visit(sample_page, place=place)
    again.settled()
    assert again.page.locator("#fate").inner_text() == opened.page.locator("#fate").inner_text()


def test_the_keyboard_alone_reads_a_rollout_and_sorts_a_table(sample_page, visit):
    opened = visit(sample_page)
    page = opened.page
    page.keyboard.press("Tab")
    assert opened.say("document.activeElement.className") == "skip"
    before = page.locator("#said").inner_text()
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        at = opened.say(
            "(document.activeElement.id || document.activeElement.closest('th')?.cellIndex + '')"
        )
        outline = opened.say("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", opened.say("document.activeElement.outerHTML.slice(0, 300)")
        reached.add(at)
        if at == "c-alpha":
            page.keyboard.press("ArrowDown")
        if at == "c-after":
            page.keyboard.press("Enter")
        if at == "token":
            page.keyboard.press("ArrowRight")
        if at == "0":
            page.keyboard.press("Enter")
            break
    opened.settled()
    assert {"c-method", "c-cell", "c-alpha", "c-prompt", "c-after", "said", "token"} <= reached
    assert page.locator("#said").inner_text() != before
    assert page.locator("#token-says").inner_text().startswith("1: ")
    assert page.locator("#t-headline th").first.get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_axe_finds_no_violations(sample_page, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(sample_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    results = axe.Axe().run(opened.page)
    found = [
        (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in results.response["violations"]
    ]
    assert found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations_after_everything_was_opened_and_chosen(sample_page, visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(sample_page, color_scheme=scheme)
    opened.say("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    opened.page.locator("th button").first.click()
    opened.page.locator("#log").uncheck()
    opened.read(alpha="4")
    assert opened.page.locator(".fork.dead").count() == 1
    opened.page.locator("#said .t").nth(3).click()
    results = axe.Axe().run(opened.page)
    assert [(each["id"], each["nodes"][0]["html"]) for each in results.response["violations"]] == []


def test_a_phone_scrolls_only_vertically(sample_page, visit):
    opened = visit(sample_page, viewport={"width": 380, "height": 800})
    assert opened.say("document.documentElement.scrollWidth") == 380
    opened.faultless()


def test_dark_mode_is_dark_and_follows_a_change(sample_page, visit):
    opened = visit(sample_page, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened.say(paper) == "rgb(255, 255, 255)"
    opened.page.emulate_media(color_scheme="dark")
    opened.settled()
    assert opened.say(paper) == "rgb(20, 23, 26)"
    assert opened.say("reader.plot.background_fill_color") == "#14171a"
    opened.faultless()


def test_printed_tables_are_open_and_controls_are_hidden(sample_page, visit):
    page = visit(sample_page).page
    page.emulate_media(media="print")
    assert not page.locator(".choose").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.pdf()[:5] == b"%PDF-"
    assert all(page.locator("details").evaluate_all("all => all.map(each => each.open)"))


def test_printed_tables_show_every_column(sample_page, visit):
    landscape = 1015  # pixels of CSS between the margins of A4
    page = visit(sample_page, viewport={"width": landscape, "height": 700}).page
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    page.emulate_media(media="print")
    widths = "all => all.map(each => [each.id, each.scrollWidth, each.clientWidth])"
    for name, needed, there in page.locator("details").evaluate_all(widths):
        assert needed <= there, name


PORTRAIT, LANDSCAPE = 688, 1015
"""Pixels of CSS between the margins of A4."""


def test_printed_content_fits_the_width_of_the_page(sample_page, visit):
    page = visit(sample_page).page
    page.evaluate("tables(); dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    for width, those in (
        (PORTRAIT, "main > section:not(#tables):not(#compared) *"),
        (LANDSCAPE, "#tables *"),
    ):
        page.set_viewport_size({"width": width, "height": 700})
        beyond = page.locator(those).evaluate_all(
            "all => all.filter((each) => each.getBoundingClientRect().right > innerWidth + 1)"
            ".map((each) => each.outerHTML.slice(0, 80))"
        )
        assert beyond == []
    pictures = page.locator(".plot .paper")
    assert pictures.count() == page.locator(".plot").count()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert pictures.count() == 0


def test_printed_headings_stay_with_their_content(sample_page, visit):
    page = visit(sample_page).page
    page.emulate_media(media="print")
    heads = page.locator("h2, summary, .lead, .legend, .axis, .caption, thead")
    styles = heads.evaluate_all("all => all.map((each) => getComputedStyle(each))")
    assert {(each["breakAfter"], each["breakInside"]) for each in styles} == {("avoid", "avoid")}


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_printed_figures_stay_with_their_headings_and_tables_repeat_theirs(
    sample_page, visit, tmp_path
):
    file = tmp_path / "page.pdf"
    visit(sample_page).page.pdf(path=file, format="A4", prefer_css_page_size=True)
    said = subprocess.run(
        ["pdftotext", "-bbox", str(file), "-"], capture_output=True, text=True, check=True
    )
    sizes = re.compile(r'<page width="([0-9.]+)" height="([0-9.]+)">')
    word = re.compile(r'<word xMin="[0-9.]+" yMin="([0-9.]+)" .*>(.*)</word>')
    found, repeated = [], 0
    for page in said.stdout.split("</page>")[:-1]:
        width, height = map(float, sizes.search(page).groups())
        tops, words = zip(*((float(top), text) for top, text in word.findall(page)), strict=True)
        repeated += width > height and bool({"method", "first"} & set(words))
        for title in () if width > height else SECTIONS:
            if title in (line := " ".join(words)):
                first = line[: line.index(title)].count(" ")
                found.append(title)
                assert max(tops) - tops[first] > 0.2 * height, title
    assert sorted(found) == sorted(SECTIONS)
    assert repeated >= 8


SECTIONS = ("Dose response", "KL per token", "Survival", "Calibration", "Read the rollouts")


def test_a_long_table_cell_is_shown_completely(sample_page, visit):
    page = visit(sample_page).page
    reason = page.locator("#t-safe_dose td.long").first
    assert "would do" in reason.inner_text()
    assert reason.evaluate("each => each.scrollWidth <= each.clientWidth")
    assert reason.evaluate("each => getComputedStyle(each).textOverflow") == "clip"


def test_dead_rollouts_differ_in_more_than_colour(sample_page, visit):
    opened = visit(sample_page)
    opened.read(alpha="4")
    died = opened.say("reader.rows.map(row => row.died)")
    assert any(died)
    dashes = opened.say("reader.source.data.d")
    assert dashes == ["dashed" if each else "solid" for each in died]


def test_the_logarithmic_axis_applies_to_all_doses(sample_page, visit):
    opened = visit(sample_page)
    logarithmic = "[...figures.drawn.values()].filter(scale => scale === 'log').length"
    # one panel per dose, KL by dose, and the coefficients of the calibration
    assert opened.say(logarithmic) == 8
    opened.page.locator("#log").uncheck()
    opened.settled()
    assert opened.say(logarithmic) == 2
    opened.faultless()


def test_the_page_is_readable_before_the_library_is_loaded(sample_page, visit):
    opened = visit(sample_page, drawn=False)
    painted = opened.say(
        "new Promise(r => { const f = () => { const [e] = performance.getEntriesByName("
        "'first-contentful-paint'); e ? r(e.startTime) : setTimeout(f, 10) }; f() })"
    )
    assert painted < 2000


def test_without_texts_each_token_is_a_square(real_root, tmp_path, visit):
    with isoklx.open_sweep(real_root, texts=True) as ds:
        page = write_report(ds, tmp_path / "real.html")
    assert page.stat().st_size < 5e6
    opened = visit(page)
    assert opened.page.locator("#said.squares .t").count() == 512
    assert "texts were not recorded" in opened.page.locator("#read .lead").inner_text()
    opened.faultless()
