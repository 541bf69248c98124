"""Figures to files, whole or not at all, and the style that they are drawn in."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import matplotlib as mpl
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from xarray.plot import FacetGrid

from isoklx.errors import BuildError, UsageError
from isoklx.system.atomic import replacing
from isoklx.system.paths import as_path

Format = Literal["png", "pdf", "svg"]

DPI = 200
"""Dots per inch, where neither the caller nor the style says."""

LEAST_DPI, MOST_DPI = 20, 2400
"""Below, letters have no pixels left."""

MOST_PIXELS = 2**16 - 1
"""Of a side of an image, for the library that draws it."""


IN_FILES: Any = {
    "pdf.fonttype": 42,  # many publishers refuse matplotlib's own choice, Type 3
    "svg.hashsalt": "isoklx",
}
UNDATED: dict[str, dict[str, Any]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
"""With these the same figure makes the same bytes."""


def save(
    figure: Figure | FacetGrid[Any],
    folder: str | Path,
    stem: str,
    formats: Sequence[Format] = ("png",),
    dpi: float | None = None,
) -> list[Path]:
    """Write a figure in one format or several.

    Each file is replaced as a whole or left as it was. The same figure makes the same bytes.

    Parameters
    ----------
    figure : Figure or FacetGrid
        What a function of `isoklx.plot` returned. It is not closed.
    folder : path
        Where to; it is made if there is none.
    stem : str
        Name of the files without their suffix.
    formats : sequence of {"png", "pdf", "svg"}
        Suffixes. In pdf and svg all is vectors, but for the many thin lines, which are pixels.
    dpi : float, optional
        Dots per inch of what is pixels; by default the style's ``savefig.dpi``, or 200.

    Returns
    -------
    list of Path
        The files, in the order of `formats`.

    Raises
    ------
    UsageError
        For an unknown format, or a resolution that is out of range.
    BuildError
        When the folder cannot be made, or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in save(Figure(), Path(folder), "empty", ["png", "pdf"])]
    ['empty.png', 'empty.pdf']
    """
    folder, dpi = as_path(folder), checked(formats, dpi)
    if isinstance(figure, FacetGrid):
        figure = figure.fig
    longest = max(figure.get_size_inches())
    if longest * dpi > MOST_PIXELS:
        most = int(MOST_PIXELS / longest)
        raise UsageError(f"dpi={dpi:g}: a figure of {longest:g} inches has at most {most}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    written = []
    for each in dict.fromkeys(formats):
        path = folder / f"{stem}.{each}"
        with replacing(path) as partial, mpl.rc_context(IN_FILES):
            try:
                figure.savefig(partial, format=each, dpi=dpi, metadata=UNDATED[each])
            except RuntimeError as error:
                if not mpl.rcParams["text.usetex"]:
                    raise
                reason = str(error).splitlines()[0]
                raise BuildError(
                    f"{path}: the style asks for LaTeX (text.usetex): {reason}"
                ) from error
        written.append(path)
    return written


def checked(formats: Sequence[str], dpi: float | None) -> float:
    """The resolution to save at, once it and the formats are known to be possible.

    Parameters
    ----------
    formats, dpi
        As for `save`.

    Raises
    ------
    UsageError
        For an unknown format, or a resolution that is out of range.
    """
    for each in formats:
        if each not in get_args(Format):
            raise UsageError(f"format {each!r}: give one of {', '.join(get_args(Format))}")
    if dpi is None:
        dpi = DPI if mpl.rcParams["savefig.dpi"] == "figure" else mpl.rcParams["savefig.dpi"]
    if not LEAST_DPI <= dpi <= MOST_DPI:
        raise UsageError(f"dpi={dpi:g}: give dots per inch from {LEAST_DPI} to {MOST_DPI}")
    return float(dpi)


@contextmanager
def style(sheet: str | Path | None) -> Iterator[None]:
    """Draw and save in a style; afterwards all settings are as before.

    Parameters
    ----------
    sheet : str or path, optional
        A matplotlib style sheet, or the name of a style that matplotlib knows, such as ``ggplot``.
        None changes nothing.

    Raises
    ------
    UsageError
        Before anything is drawn, when it is neither, or not a style sheet throughout.

    Examples
    --------
    >>> with style("ggplot"):
    ...     mpl.rcParams["axes.grid"]
    True
    >>> with style("nowhere.mplstyle"):
    ...     pass
    Traceback (most recent call last):
    isoklx.errors.UsageError: nowhere.mplstyle: there is no such style file
    """
    with mpl.rc_context(None if sheet is None else _settings(sheet)):
        yield


class _Complaints(logging.Handler):
    """What matplotlib logs while it reads a style sheet, instead of raising it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = re.search(r"^(?!Duplicate).*line (\d+)", record.getMessage(), re.MULTILINE)
        if said:
            self.lines.append(int(said[1]))


def _settings(sheet: str | Path) -> Any:
    """What a style sets, but for the backend, which is the caller's."""
    named = _named(str(sheet))
    settings = _read(as_path(sheet)) if named is None else named
    return {name: settings[name] for name in settings if name != "backend"}


def _named(name: str) -> Any:
    """The settings of a style by its name; None where this is the name of a file."""
    from matplotlib import style as styles

    if name == "default":
        return mpl.rcParamsDefault
    if name in styles.library:
        return styles.library[name]
    file = as_path(name)
    if file.exists() or file.suffix or len(file.parts) > 1:
        return None
    close = difflib.get_close_matches(name, styles.available, n=1)
    hint = f"; did you mean {close[0]}?" if close else f": {', '.join(styles.available)}"
    raise UsageError(f"{name}: neither a style sheet nor a style that matplotlib has{hint}")


