"""Panels of Figure 1, drawn from its numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D

from isoklx.plot import palette
from isoklx.plot.axes import LINEAR_YMAX, Extent, draw_mark, draw_target, limit
from isoklx.plot.bands import OVERLAID, band_legend, draw_band, draw_pooled
from isoklx.plot.figure1_numbers import ANSWER_LINE, LINE, POOLED
from isoklx.plot.layout import (
    Grid,
    Row,
    closed_on_error,
    facets,
    label_row,
    note,
    note_size,
    panels_of,
    put_legend,
    put_title,
    row_name,
    say_why_empty,
    words_only,
)
from isoklx.plot.lines import Strokes
from isoklx.plot.page import Page, points
from isoklx.plot.palette import dose_colours, group_styles
from isoklx.plot.spaghetti import draw_answer_lines, draw_lines, spaghetti_legend, unknown_legend
from isoklx.plot.titles import label_name, literal, typeset
from isoklx.stats.groups import has_label
from isoklx.stats.trajectories import default_roll

KL_HEIGHT, PMASS_HEIGHT = 1.6, 1.05
"""Heights of the rows in inches."""

KL_FLOOR = 1e-3
"""Lowest start of a logarithmic KL axis, in nats: a thousandth of the usual target."""


@dataclass(frozen=True)
class Look:
    """Options of `isoklx.plot.figure1` that do not change its numbers."""

    kl_ymax: float | Literal["auto"] | None
    linear: bool
    mark_t: int | None
    strokes: Strokes

    @classmethod
    def of(cls, attrs: Mapping[Any, Any]) -> Look:
        """Read the options from the attributes of a figure's numbers."""
        strokes = Strokes(attrs.get("line_alpha"), attrs.get("line_lw"), attrs["median_lw"])
        return cls(attrs.get("kl_ymax"), bool(attrs["linear"]), attrs.get("mark_t"), strokes)

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes that a file can hold, without options that are None."""
        look = {**asdict(self.strokes), "kl_ymax": self.kl_ymax, "mark_t": self.mark_t}
        given = {name: value for name, value in look.items() if value is not None}
        return {**given, "linear": int(self.linear)}

    @property
    def top(self) -> float | Literal["auto"]:
        """Upper limit of KL."""
        if self.kl_ymax is not None:
            return self.kl_ymax
        return LINEAR_YMAX if self.linear else "auto"


@dataclass(frozen=True)
class _Part:
    """The KL panels of one label of `by` and the pmass panels below them."""

    label: str
    drawn: xr.Dataset


def draw_numbers(drawn: xr.Dataset, page: Page) -> Grid:
    """Draw the figure from its numbers, whose attributes include those of a `Look`."""
    look, answers = Look.of(drawn.attrs), drawn.attrs["answers"]
    parts = list(_parts(drawn))
    rows = []
    for part in parts:
        rows.append(Row(row_name("kl", part.label), KL_HEIGHT))
        if answers:
            rows.append(Row(row_name("pmass", part.label), PMASS_HEIGHT, "pmass"))
    spaghetti = drawn.attrs["kind"] == "spaghetti"
    grid = facets(rows, drawn, page, notes=3 if spaghetti else 2, legend=5 + 3 * spaghetti)
    with closed_on_error(grid, page):
        bottom = _draw_kl_rows(grid, parts, look)
        if answers:
            for part in parts:
                _draw_answers_row(grid, part, look)
        handles = _legend(drawn, look, bottom)
        if look.mark_t is not None:
            axes = [ax for ax in grid.axs.flat if ax.get_visible()]
            handles.append(draw_mark(axes, drawn.attrs["window"], look.mark_t))
        if drawn.attrs["color_by_pmass"]:
            _put_colour_bar(grid)
        put_legend(grid, handles)
        put_title(grid, page)
        typeset(grid.fig)
    return grid


def _parts(drawn: xr.Dataset) -> Iterator[_Part]:
    by = drawn.attrs["by"]
    if not by:
        yield _Part("", drawn)
        return
    for label in drawn[by].values.tolist():
        part = drawn.sel({by: label})
        for dim in (LINE, ANSWER_LINE):
            if dim in part.dims:
                own = has_label(part[f"{dim}_{by}"].values, label)
                part = part.isel({dim: np.flatnonzero(own)})
        yield _Part(label_name(by, label), part)


def _hues(drawn: xr.Dataset) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return the labels and style of the groups in a panel; None for a style set by the dose."""
    hue = drawn.attrs["hue"]
    if not hue:
        return [({}, None)]
    labels = drawn[hue].values.tolist()
    styles = group_styles([((hue, label),) for label in labels])
    return [({hue: label}, style) for label, style in zip(labels, styles, strict=True)]


def _draw_kl_rows(grid: Grid, parts: Sequence[_Part], look: Look) -> float:
    """Draw KL of all rows on one scale; return the lower limit of the axis."""
    extents: dict[Axes, Extent] = {}
    for part in parts:
        row = row_name("kl", part.label)
        label_row(grid, row, "KL (nats)", part.label)
        for alpha, ax in panels_of(grid, row).items():
            panel = part.drawn.sel(alpha=alpha)
            note_size(ax, panel["n"].values, panel["n_distinct"].values)
            extents[ax] = _draw_kl(ax, panel, alpha, look.strokes)
            draw_target([ax], panel["target_kl"].values)
    least = float(np.nanmax(grid.data["target_kl"].values))
    return limit(extents, ymax=look.top, log=not look.linear, least=least, floor=KL_FLOOR)


