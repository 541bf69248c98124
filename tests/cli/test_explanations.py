from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass

import pytest

import isoklx
from isoklx.cli.commands import COMMANDS
from isoklx.cli.help import explained_by, explanation, parse_docstring


@dataclass
class Wide:
    """How wide.

    Parameters
    ----------
    width : int
        In columns.
    height : int
        In `lines`.
    """

    width: int = 1
    height: int = 2


@explained_by("isoklx.sweeps.build.build", Wide)
def draw(*roots: str, width: int, jobs: int, strict: bool) -> None:
    """Draw all of it.

    A first paragraph
    of two lines.

    A second one.

    Parameters
    ----------
    *roots : str
        Of what.
    strict, height : bool
        Whether, and
        how.

    Raises
    ------
    UsageError
        Never.

    Examples
    --------
    $ isoklx draw a
    $ isoklx draw b --jobs 3
    >>> 1 + 1
    2
    """


def test_docstring_is_parsed() -> None:
    read = parse_docstring(draw.__doc__)
    assert read.summary == "Draw all of it."
    assert read.details == ("A first paragraph of two lines.", "A second one.")
    assert read.meanings == {
        "roots": "Of what.",
        "strict": "Whether, and how.",
        "height": "Whether, and how.",
    }
    assert read.examples == ("isoklx draw a", "isoklx draw b --jobs 3")


def test_missing_parameters_are_explained_by_the_first_source() -> None:
    meanings = explanation(draw).meanings
    assert meanings["roots"] == "Of what."
    assert meanings["height"] == "Whether, and how."
    assert meanings["width"] == "In columns."
    assert meanings["jobs"] == "Number of parsing processes; default: one per core."


def test_explanations_match_the_imported_function() -> None:
    doc = parse_docstring(inspect.getdoc(isoklx.plot.figure1)).meanings
    shown = explanation(COMMANDS["figure"]).meanings
    assert all(shown[name] == doc[name] for name in ("kind", "roll", "alphas", "line_lw", "window"))


def test_unknown_source_function_is_a_lookup_error() -> None:
    @explained_by("isoklx.sweeps.build.bild")
    def command() -> None: ...

    with pytest.raises(LookupError, match=r"function isoklx\.sweeps\.build\.bild not found"):
        explanation(command)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    code = (
        "import sys; from isoklx.cli.main import main; main(['help', sys.argv[1]]); "
        "assert not {'numpy', 'xarray', 'matplotlib', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, name], check=True, stdout=subprocess.DEVNULL)