def _read(file: Path) -> Any:
    if not file.is_file():
        raise UsageError(f"{file}: there is no such style file")
    complaints = _Complaints()
    log = logging.getLogger("matplotlib")
    log.addHandler(complaints)
    try:
        settings = mpl.rc_params_from_file(str(file), use_default_template=False)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not a matplotlib style sheet: not text") from None
    finally:
        log.removeHandler(complaints)
    if complaints.lines:
        line = min(complaints.lines)
        raise UsageError(
            f"{file}: not a matplotlib style sheet: line {line} sets nothing that matplotlib has"
        )
    if not settings:
        raise UsageError(f"{file}: not a matplotlib style sheet: it sets nothing")
    return settings


PANEL = "panel"
COUNTS = ("n", "n_distinct")
OF_ANSWERS = ("n_answers", "n_answers_distinct")
"""The same of the answers of Figure 1, which are another number where they are of questions."""
TOTALS = ("total_n", "total_n_distinct")
"""Of all panels together, as in the title."""

POSITIONS = {"fork": "token", "time": "token"}
"""Where something is along a rollout is one thing, whatever it is called."""

LINES = ("answer_line", "line")
"""Dimensions of what is drawn line by line, and beginnings of what its lines are called."""

NAN = "nan"
"""As pgfplots reads it; it stumbles over an empty cell."""


def tidy(data: xr.Dataset) -> pd.DataFrame:
    """Put all numbers of a figure into one table.

    Parameters
    ----------
    data : Dataset
        The ``data`` of what a function of `isoklx.plot` returned.

    Returns
    -------
    DataFrame
        The column ``panel`` says which quantity a row is of, further ones where it lies (``alpha``,
        ``token``, ``run_id``, ``prompt``, labels that groups differ in), with NaN where that says
        nothing. Its numbers are in ``value``, with ``lower`` and ``upper`` of its interval; of
        quantiles in ``p10``, ``p50``, ``p90``. ``n`` and ``n_distinct`` are those of the panel.

    Examples
    --------
    >>> import isoklx
    >>> grid = isoklx.plot.figure1(isoklx.open_sweep("data/sample"), alphas=[1], kl_only=True)
    >>> tidy(grid.data).columns.tolist()
    ['panel', 'alpha', 'token', 'p10', 'p50', 'p90', 'value', 'n', 'n_distinct']
    """
    table = pd.concat(list(_blocks(data)), ignore_index=True)
    numbers = [name for name in table if str(name) in ("value", "lower", "upper")]
    numbers += [name for name in table if str(name)[:1] == "p" and str(name)[1:].isdigit()]
    counts = [name for name in COUNTS if name in table]
    where = [name for name in table if name not in (PANEL, *numbers, *counts)]
    table = table.astype(dict.fromkeys(counts, "Int64"))
    shown = ["p10", "p25", "p50", "p75", "p90", "value", "lower", "upper"]
    return table[[PANEL, *where, *(name for name in shown if name in numbers), *counts]]


def write_data(data: xr.Dataset, folder: str | Path, stem: str) -> Path:
    """Write the numbers of a figure as ``STEM_data.csv``, whole or not at all.

    Parameters
    ----------
    data : Dataset
        As for `tidy`.
    folder : path
        Where to; there is one.
    stem : str
        Name of the figure's files without their suffix.

    Returns
    -------
    Path

    Raises
    ------
    BuildError
        When it cannot be written.
    """
    path = as_path(folder) / f"{stem}_data.csv"
    table = tidy(data)
    with replacing(path) as partial:
        table.to_csv(partial, index=False, na_rep=NAN)
    return path


def _blocks(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    """The rows of each quantity."""
    for name, da in data.data_vars.items():
        said = str(name)
        counted = (*COUNTS, *OF_ANSWERS, *TOTALS)
        if da.dtype.kind not in "fiub" or said.endswith("_ci") or said in counted:
            continue
        columns = _columns(da, data.get(f"{said}_ci"))
        dims = list(next(iter(columns.values())).dims)
        counts = {
            name: data[each]
            for name, each in zip(COUNTS, _counts_of(said, data), strict=True)
            if each in data and set(data[each].dims) <= set(dims)
        }
        if not dims:
            rows = pd.DataFrame({each: [column.item()] for each, column in columns.items()})
        else:
            whole = xr.Dataset({**columns, **counts})
            rows = whole.to_dataframe(dim_order=dims).reset_index()
        rows = rows.dropna(subset=list(columns), how="all")
        rows.insert(0, PANEL, said)
        yield rows.rename(columns=_plainly).drop(columns=[*LINES, "target"], errors="ignore")


def _counts_of(name: str, data: xr.Dataset) -> tuple[str, str]:
    """What counts the trajectories of a quantity."""
    answers = data.attrs.get("answers")
    return OF_ANSWERS if answers and name in (answers, f"{answers}_median") else COUNTS


def _columns(da: xr.DataArray, bounds: xr.DataArray | None) -> dict[str, xr.DataArray]:
    """The numbers of a quantity, each under the name of its column."""
    if "quantile" in da.dims:
        return {
            f"p{100 * q:g}": da.sel(quantile=q, drop=True) for q in da["quantile"].values.tolist()
        }
    found: dict[str, xr.DataArray] = {"value": da}
    if bounds is not None:
        for bound in ("lower", "upper"):
            found[bound] = bounds.sel(ci_bound=bound, drop=True)
    return found


def _plainly(name: Any) -> Any:
    for dim in LINES:
        if str(name).startswith(f"{dim}_"):
            return str(name).removeprefix(f"{dim}_")
    return POSITIONS.get(name, name)