def _draw_kl(ax: Axes, panel: xr.Dataset, alpha: float, strokes: Strokes) -> Extent:
    if panel.attrs["kind"] == "spaghetti":
        if panel["n_lines"] > 0:
            note(ax, f"{_percent(float(panel['crossed_share']), 0)} crossed")
            share = float(panel["above_share"])
            # At a sound dose the share is small, and its first decimal matters.
            note(ax, f"{_percent(share, 1 if 0 < share < 0.1 else 0)} of tokens above")
        return draw_lines(ax, panel, strokes)
    (colour,) = dose_colours([alpha]).values()
    return _draw_bands(ax, panel, "kl", {"color": colour, "linestyle": "-"}, strokes)


def _draw_bands(
    ax: Axes, panel: xr.Dataset, name: str, plain: dict[str, Any], strokes: Strokes
) -> Extent:
    """Draw the band of each group, or the medians of many groups over one pooled band."""
    kind, extents = panel.attrs["kind"], {}
    hues = _hues(panel)
    opacity = 1.0 if len(hues) == 1 else OVERLAID
    pooled = panel.get(f"{name}_{POOLED}")
    if pooled is not None:
        opacity, extents[POOLED] = 0.0, draw_pooled(ax, pooled, kind)
    for labels, style in hues:
        own = plain if style is None else style
        extents[", ".join(label_name(*label) for label in labels.items())] = draw_band(
            ax,
            panel[name].sel(labels),
            kind,
            own["color"],
            strokes,
            own["linestyle"],
            marker=own["marker"] if "marker" in plain else "",
            opacity=opacity,
        )
    return Extent.of_all(extents)


def _percent(share: float, decimals: int) -> str:
    """Format a share in percent; a small positive one is "<1%" instead of "0%"."""
    text = f"{share:.{decimals}%}"
    return f"<{10.0**-decimals:g}%" if share > 0 and text == f"{0:.{decimals}%}" else text


def _draw_answers_row(grid: Grid, part: _Part, look: Look) -> None:
    row, name = row_name("pmass", part.label), grid.data.attrs["answers"]
    label_row(grid, row, "probability of\na valid answer")
    for alpha, ax in panels_of(grid, row).items():
        ax.set_ylim(-0.03, 1.05)
        ax.set_yticks([0, 0.5, 1])
        panel = part.drawn.sel(alpha=alpha)
        note_size(ax, panel["n_answers"].values, panel["n_answers_distinct"].values)
        if not panel[name].notnull().any():
            say_why_empty(ax, "no pmass")
            continue
        (colour,) = dose_colours([alpha]).values()
        if panel.attrs["kind"] == "spaghetti":
            draw_answer_lines(ax, panel, colour, look.strokes)
            continue
        plain = {"color": colour, "marker": "o", "linestyle": "-"}
        _draw_bands(ax, panel, name, plain, look.strokes)


def _put_colour_bar(grid: Grid) -> None:
    colours = ScalarMappable(cmap=palette.pmass_colours())
    # Beside the panels of the first row, so that it covers no data.
    axes = list(grid.axs[0])
    grid.cbar = grid.fig.colorbar(colours, ax=axes, ticks=[0, 0.5, 1], aspect=15, pad=0.01)
    grid.cbar.ax.tick_params(labelsize=points("tick"))
    grid.cbar.set_label("pmass_eval at the token", fontsize=points("legend"))


def _legend(drawn: xr.Dataset, look: Look, bottom: float) -> list[Artist | tuple[Artist, ...]]:
    kind, answers = drawn.attrs["kind"], drawn.attrs["answers"]
    probed = f"answers {drawn.attrs['answers_at']}"
    handles: list[Artist | tuple[Artist, ...]] = []
    if kind == "spaghetti":
        coloured = bool(drawn.attrs["color_by_pmass"])
        handles += [] if coloured else spaghetti_legend()
        smoothed = max(drawn.attrs["roll"], default_roll(drawn.attrs["window"]))
        of = f" smoothed over {smoothed}" if smoothed > drawn.attrs["roll"] else ""
        handles.append(Line2D([], [], color=palette.ink(), label=f"median{of}"))
        if answers and not coloured:
            colours = dose_colours(drawn["alpha"].values.tolist()).values()
            handles.append(tuple(Line2D([], [], color=each, label=probed) for each in colours))
        elif answers:
            handles.append(words_only(probed))
        if coloured:
            handles += unknown_legend(drawn)
    else:
        for labels, style in _hues(drawn):
            if style is not None:
                ((name, label),) = labels.items()
                own = {each: style[each] for each in ("color", "linestyle", "marker")}
                text = literal(label_name(name, label))
                handles.append(Line2D([], [], markersize=3, label=text, **own))
        handles += band_legend(kind, " of all groups" if f"kl_{POOLED}" in drawn else "")
        if answers:
            handles.append(words_only(probed))
    handles.append(draw_target([], []))
    if not look.linear:
        handles.append(words_only(f"KL axis from {bottom:g}"))
    if drawn.attrs.get("doses"):
        handles.append(words_only(drawn.attrs["doses"]))
    return handles
