"""Lines of a watch."""

from datetime import datetime
from pathlib import Path

import pytest

from isoklx.watch import display
from isoklx.watch.states import CellState, Progress
from isoklx.watch.watching import View

STATES = (
    CellState("broken", "broken", idle=5, detail="pmass.json: not JSON\x1b[2J"),
    CellState("stale", "stale", 2, 5, True, 42 * 60, "sweeping"),
    CellState("begun", "sweeping", 0, None, True, 130),
    CellState("calibrated", "calibrating", idle=0.4, detail="try 3"),
    CellState("claimed", "waiting", detail="claimed"),
    CellState("complete", "done", 5, 5, True, 3 * 86400),
)


def view(states=STATES, far=None, **changes):
    far = far or Progress(1, len(states), 0.5, 7300.0)
    given = {"read": datetime(2026, 1, 2, 11, 59, 30), "problems": ()} | changes
    return View(
        Path("outputs"), Path("report.html"), datetime(2026, 1, 2, 12), tuple(states), far, **given
    )


def test_every_state_has_its_line():
    assert display.cells_table(STATES) == [
        "cell        state             doses   written",
        "broken      broken            -       5 s ago     pmass.json: not JSON\\x1b[2J",
        "stale       stale for 42 min  2 of 5  42 min ago  sweeping",
        "begun       sweeping          0       2 min ago",
        "calibrated  calibrating       -       0 s ago     try 3",
        "claimed     waiting           -                   claimed",
        "complete    done              5       72 h ago",
    ]


def test_without_cells_there_is_no_table():
    assert display.cells_table([]) == []


def test_cells_that_do_not_fit_are_counted():
    lines = display.cells_table(STATES, rows=5)
    assert len(lines) == 5
    assert lines[3].startswith("begun")
    assert lines[4] == "and 1 calibrating, 1 waiting, 1 done"
    assert display.cells_table(STATES, rows=7) == display.cells_table(STATES)


@pytest.mark.parametrize("columns", [34, 38, 60, 100])
def test_a_long_name_leaves_the_state_visible(columns):
    names = [f"a-model-of-a-long-name-{i}B_pca_s0_w512" for i in (1, 8)]
    cells = [CellState(name, "stale", 2, 5, True, 2500) for name in names]
    for line in display.cells_table(cells, columns=columns)[1:]:
        assert line.split("  ")[0].endswith("_s0_w512")
        assert "stale for 41 min" in line


def test_no_line_is_wider_than_the_terminal():
    wide = [CellState("\N{CJK UNIFIED IDEOGRAPH-6E2C}" * 40, "done", 5, 5, True, 60), *STATES]
    for columns in (20, 40, 80):
        lines = display.cells_table(wide, columns=columns)
        assert all(display.width(line) <= columns for line in lines)


def test_a_long_name_keeps_its_end_and_columns_stay_aligned():
    name = "\N{CJK UNIFIED IDEOGRAPH-6E2C}" * 30 + "_s1_w512"
    head, first, _ = display.cells_table(
        [CellState(name, "done", 5, 5, True, 60), CellState("a", "done", 5, 5, True, 60)]
    )
    assert first.split("  ")[0].endswith("_s1_w512")
    assert display.width(first[: first.index("done")]) == head.index("state")


@pytest.mark.parametrize(
    ("states", "far", "says"),
    [
        ((), Progress(0, 0, None, None), "no cells yet"),
        ((), Progress(0, 3, None, None), "0 of 3 cells done, 3 not begun; time left unknown"),
        (STATES[-1:], Progress(1, 1, 1.0, 0.0), "1 of 1 cell done"),
        (
            STATES,
            Progress(1, 8, 0.428, 7300.0),
            "1 of 8 cells done, 1 broken, 1 stale, 1 sweeping, 1 calibrating, 1 waiting, "
            "2 not begun; 42% of the work, 2 h 1 min left",
        ),
        (
            STATES[2:3],
            Progress(0, 1, None, None),
            "0 of 1 cell done, 1 sweeping; time left unknown",
        ),
    ],
)
def test_the_summary_counts_unfinished_cells(states, far, says):
    assert display.summary(view(states, far)) == f"outputs: {says}"


def test_the_page_is_named_with_the_time_of_its_cells():
    assert display.page_line(view()) == "page: report.html, of the cells at 11:59:30"
    assert display.page_line(view(read=None)).startswith("no page yet")


def test_a_change_is_a_self_contained_line():
    assert [display.change(each) for each in STATES] == [
        "broken: broken (pmass.json: not JSON\\x1b[2J)",
        "stale: stale for 42 min, 2 of 5 doses (sweeping)",
        "begun: sweeping, 0 doses",
        "calibrated: calibrating (try 3)",
        "claimed: waiting (claimed)",
        "complete: done, 5 doses",
    ]


def test_one_dose_is_singular():
    assert display.change(CellState("a", "done", 1, 1, True)) == "a: done, 1 dose"
