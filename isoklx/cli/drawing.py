"""The options that figures take on the command line, and a figure's way into its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from isoklx.terminal import printable

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Saving:
    """How a figure is written.

    Parameters
    ----------
    format : tuple of str
        Any of png, pdf, svg. In pdf and svg the many thin lines are pixels, all else is vectors.
    dpi : float, optional
        Dots per inch of what is pixels; without it the style's, or 200.
    mplstyle : Path, optional
        A matplotlib style sheet to draw with.
    """

    format: tuple[Literal["png", "pdf", "svg"], ...] = ("png",)
    dpi: float | None = None
    mplstyle: Path | None = None


@dataclass(frozen=True)
class Scope:
    """Which part of a sweep is drawn.

    Parameters
    ----------
    window : int, optional
        Draw only the cells of this window, in tokens; needed where there are several.
    model_contains : str
        Draw only the cells whose model's name contains this.
    alphas : tuple of float, optional
        Doses to draw, in this order; by default all of them.
    """

    window: int | None = None
    model_contains: str = ""
    alphas: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Panels:
    """What Figure 1 shows.

    Parameters
    ----------
    kind : {"band", "fan", "spaghetti"}
        The median with p10 to p90; with p25 to p75 as well; or one line per trajectory, red where
        its KL was above the target at any token.
    by : {"method", "model_short", "seed"}, optional
        A row of panels for each method, model or seed.
    roll : int
        Tokens of the moving mean.
    kl_ymax : float or "auto"
        Upper limit of KL in nats.
    log : bool
        Make the KL axis logarithmic.
    kl_only : bool
        Leave out pmass.
    mark_t : int, optional
        Token at which to draw a dotted line.
    color_by_pmass : bool
        Colour each line of a spaghetti by its own pmass at the token.
    line_alpha : float, optional
        Opacity of a line of the spaghetti; by default the more lines, the less.
    line_lw : float
        Width of a line of the spaghetti, in points.
    median_lw : float
        Width of the median, in points.
    """

    kind: Literal["band", "fan", "spaghetti"] = "band"
    by: Literal["method", "model_short", "seed"] | None = None
    roll: int = 65
    kl_ymax: float | Literal["auto"] = 6.0
    log: bool = False
    kl_only: bool = False
    mark_t: int | None = None
    color_by_pmass: bool = False
    line_alpha: float | None = None
    line_lw: float = 0.6
    median_lw: float = 1.4


def check(panels: Panels, saving: Saving) -> None:
    """Refuse options that fit no sweep, before any work.

    Raises
    ------
    UsageError
        When one is out of range, or two exclude each other.
    """
    from isoklx.plot.figure1 import check_options
    from isoklx.plot.lines import Strokes
    from isoklx.plot.saving import checked, style

    Strokes(panels.line_alpha, panels.line_lw, panels.median_lw)
    check_options(
        panels.kind,
        roll=panels.roll,
        kl_ymax=panels.kl_ymax,
        color_by_pmass=panels.color_by_pmass,
    )
    with style(saving.mplstyle):
        checked(saving.format, saving.dpi)


def draw(stem: str, out: Path, saving: Saving, make: Callable[[], Any]) -> list[Path]:
    """Make a figure in the style asked for, write it, and forget it.

    Parameters
    ----------
    stem : str
        Name of the files without their suffix.
    out : Path
        Folder to write to; made if there is none.
    saving : Saving
        Formats, resolution and style.
    make : callable
        Returns the figure, or a grid of panels.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    UsageError, DatasetError, BuildError
        As `make` and `isoklx.plot.saving.save` do.
    """
    import matplotlib.pyplot as plt

    from isoklx.plot.saving import save, style

    with style(saving.mplstyle):
        try:
            return save(make(), out, stem, saving.format, saving.dpi)
        finally:
            plt.close("all")


def draw_figure1(
    ds: xr.Dataset, out: Path, scope: Scope, panels: Panels, saving: Saving
) -> list[Path]:
    """Draw Figure 1 of a sweep to ``figure1`` in a folder."""
    import isoklx.plot

    return draw(
        "figure1",
        out,
        saving,
        lambda: isoklx.plot.figure1(
            of_model(ds, scope.model_contains),
            window=scope.window,
            alphas=scope.alphas,
            **asdict(panels),
        ),
    )


def draw_survival(
    ds: xr.Dataset,
    out: Path,
    saving: Saving,
    metric: str = "pmass_eval",
    thresholds: Sequence[float] | None = None,
    by: Sequence[str] | None = None,
    distinct: bool = True,
) -> list[Path]:
    """Draw the survival of a sweep to ``survival`` in a folder."""
    import isoklx.plot

    return draw(
        "survival",
        out,
        saving,
        lambda: isoklx.plot.survival(
            ds, metric=metric, threshold=thresholds, by=by, distinct=distinct
        ),
    )


def draw_calibration(ds: xr.Dataset, out: Path, saving: Saving) -> list[Path]:
    """Draw the calibration of a sweep to ``calibration`` in a folder."""
    import isoklx.plot

    return draw("calibration", out, saving, lambda: isoklx.plot.calibration(ds))


def say_written(paths: Iterable[Path], stream: TextIO | None = None) -> None:
    """Print what was written, one line a file; to standard output by default."""
    for path in paths:
        print(f"wrote {printable(path)}", file=stream)


def of_model(ds: xr.Dataset, text: str) -> xr.Dataset:
    """The cells whose model's name contains a text.

    Raises
    ------
    UsageError
        When there is none.
    """
    from isoklx import schema
    from isoklx.errors import UsageError

    schema.require(ds, ["model"])
    chosen = ds.isel(cell=[text in str(model) for model in ds["model"].values])
    if text and not chosen.sizes["cell"]:
        there = ", ".join(sorted(set(map(str, ds["model"].values))))
        raise UsageError(f"no cell has a model containing {text!r}; there is {there}")
    return chosen
