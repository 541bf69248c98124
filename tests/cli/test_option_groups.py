import inspect
from dataclasses import dataclass

import pytest

from isoklx.cli.help import command_help
from isoklx.cli.options import grouped
from isoklx.cli.parsing import canonical_words


@dataclass(frozen=True)
class Saving:
    """How.

    Parameters
    ----------
    format : tuple of str
        Suffixes.
    dpi : int
        Dots per inch.
    """

    format: tuple[str, ...] = ("png",)
    dpi: int = 200


calls = []


@grouped
def draw(file: str, *, wide: bool = False, saving: Saving) -> None:
    """Draw a file.

    Parameters
    ----------
    file : str
        The file.
    wide : bool
        Over both columns.

    Examples
    --------
    $ isoklx draw a.nc
    """
    calls.append((file, wide, saving))


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def test_the_fields_of_a_group_are_flags_of_the_command():
    assert canonical_words(draw, ["a.nc", "--dpi", "300", "--format", "pdf,svg"]) == [
        "a.nc",
        "--dpi=300",
        "--format=pdf,svg",
    ]


def test_the_command_gets_the_group():
    draw("a.nc", wide=True, format=("pdf",))
    assert calls == [("a.nc", True, Saving(("pdf",), 200))]


def test_the_help_explains_every_field_and_keeps_the_examples():
    text = command_help("draw", draw)
    for part in ("--dpi INT", "Dots per inch. [default: 200]", "Over both columns.", "$"):
        assert (part in text) == (part != "$")
    assert text.endswith("examples:\n  isoklx draw a.nc")


def test_misspelt_field_raises_type_error():
    with pytest.raises(TypeError, match="dpy"):
        draw("a.nc", dpy=1)


def test_the_signature_is_flat():
    assert list(inspect.signature(draw).parameters) == ["file", "wide", "format", "dpi"]
