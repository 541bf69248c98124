from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import UsageError
from isoklx.plot.lines import PER_INCH, Strokes, Values, add_lines, draw_median
from isoklx.stats.trajectories import smooth

NAN = float("nan")


def test_a_line_is_cut_where_its_level_changes_and_the_pieces_touch() -> None:
    y = np.array([[5.0, 6.0, 7.0, 8.0]])
    level = np.array([[1, 1, 0, 0]])
    lines, levels = add_lines(plt.figure().gca(), np.arange(4), y, level, Strokes())
    first, second = (points.tolist() for points in lines.get_segments())
    assert levels.tolist() == [1, 0], "the lowest level is drawn last"
    assert first == [[0, 5], [1, 6], [2, 7]]
    assert second == [[2, 7], [3, 8]]


def test_a_line_is_drawn_neither_across_its_gap_nor_into_the_next_line() -> None:
    y = np.array([[1.0, NAN, 2.0, 3.0], [NAN, 4.0, 5.0, NAN]])
    level = np.zeros((2, 1), dtype=int)
    lines, _ = add_lines(plt.figure().gca(), np.arange(4), y, level, Strokes())
    pieces = [points.tolist() for points in lines.get_segments()]
    assert pieces == [[[0, 1]], [[2, 2], [3, 3]], [[1, 4], [2, 5]]]


def test_a_spike_in_a_long_line_is_drawn_at_its_full_height() -> None:
    y = np.random.default_rng(0).random((3, 20_000))
    y[1, 12_345] = 50.0
    level = np.zeros((3, 1), dtype=int)
    ax = plt.figure().gca()
    lines, _ = add_lines(ax, np.arange(20_000), y, level, Strokes())
    peak = max(lines.get_segments(), key=lambda points: points[:, 1].max())
    assert [12_345, 50.0] in peak.tolist()
    most = 2 * ax.get_window_extent().width / 100 * PER_INCH + 4
    assert all(len(points) <= most for points in lines.get_segments())


def drawn(y: Values, *, log: bool, thinned: bool, monkeypatch: pytest.MonkeyPatch) -> Values:
    """Return the pixels of lines in a panel of a paper figure."""
    if not thinned:
        monkeypatch.setattr("isoklx.plot.lines.thin_for", lambda *_: None)
    figure = plt.figure(figsize=(1.4, 1.8), dpi=200)
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    level = np.zeros((len(y), 1), int)
    lines, _ = add_lines(ax, np.arange(y.shape[1]), y, level, Strokes())
    lines.set_color("black")
    ax.set(xlim=(0, y.shape[1]), ylim=(1e-2, 10), yscale="log" if log else "linear")
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., 0] / 255  # type: ignore[attr-defined]


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("roll", [1, 65])
@pytest.mark.parametrize("n_lines", [1, 24])
def test_thinned_lines_make_the_same_picture(
    n_lines: int, roll: int, log: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).gamma(0.5, 1.0, (n_lines, 4096))
    y = smooth(xr.DataArray(noise, dims=("line", "token")), roll).values
    thinned, whole = (
        drawn(y, log=log, thinned=each, monkeypatch=monkeypatch) for each in (True, False)
    )
    # Mean difference relative to full ink; only the shade of dense strokes differs.
    assert np.abs(thinned - whole).mean() < 0.02
    rows_with_ink = [(picture < 0.98).any(axis=1) for picture in (thinned, whole)]
    assert (rows_with_ink[0] != rows_with_ink[1]).mean() < 0.01, "extremes stay visible"


def test_dense_lines_are_rasterised_inside_a_vector_file() -> None:
    lines, _ = add_lines(
        plt.figure().gca(), np.arange(2), np.zeros((1, 2)), np.zeros((1, 1), int), Strokes()
    )
    assert lines.get_rasterized()


def test_more_lines_are_fainter_by_default() -> None:
    assert Strokes().opacity(10) > Strokes().opacity(1000)
    assert Strokes(line_alpha=0.7).opacity(1000) == 0.7


@pytest.mark.parametrize("bad", [{"line_alpha": 0}, {"line_alpha": 2}, {"line_lw": 0}])
def test_an_invalid_stroke_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(bad))} must be above 0"):
        Strokes(**bad)


def test_a_median_is_thinned_to_its_extremes() -> None:
    median = xr.DataArray(np.zeros(50_000), {"token": np.arange(50_000)}, dims="token")
    median[777] = 3.0
    ax = plt.figure().gca()
    draw_median(ax, median, Strokes())
    (line,) = ax.lines
    x, y = line.get_data()
    assert len(x) < 2 * ax.get_window_extent().width / 100 * PER_INCH + 4
    assert x[np.argmax(y)] == 777


def test_the_number_of_lines_is_limited_and_counts_are_of_all_trajectories(
    sample_ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = isoklx.plot.figure1(sample_ds, kind="spaghetti", alphas=[2], kl_only=True, roll=9)
    monkeypatch.setattr("isoklx.plot.lines.MOST_LINES", 20)
    part = isoklx.plot.figure1(sample_ds, kind="spaghetti", alphas=[2], kl_only=True, roll=9)
    (all_lines,), (some_lines,) = (grid.axs[0, 0].collections for grid in (whole, part))
    assert len(some_lines.get_paths()) == 2 * 8 < len(all_lines.get_paths()) == 10 * 8
    np.testing.assert_array_equal(
        part.axs[0, 0].lines[0].get_ydata(), whole.axs[0, 0].lines[0].get_ydata()
    )
    notes = [[text.get_text() for text in grid.axs[0, 0].texts] for grid in (whole, part)]
    assert "16 of 80 lines drawn" in notes[1][0]
    assert notes[0][0].splitlines()[0] == notes[1][0].splitlines()[0]  # the share that crossed


def test_lazy_and_loaded_trajectories_have_the_same_survival(
    sample_ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isoklx.plot.lines.MOST_LINES", 20)
    chunks = {"cell": 1, "alpha": 1}
    grids = [isoklx.plot.alive(ds, alphas=[2]) for ds in (sample_ds, sample_ds.chunk(chunks))]
    first, second = (grid.axs[0, 0] for grid in grids)
    for one, other in zip(
        first.collections[0].get_paths(), second.collections[0].get_paths(), strict=True
    ):
        np.testing.assert_array_equal(one.vertices, other.vertices)
    assert [t.get_text() for t in first.texts] == [t.get_text() for t in second.texts]


@pytest.mark.parametrize("n", [8, 24, 72])
def test_rough_lines_leave_gaps_and_a_spike_is_visible(n: int) -> None:
    rng = np.random.default_rng(0)
    # Noise over three decades between tokens.
    y = 10 ** (rng.uniform(-2.5, 0.5, (n, 512)))
    y[0, 256] = 9.0
    figure = plt.figure(figsize=(1.2, 1.6), dpi=200)
    ax = figure.add_axes((0.0, 0.0, 1, 1))
    ax.set_axis_off()
    strokes = Strokes().of_rough_lines(n)
    lines, _ = add_lines(ax, np.arange(512), y, np.zeros((n, 1), int), strokes)
    lines.set_color("black")
    ax.set(xlim=(0, 511), ylim=(1e-3, 10), yscale="log")
    figure.canvas.draw()
    ink = 1 - np.asarray(figure.canvas.buffer_rgba())[..., 0] / 255  # type: ignore[attr-defined]
    densest = np.median(ink[150:180])
    assert 0.1 < densest < 0.85
    assert ink[10:30].max() > 0.02
