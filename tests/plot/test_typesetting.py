from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

import isoklx
from isoklx.errors import BuildError
from isoklx.plot.saving import save
from isoklx.plot.titles import latex, literal, typeset

NAMES = "m_%&#{}~^\\$x_2$"

BARE = re.compile(r"(?<!\\)[%&#_^~{}]")
"""Unescaped characters that are special in LaTeX."""

FIGURES = {
    "figure1": lambda ds: isoklx.plot.figure1(ds, by="method").fig,
    "spaghetti": lambda ds: isoklx.plot.figure1(ds, kind="spaghetti", color_by_pmass=True).fig,
    "alive": lambda ds: isoklx.plot.alive(ds).fig,
    "survival": lambda ds: isoklx.plot.survival(ds, by="method", threshold=0.95).fig,
    "dose_response": lambda ds: isoklx.plot.dose_response(ds, show=["survival", "share_above"]).fig,
    "calibration": isoklx.plot.calibration,
}


def words(figure: Figure) -> list[str]:
    """Return every text, including the tick labels as drawn."""
    figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


@pytest.mark.slow
@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_names_reach_latex_escaped(sample_ds: xr.Dataset, draw) -> None:  # type: ignore[no-untyped-def]
    ds = sample_ds.assign_coords(method=("cell", [NAMES, "b_c"] * 6))
    with mpl.rc_context({"text.usetex": True}):
        said = words(draw(ds))
    assert any(r"b\_c" in text for text in said)
    for text in said:
        plain = re.sub(r"\\text\w+\{\}|\\ldots\{\}|\$[^$\\]\$|\$\\[a-z]+\$|\\[{}$]", "", text)
        if not plain.startswith(r"$\mathdefault"):  # matplotlib's own ticks
            assert not BARE.search(plain), text
            assert "$" not in plain, text
            assert text.isascii(), text


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_without_latex_names_are_not_escaped(sample_ds: xr.Dataset, draw) -> None:  # type: ignore[no-untyped-def]
    said = words(draw(sample_ds))
    assert not any(r"\_" in text or "cdot" in text for text in said)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"])))
def test_latex_can_set_any_name(name: str) -> None:
    written = latex(literal(name, longest=10_000))
    plain = re.sub(r"\\text\w+\{\}|\\ldots\{\}|\$[<>|]\$|\$\\[a-z]+\$|\\[{}$]", "", written)
    assert not BARE.search(plain)
    assert "$" not in plain
    assert all(letter <= "\u017f" for letter in plain)


def test_a_figure_without_latex_is_unchanged() -> None:
    figure = Figure()
    figure.suptitle("a_b")
    typeset(figure)
    assert figure.get_suptitle() == "a_b"


def test_a_style_with_latex_is_one_line_if_latex_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    with mpl.rc_context({"text.usetex": True}):
        figure = Figure()
        figure.suptitle("never set before 31415")
        with pytest.raises(
            BuildError, match=r"a\.png: LaTeX, which the style requires.*latex"
        ) as caught:
            save(figure, tmp_path, "a")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.png").exists()
