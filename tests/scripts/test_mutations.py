"""Every fault that scripts/mutations.py puts back still has its place in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.mutations import MUTATIONS, Mutation, main

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.case)
def test_the_text_of_a_mutation_stands_once_in_its_file(mutation: Mutation) -> None:
    text = (PROJECT / mutation.file).read_text()
    assert text.count(mutation.right) == 1
    assert all((PROJECT / each).is_file() for each in mutation.tests if each.endswith(".py"))
    assert mutation.wrong != mutation.right


@pytest.mark.slow
def test_a_fault_that_is_put_back_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["before it is subtracted"]) == 0
    assert capsys.readouterr().out.startswith("caught")
