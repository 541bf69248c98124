"""Figure options of the command line, and the functions that draw and write figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoklx.cli.help import explained_by
from isoklx.cli.options import Scope, select_model_and_side
from isoklx.cli.outputs import FIGURES, Target
from isoklx.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Saving:
    """Layout and file options of a figure.

    Parameters
    ----------
    format : tuple of str, optional
        png, pdf or svg, or several of them; by default png, or the format of the file named by
        --out. In pdf and svg, dense lines are rasterised and the rest is vector graphics.
    dpi : float, optional
        Resolution of raster output and rasterised lines, in dots per inch; by default that of the
        style, or 200.
    mplstyle : str, optional
        Matplotlib style: a style sheet file, or a style name such as ggplot.
    width : float or {"column", "page"}, optional
        Width in inches; column is 3.3 and page is 7. Panels that do not fit continue in further
        rows. By default that of the style, or the width that the panels need.
    title : bool
        Omit the title, for a paper that has it in the caption.
    name : str, optional
        File name without its ending, instead of the name of the figure.
    data : bool
        Also write the plotted numbers, as NAME_data.csv.
    """

    format: tuple[Literal["png", "pdf", "svg"], ...] | None = None
    dpi: float | None = None
    mplstyle: str | None = None
    width: float | Literal["column", "page"] | None = None
    title: bool = True
    name: str | None = None
    data: bool = False

    def formats(self, target: Target) -> Sequence[Literal["png", "pdf", "svg"]]:
        """Return the formats of a figure written to `target`; none where that is a table."""
        if target.name is not None:
            return target.among(FIGURES)  # type: ignore[return-value]
        return self.format or ("png",)

    @property
    def given(self) -> list[str]:
        """Names of the options that were given."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    @property
    def page(self) -> dict[str, Any]:
        """Options to pass on to the drawing functions."""
        return {"width": self.width, "title": self.title}


@explained_by("isoklx.plot.figure1.figure1")
@dataclass(frozen=True)
class Panels:
    """Options of `isoklx.plot.figure1`, with its defaults.

    Parameters
    ----------
    distinct : bool
        Draw every cell, including duplicates (cells that repeat another to the byte).
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
        """Name of the files without their ending, different for each kind."""
        return f"figure1_{self.kind}{'_by_pmass' if self.color_by_pmass else ''}"


def check(saving: Saving, target: Target | None, panels: Panels | None = None) -> None:
    """Raise UsageError for invalid or conflicting figure options, before any work."""
    given = ["notitle" if name == "title" else name for name in saving.given]
    if given and target is None:
        raise UsageError(f"--{given[0]} needs a figure; write one with --out")
    if target is None:
        return
    # Imported only for figures, because matplotlib is slow to import.
    from isoklx.plot.figure1 import check_options
    from isoklx.plot.page import Page
    from isoklx.plot.saving import checked, style

    formats = saving.formats(target)
    if given and not formats:
        raise UsageError(f"--{given[0]} needs a figure, but {target} is a table")
    if saving.format is not None and set(saving.format) != set(formats):
        raise UsageError(f"--format {','.join(saving.format)}: must be the format of {target}")
    if saving.name is not None:
        _check_name(saving.name, target)
    Page(saving.width)
    if panels is not None:
        check_options(**{name: getattr(panels, name) for name in CHECKED})
    with style(saving.mplstyle):
        checked(formats, saving.dpi)


def _check_name(name: str, target: Target) -> None:
    if target.name is not None:
        raise UsageError(f"--name {name}: --out {target} already names the file; give one of them")
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise UsageError(f"--name {name}: must be a file name without folder and ending")


CHECKED = (
    *("kind", "by", "hue", "roll", "kl_ymax", "color_by_pmass"),
    *("line_alpha", "line_lw", "median_lw"),
)
"""Options of `Panels` that are checked before a sweep is opened."""


def draw(stem: str, target: Target, saving: Saving, make: Callable[[], Any]) -> list[Path]:
    """Draw a figure in its style, write it unless the target is a table, and close it."""
    formats = saving.formats(target)
    if not formats:
        return []
    import matplotlib.pyplot as plt

    from isoklx.plot.saving import save, style, write_data

    with style(saving.mplstyle):
        try:
            drawn, name = make(), figure_stem(stem, target, saving)
            written = save(drawn, target.folder, name, formats, saving.dpi)
            _report_doses(name, drawn)
            if saving.width is not None:
                _report_height(getattr(drawn, "fig", drawn))
            return (
                [*written, write_data(drawn.data, target.folder, name)] if saving.data else written
            )
        finally:
            plt.close("all")


def _report_doses(name: str, drawn: Any) -> None:
    """Report the drawn doses where only a part of them fits into the figure."""
    data = getattr(drawn, "data", None)
    if data is not None and data.attrs.get("doses"):
        alphas = ", ".join(f"{alpha:g}" for alpha in data["alpha"].values)
        message = f"{name}: {data.attrs['doses']} drawn (alpha {alphas}); --alphas selects others"
        print(message, file=sys.stderr)


def _report_height(figure: Any) -> None:
    """Report a figure of a given width that is higher than a page."""
    from isoklx.plot.page import PAGE_HEIGHT

    height = figure.get_figheight()
    if height > PAGE_HEIGHT:
        print(
            f"the figure is {height:.1f} inches high, a page {PAGE_HEIGHT:g}: "
            "a larger --width or fewer panels make it lower",
            file=sys.stderr,
        )


def figure_stem(stem: str, target: Target, saving: Saving) -> str:
    """Return the name of a figure's files without their ending."""
    return target.name or saving.name or stem


def figure_files(stem: str, endings: Sequence[str] = FIGURES) -> dict[str, Sequence[str]]:
    """Return the names of a figure's files, with their possible endings."""
    return {stem: endings, f"{stem}_data": ("csv",)}


def draw_figure1(
    ds: xr.Dataset, target: Target, scope: Scope, panels: Panels, saving: Saving
) -> list[Path]:
    """Draw Figure 1 of a sweep, named after its kind by default."""
    import isoklx.plot

    return draw(
        panels.stem,
        target,
        saving,
        lambda: isoklx.plot.figure1(
            select_model_and_side(ds, scope),
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
    """Draw the survival of a sweep, named ``survival`` by default."""
    import isoklx.plot

    return draw(
        "survival", target, saving, lambda: isoklx.plot.survival(ds, **options, **saving.page)
    )


def draw_dose_response(
    ds: xr.Dataset, target: Target, saving: Saving, **options: Any
) -> list[Path]:
    """Draw the dose response of a sweep, named ``dose_response`` by default."""
    import isoklx.plot

    return draw(
        "dose_response",
        target,
        saving,
        lambda: isoklx.plot.dose_response(ds, **options, **saving.page),
    )


def draw_calibration(ds: xr.Dataset, target: Target, saving: Saving) -> list[Path]:
    """Draw the calibration of a sweep, named ``calibration`` by default."""
    import isoklx.plot

    return draw("calibration", target, saving, lambda: isoklx.plot.calibration(ds, **saving.page))
