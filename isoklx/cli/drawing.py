"""The options that figures take on the command line, and a figure's way into its files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoklx.cli.help import explained_by
from isoklx.cli.options import Scope, of_model_and_side
from isoklx.cli.outputs import FIGURES, Target
from isoklx.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Saving:
    """How a figure is laid out and written.

    Parameters
    ----------
    format : tuple of str, optional
        Any of png, pdf, svg; by default png, or that of the file. In pdf and svg the many thin
        lines are pixels, all else is vectors.
    dpi : float, optional
        Dots per inch of what is pixels; without it the style's, or 200.
    mplstyle : str, optional
        A matplotlib style to draw with: a style sheet, or the name of a style, as ggplot.
    width : float or {"column", "page"}, optional
        Inches; a column is 3.3 and a page 7. Panels go on in further rows where they do not fit.
        By default the style's, or what they would like.
    title : bool
        Leave out the title, which a paper has in its caption.
    name : str, optional
        Name of the files without their ending, instead of that of the figure.
    data : bool
        Write the numbers that are drawn beside it, as NAME_data.csv.
    """

    format: tuple[Literal["png", "pdf", "svg"], ...] | None = None
    dpi: float | None = None
    mplstyle: str | None = None
    width: float | Literal["column", "page"] | None = None
    title: bool = True
    name: str | None = None
    data: bool = False

    def formats(self, target: Target) -> Sequence[Literal["png", "pdf", "svg"]]:
        """The formats of a figure that is written to `target`; none where that is a table."""
        if target.name is not None:
            return target.among(FIGURES)  # type: ignore[return-value]
        return self.format or ("png",)

    @property
    def given(self) -> list[str]:
        """Which of these were asked for."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    @property
    def page(self) -> dict[str, Any]:
        """What the functions that draw take of it."""
        return {"width": self.width, "title": self.title}


@explained_by("isoklx.plot.figure1.figure1")
@dataclass(frozen=True)
class Panels:
    """What Figure 1 shows: the options of `isoklx.plot.figure1`, with its defaults.

    Parameters
    ----------
    distinct : bool
        Draw every cell, those too that repeat another one to the byte.
    """

    kind: Literal["band", "fan", "spaghetti"] = "band"
    by: str | None = None
    hue: str | None = None
    roll: int | None = None
    edges: Literal["shrink", "repeat"] = "shrink"
    distinct: bool = True
    kl_ymax: float | Literal["auto"] | None = None
    linear: bool = False
    kl_only: bool = False
    pmass: Literal["pmass", "pmass_eval"] | None = None
    mark_t: int | None = None
    color_by_pmass: bool = False
    line_alpha: float | None = None
    line_lw: float | None = None
    median_lw: float = 1.4

    @property
    def stem(self) -> str:
        """Name of its files without their ending: no kind replaces another."""
        return f"figure1_{self.kind}{'_by_pmass' if self.color_by_pmass else ''}"


def check(saving: Saving, target: Target | None, panels: Panels | None = None) -> None:
    """Refuse options that fit no sweep, or do nothing together, before any work.

    Raises
    ------
    UsageError
        When one is out of range, or two exclude each other.
    """
    given = ["notitle" if name == "title" else name for name in saving.given]
    if given and target is None:
        raise UsageError(f"--{given[0]} is of figures, and none is written; give --out as well")
    if target is None:
        return
    # Without a figure there is no need of matplotlib, which takes long to start.
    from isoklx.plot.figure1 import check_options
    from isoklx.plot.page import Page
    from isoklx.plot.saving import checked, style

    formats = saving.formats(target)
    if given and not formats:
        raise UsageError(f"--{given[0]} is of figures, and {target} is none")
    if saving.format is not None and set(saving.format) != set(formats):
        raise UsageError(f"--format {','.join(saving.format)}: the format of {target} is its own")
    if saving.name is not None:
        _check_name(saving.name, target)
    Page(saving.width)
    if panels is not None:
        check_options(**{name: getattr(panels, name) for name in CHECKED})
    with style(saving.mplstyle):
        checked(formats, saving.dpi)


