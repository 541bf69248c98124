"""The section of the page that compares with another sweep."""

import csv
import io
import re
import shutil

import pytest

import isoklx
from isoklx.cli import main as cli
from isoklx.errors import UsageError
from isoklx.report import write_report
from isoklx.tables.comparison import comparison
from isoklx.tables.table import as_csv
from tests.handmade import kl, make_cell
from tests.two_sweeps import OTHER_LAYER, edit, made_again

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

NAME = "<b>be\u202efore</b>/" + "x" * 90
SCRIPT = "</script><script>window.ran = 1</script>"
TABLES = ("cells", "settings", "doses")


@pytest.fixture(scope="module")
def sweeps(sample, tmp_path_factory):
    later = made_again(sample, tmp_path_factory.mktemp("later") / "runs")
    edit(later / OTHER_LAYER / "calib.json", measured_with={"torch": SCRIPT})
    with (
        isoklx.open_sweep(sample, texts=True) as before,
        isoklx.open_sweep(later, texts=True) as now,
    ):
        yield before.load(), now.load()


@pytest.fixture(scope="module")
def page(sweeps, tmp_path_factory):
    before, now = sweeps
    out = tmp_path_factory.mktemp("page") / "page.html"
    return write_report(now, out, against=before, against_name=NAME)


def test_the_tables_equal_those_of_compare(page, sweeps, visit):
    opened = visit(page)
    opened.faultless()
    expected = comparison(*sweeps)
    for name in TABLES:
        rows = list(csv.reader(io.StringIO(as_csv(expected[name]))))
        shown = opened.say(f"data.csv.compare_{name}")
        assert list(csv.reader(io.StringIO(shown))) == rows
        opened.page.locator(f"#t-compare_{name}").evaluate("each => { each.open = true; }")
        assert opened.page.locator(f"#t-compare_{name} tbody tr").count() == len(rows) - 1
    lead = opened.page.locator("#compared .lead").inner_text()
    assert lead == "Changes from that sweep (A) to the sweep of this page (B)."
    first = opened.page.locator("#n-compare_cells").inner_text()
    assert first.endswith("c_star_ratio is B over A.")
    assert "B is the sweep of this page. Cells in both: 11," in first


def test_they_can_be_sorted_like_other_tables(page, sweeps, visit):
    opened = visit(page)
    expected = comparison(*sweeps)["cells"].frame
    at = 1 + expected.columns.get_loc("c_star_ratio")
    opened.page.locator(f"#t-compare_cells th:nth-child({at}) button").click()
    cells = opened.page.locator("#t-compare_cells tbody tr td:first-child").all_inner_texts()
    ordered = expected.sort_values("c_star_ratio", kind="stable")["cell"].tolist()
    assert cells == ordered
    with opened.page.expect_download() as saved:
        opened.page.locator("[data-save=compare_settings]").click()
    assert saved.value.suggested_filename == "compare_settings.csv"
    opened.faultless()


def test_names_and_values_are_shown_and_not_executed(page, visit):
    opened = visit(page)
    heading = opened.page.locator("#h-compared").inner_text()
    assert heading == f"Compared with {NAME}".replace("\u202e", "\\u202e")
    assert SCRIPT not in page.read_text()
    assert opened.page.locator("#compared b, #compared script").count() == 0
    assert opened.say("window.ran") is None
    opened.page.locator("nav a[href='#compared']").click()
    assert opened.say("location.hash") == "#compared"
    opened.faultless()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 380)])
def test_axe_finds_no_violations(page, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(page, color_scheme=scheme, viewport={"width": width, "height": 800})
    for each in TABLES:
        opened.page.locator(f"#t-compare_{each}").evaluate("each => { each.open = true; }")
    assert opened.say("document.documentElement.scrollWidth") == width
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []


def test_without_another_sweep_the_section_is_missing(sample_page):
    assert 'id="compared"' not in sample_page.read_text()


def test_equal_settings_are_a_sentence(sample_ds, tmp_path):
    text = write_report(sample_ds, tmp_path / "page.html", against=sample_ds).read_text()
    section = re.search(r'<section id="compared".*?</section>', text, re.DOTALL)[0]
    assert "No setting differs between A and B" in section
    assert section.count("<table") == 2
    assert "Compared with <bdi>the other sweep</bdi>" in section


def test_without_common_cells_the_old_page_is_kept(sample_ds, tmp_path):
    make_cell(tmp_path / "other", trajectory=kl({"1": [[0.5] * 4]}))
    (tmp_path / "page.html").write_text("before")
    other = isoklx.open_sweep(tmp_path / "other")
    with pytest.raises(UsageError, match="no cell is in both A and B"):
        write_report(sample_ds, tmp_path / "page.html", against=other)
    assert (tmp_path / "page.html").read_text() == "before"


def without(page, against):
    """Return the page without its date and the name of the other sweep."""
    text = page.read_text().replace(str(against), "BEFORE")
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE", text)


def test_the_command_compares_with_a_file_or_a_root(sample, tmp_path, capsys):
    shutil.copytree(sample, tmp_path / "runs")
    file = isoklx.build(sample, tmp_path / "before.nc", texts=True).out
    page = tmp_path / "page.html"
    words = ["report", str(tmp_path / "runs"), "--out", str(page), "--alphas", "1,2"]
    texts = []
    for against in (sample, file):
        assert cli.main([*words, "--against", str(against)]) == 0
        assert f'<h2 id="h-compared">Compared with <bdi>{against}</bdi></h2>' in page.read_text()
        texts.append(without(page, against))
    assert texts[0] == texts[1]
    assert capsys.readouterr().err == ""
    assert cli.main([*words, "--against", str(tmp_path / "runs")]) == 2
    assert "are the same sweep; give two different ones" in capsys.readouterr().err
    assert without(page, file) == texts[1]
