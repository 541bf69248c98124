"""What pages have generated is what the package says."""

from __future__ import annotations

from types import ModuleType

import pytest

from isoklx import schema
from isoklx.cli import main
from isoklx.cli.commands import COMMANDS
from isoklx.cli.parsing import parameters
from tests.docs.blocks import DOCS


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    from extensions import generated

    return generated


def test_a_mark_becomes_what_it_names_and_all_else_stays(generated: ModuleType) -> None:
    page = "before\n\n<!-- generated: exit codes -->\n\n<!-- a remark -->\n"
    filled = generated.filled(page)
    assert filled.startswith("before\n\n| status | meaning |\n")
    assert filled.endswith("|\n\n<!-- a remark -->\n")


def test_a_mark_of_nothing_is_refused(generated: ModuleType) -> None:
    with pytest.raises(KeyError, match="exit code"):
        generated.filled("<!-- generated: exit code -->")


def test_every_mark_of_a_page_is_one_that_there_is_and_none_is_left_over(
    generated: ModuleType,
) -> None:
    pages = "\n".join(path.read_text() for path in DOCS.glob("*.md"))
    assert sorted(generated.MARK.findall(pages)) == sorted(generated.GENERATED)


@pytest.mark.parametrize(
    ("table", "variables"),
    [
        ("coordinates", schema.COORDINATES),
        ("data variables", schema.DATA),
        ("texts", schema.TEXTS),
    ],
)
def test_a_table_has_a_row_for_each_variable(
    generated: ModuleType, table: str, variables: dict[str, schema.Variable]
) -> None:
    head, _, *rows = generated.GENERATED[table]().splitlines()
    assert head.startswith("| name | dimensions | type |")
    assert [row.split(" | ")[0] for row in rows] == [f"| `{name}`" for name in variables]
    for row, var in zip(rows, variables.values(), strict=True):
        assert f"| {', '.join(var.dims)} | {var.dtype} |" in row


def test_the_reference_has_every_option_of_every_command(generated: ModuleType) -> None:
    text = generated.GENERATED["commands"]()
    sections = dict(zip(COMMANDS, text.split("\n## ")[0:], strict=True))
    for name, section in sections.items():
        assert section.removeprefix("## ").startswith(f"{name}\n")
        assert f"```{{program}} isoklx {name}\n" in section
        for each in parameters(COMMANDS[name]):
            written = f"--no{each.name}" if each.switch and each.default else each.written
            assert f":::{{option}} {written}" in section


def test_options_that_commands_share_stand_under_a_heading_of_their_own(
    generated: ModuleType,
) -> None:
    text = generated.GENERATED["commands"]()
    alive = text[text.index("\n## alive\n") : text.index("\n## survival\n")]
    headings = [
        line.split(" ", 1)[1] for line in alive.splitlines() if line.startswith("```{rubric}")
    ]
    assert headings == [
        "Arguments",
        "Options",
        "Files written besides the printed output",
        "Selection of cells and doses",
        "Layout and file options of a figure",
    ]


def test_every_exit_status_is_explained(generated: ModuleType) -> None:
    table = generated.GENERATED["exit codes"]()
    statuses = [main.DONE, main.FAILED, main.WRONG_USE, main.INTERRUPTED, main.PIPE_CLOSED]
    found = [int(row.split("|")[1]) for row in table.splitlines()[2:]]
    assert found == statuses