def _check_name(name: str, target: Target) -> None:
    if target.name is not None:
        raise UsageError(f"--name {name}: {target} has a name already")
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise UsageError(f"--name {name}: give the name of a file, without folder and ending")


CHECKED = (
    *("kind", "by", "hue", "roll", "kl_ymax", "color_by_pmass"),
    *("line_alpha", "line_lw", "median_lw"),
)
"""Options of `Panels` that may be impossible, whatever the sweep."""


def draw(stem: str, target: Target, saving: Saving, make: Callable[[], Any]) -> list[Path]:
    """Make a figure in the style asked for, write it, and forget it.

    Parameters
    ----------
    stem : str
        Name of the files without their suffix, where `target` names none.
    target : Target
        Where to; nothing is made where that is a table.
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
    formats = saving.formats(target)
    if not formats:
        return []
    import matplotlib.pyplot as plt

    from isoklx.plot.saving import save, style, write_data

    with style(saving.mplstyle):
        try:
            drawn, name = make(), stem_of(stem, target, saving)
            written = save(drawn, target.folder, name, formats, saving.dpi)
            _say_doses(name, drawn)
            if saving.width is not None:
                _say_if_high(getattr(drawn, "fig", drawn))
            return (
                [*written, write_data(drawn.data, target.folder, name)] if saving.data else written
            )
        finally:
            plt.close("all")


def _say_doses(name: str, drawn: Any) -> None:
    """Say which doses are drawn where there are too many to draw them all."""
    data = getattr(drawn, "data", None)
    if data is not None and data.attrs.get("doses"):
        alphas = ", ".join(f"{alpha:g}" for alpha in data["alpha"].values)
        said = f"{name}: {data.attrs['doses']} drawn (alpha {alphas}); --alphas chooses others"
        print(said, file=sys.stderr)


def _say_if_high(figure: Any) -> None:
    """Say that a figure of a given width is higher than a page, which it goes into."""
    from isoklx.plot.page import PAGE_HEIGHT

    height = figure.get_figheight()
    if height > PAGE_HEIGHT:
        print(
            f"{height:.1f} inches high, where a page has {PAGE_HEIGHT:g}: "
            "a larger --width, or fewer panels, would be lower",
            file=sys.stderr,
        )


def stem_of(stem: str, target: Target, saving: Saving) -> str:
    """Name of a figure's files without their ending."""
    return target.name or saving.name or stem


def files_of(stem: str, endings: Sequence[str] = FIGURES) -> dict[str, Sequence[str]]:
    """What a figure's files are called, and the endings that they may have."""
    return {stem: endings, f"{stem}_data": ("csv",)}


def draw_figure1(
    ds: xr.Dataset, target: Target, scope: Scope, panels: Panels, saving: Saving
) -> list[Path]:
    """Draw Figure 1 of a sweep, by the name of its kind where the target names nothing else."""
    import isoklx.plot

    return draw(
        panels.stem,
        target,
        saving,
        lambda: isoklx.plot.figure1(
            of_model_and_side(ds, scope),
            window=scope.window,
            alphas=scope.alphas,
            **asdict(panels),
            **saving.page,
        ),
    )


def draw_survival(
    ds: xr.Dataset,
    target: Target,
    saving: Saving,
    **options: Any,
) -> list[Path]:
    """Draw the survival of a sweep, as ``survival`` where the target names nothing else."""
    import isoklx.plot

    return draw(
        "survival", target, saving, lambda: isoklx.plot.survival(ds, **options, **saving.page)
    )


def draw_dose_response(
    ds: xr.Dataset, target: Target, saving: Saving, **options: Any
) -> list[Path]:
    """Draw what each dose does, as ``dose_response`` where the target names nothing else."""
    import isoklx.plot

    return draw(
        "dose_response",
        target,
        saving,
        lambda: isoklx.plot.dose_response(ds, **options, **saving.page),
    )


def draw_calibration(ds: xr.Dataset, target: Target, saving: Saving) -> list[Path]:
    """Draw the calibration of a sweep, as ``calibration`` where the target names nothing else."""
    import isoklx.plot

    return draw("calibration", target, saving, lambda: isoklx.plot.calibration(ds, **saving.page))
