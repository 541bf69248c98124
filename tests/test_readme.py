"""The README's claims about the Dataset, held against the schema."""

import re
from pathlib import Path

import pytest

from isoklx import schema

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


@pytest.mark.parametrize("name", schema.ANY)
def test_every_variable_is_in_the_readme_with_its_dims_and_dtype(name):
    var = schema.ANY[name]
    (row,) = [line for line in README.splitlines() if re.match(rf"\| [^|]*`{name}`", line)]
    names, dims, dtype, _ = [column.strip() for column in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert f"`{name}`" in names
    assert dims in (", ".join(var.dims), "own")
    assert dtype == var.dtype


def test_the_readme_has_exactly_two_commands_for_a_fresh_machine():
    assert len(re.findall(r"^python3\.11 -m venv", README, flags=re.MULTILINE)) == 2
