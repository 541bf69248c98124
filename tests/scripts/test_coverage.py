from pathlib import Path

import pytest

from scripts import coverage

DOCS = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of each table, without its heading, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    for section in text.split("### ")[1:]:
        rows = [line for line in section.splitlines() if line.startswith("| ")]
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        found[section.splitlines()[0]] = cells
    return found


def covered(rows: list[list[str]], column: str) -> list[float]:
    place = rows[0].index(column)
    return [float(row[place].split()[0]) for row in rows[1:]]


@pytest.mark.slow
def test_it_prints_the_tables_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    coverage.main(["--sets", "60"])
    printed, written = tables(capsys.readouterr().out), tables(DOCS.read_text())
    assert list(printed) == list(written) == ["Survival", "Differences", "Tokens of prompts"]
    for name, rows in printed.items():
        assert rows[0] == written[name][0]
        designs = [[cell for cell in row if "(" not in cell] for row in rows[1:]]
        assert designs == [[cell for cell in row if "(" not in cell] for row in written[name][1:]]
    # Three standard deviations of so few sets.
    assert min(covered(printed["Survival"], "auto")) > 94 - 9
    assert min(covered(printed["Differences"], "survival, paired")) > 94 - 9
    assert min(covered(printed["Survival"], "greenwood")) < 30


def test_what_the_docs_promise_is_what_was_simulated() -> None:
    written = tables(DOCS.read_text())
    assert len(written["Survival"]) == 1 + 3 * 2 * 3 * 3
    least = {
        "auto": min(covered(written["Survival"], "auto")),
        "beta": min(covered(written["Survival"], "beta")),
        "paired": min(covered(written["Differences"], "survival, paired")),
        "mean": min(covered(written["Differences"], "restricted mean, paired")),
    }
    assert min(least["auto"], least["paired"], least["mean"]) >= 94
    assert f"| {least['auto']}% |" in DOCS.read_text()
    assert f"| {least['beta']}% |" in DOCS.read_text()
    assert f"| {least['paired']}% |" in DOCS.read_text()
