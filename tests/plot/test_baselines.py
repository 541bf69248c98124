"""Compare the figures of the gallery with their baselines.

Baselines describe artists, not pixels, because pixels differ between versions of a font. After
inspecting a change, run ``python -m tests.plot.test_baselines`` to write them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import isoklx
from scripts.draw_readme import PROJECT, drawn, figures

BASELINES = Path(__file__).with_name("baselines.json")


def described(figure: Figure) -> list[dict[str, Any]]:
    """Summarise each panel of a figure in a few numbers."""
    # Ticks are set when the figure is drawn.
    figure.draw_without_rendering()
    return [
        {"title": figure.get_suptitle(), "legends": [_said(each) for each in figure.legends]},
        *(_panel(ax) for ax in figure.axes if ax.get_visible()),
    ]


def _panel(ax: Axes) -> dict[str, Any]:
    return {
        "words": [ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), *map(_text, ax.texts)],
        "scales": [ax.get_xscale(), ax.get_yscale()],
        "limits": [*ax.get_xlim(), *ax.get_ylim()],
        "lines": [_line(line) for line in ax.lines],
        "collections": [_collection(each) for each in ax.collections],
    }


def _line(line: Any) -> list[Any]:
    look = [to_hex(line.get_color()), str(line.get_linestyle()), str(line.get_marker())]
    return [*look, *_numbers(np.column_stack(line.get_data()).astype(float))]


def _collection(collection: Any) -> list[Any]:
    paths = [path.vertices for path in collection.get_paths()]
    return [len(paths), *_numbers(np.concatenate(paths) if paths else np.empty((0, 2)))]


def _numbers(points: Any) -> list[float]:
    """Return the number of points and their minimum, mean and maximum along both axes."""
    known = points[np.isfinite(points).all(axis=1)]
    sums = [] if not len(known) else [*known.min(axis=0), *known.mean(axis=0), *known.max(axis=0)]
    return [len(points), *(float(f"{number:.5g}") for number in sums)]


def _said(legend: Any) -> list[str]:
    return [legend.get_title().get_text(), *map(_text, legend.get_texts())]


def _text(text: Any) -> str:
    return str(text.get_text())


def draw(name: str, ds: xr.Dataset) -> Figure:
    drawn(name, ds=ds)
    return plt.gcf()


def assert_alike(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_alike(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            assert_alike(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("name", figures())
def test_a_figure_equals_its_baseline(sample_ds: xr.Dataset, name: str) -> None:
    expected = json.loads(BASELINES.read_text())[name]
    assert_alike(described(draw(name, sample_ds)), expected, name)


def test_a_moved_line_differs_from_the_baseline(sample_ds: xr.Dataset) -> None:
    expected = json.loads(BASELINES.read_text())["figure1_band"]
    moved = sample_ds.assign(kl=sample_ds["kl"] * 1.01)
    with pytest.raises(AssertionError, match=r"limits|lines"):
        assert_alike(described(draw("figure1_band", moved)), expected, "figure1_band")


if __name__ == "__main__":
    mpl.use("agg")
    sample = isoklx.open_sweep(PROJECT / "data" / "sample")
    found = {}
    for each in figures():
        found[each] = described(draw(each, sample))
        plt.close("all")
    lines = (f'"{name}": {json.dumps(each, ensure_ascii=False)}' for name, each in found.items())
    BASELINES.write_text("{\n" + ",\n".join(lines) + "\n}\n")
