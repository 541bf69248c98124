"""Figures and their numbers as files, written atomically, and the style they are drawn in."""

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
"""Default resolution, used if neither the caller nor the style sets one."""

LEAST_DPI, MOST_DPI = 20, 2400
"""Dots per inch; below 20, letters are illegible."""

MOST_PIXELS = 2**16 - 1
"""Maximum width or height of an image in Agg."""


IN_FILES: Any = {
    "pdf.fonttype": 42,  # many publishers refuse matplotlib's own choice, Type 3
    "svg.hashsalt": "isoklx",
}
UNDATED: dict[str, dict[str, Any]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
"""Metadata without dates, so that the same figure makes the same bytes."""


def save(
    figure: Figure | FacetGrid[Any],
    folder: str | Path,
    stem: str,
    formats: Sequence[Format] = ("png",),
    dpi: float | None = None,
) -> list[Path]:
    """Write a figure to ``folder/stem.FORMAT`` in each format, atomically, and return the paths.

    The same figure makes the same bytes. pdf and svg are vectors, except for thousands of thin
    lines, which are pixels. The figure is not closed.
    """
    folder, dpi = as_path(folder), checked(formats, dpi)
    if isinstance(figure, FacetGrid):
        figure = figure.fig
    longest = max(figure.get_size_inches())
    if longest * dpi > MOST_PIXELS:
        most = int(MOST_PIXELS / longest)
        raise UsageError(
            f"dpi must be at most {most} for a figure of {longest:g} inches, got {dpi:g}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{folder}: cannot create the folder: {error.strerror}") from error
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
                    f"{path}: LaTeX, which the style requires (text.usetex), failed: {reason}"
                ) from error
        written.append(path)
    return written


def checked(formats: Sequence[str], dpi: float | None) -> float:
    """Validate formats and resolution, and return the resolution to save at."""
    for each in formats:
        if each not in get_args(Format):
            raise UsageError(f"format must be one of {', '.join(get_args(Format))}, got {each!r}")
    if dpi is None:
        dpi = DPI if mpl.rcParams["savefig.dpi"] == "figure" else mpl.rcParams["savefig.dpi"]
    if not LEAST_DPI <= dpi <= MOST_DPI:
        raise UsageError(f"dpi must be between {LEAST_DPI} and {MOST_DPI}, got {dpi:g}")
    return float(dpi)


@contextmanager
def style(sheet: str | Path | None) -> Iterator[None]:
    """Draw and save in a style; restore all settings afterwards.

    `sheet` is a matplotlib style sheet or the name of a matplotlib style; None changes nothing. An
    invalid one raises UsageError before anything is drawn.
    """
    with mpl.rc_context(None if sheet is None else _settings(sheet)):
        yield


class _WarningLines(logging.Handler):
    """Collect the line numbers of warnings that matplotlib logs while it reads a style sheet."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = re.search(r"^(?!Duplicate).*line (\d+)", record.getMessage(), re.MULTILINE)
        if line:
            self.lines.append(int(line[1]))


def _settings(sheet: str | Path) -> Any:
    """Return the settings of a style, except for the backend, which the caller chooses."""
    named = _library_style(str(sheet))
    settings = _read_sheet(as_path(sheet)) if named is None else named
    return {name: settings[name] for name in settings if name != "backend"}


def _library_style(name: str) -> Any:
    """Return the settings of a named style; None if the name is that of a file."""
    from matplotlib import style as styles

    if name == "default":
        return mpl.rcParamsDefault
    if name in styles.library:
        return styles.library[name]
    file = as_path(name)
    if file.exists() or file.suffix or len(file.parts) > 1:
        return None
    close = difflib.get_close_matches(name, styles.available, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; available: {', '.join(styles.available)}"
    raise UsageError(f"{name}: not a style sheet, and not a style of matplotlib{hint}")


def _read_sheet(file: Path) -> Any:
    if not file.is_file():
        raise UsageError(f"{file}: style file not found")
    warnings = _WarningLines()
    log = logging.getLogger("matplotlib")
    log.addHandler(warnings)
    try:
        settings = mpl.rc_params_from_file(str(file), use_default_template=False)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not a matplotlib style sheet: not text") from None
    finally:
        log.removeHandler(warnings)
    if warnings.lines:
        line = min(warnings.lines)
        raise UsageError(
            f"{file}: not a matplotlib style sheet: line {line} is not a valid setting"
        )
    if not settings:
        raise UsageError(f"{file}: not a matplotlib style sheet: it sets no parameters")
    return settings


PANEL = "panel"
COUNTS = ("n", "n_distinct")
OF_ANSWERS = ("n_answers", "n_answers_distinct")
"""Counts of the answers in Figure 1, which differ from COUNTS if they are of questions."""
TOTALS = ("total_n", "total_n_distinct")
"""Counts over all panels together, as in the title."""

POSITIONS = {"fork": "token", "time": "token"}
"""Name of every position along a rollout in the tables."""

LINES = ("answer_line", "line")
"""Dimensions of quantities drawn line by line, and prefixes of the names of their labels."""

NAN = "nan"
"""Missing values as pgfplots reads them; it fails on an empty cell."""


def tidy(data: xr.Dataset) -> pd.DataFrame:
    """Collect all numbers of a figure in one table.

    Each row names its quantity in ``panel`` and its place in further columns (``alpha``, ``token``,
    ``run_id``, ``prompt``, labels of groups), NaN if that does not apply. The number is in
    ``value``, with ``lower`` and ``upper`` of its interval; quantiles are in ``p10``, ``p50``,
    ``p90``. ``n`` and ``n_distinct`` count the trajectories of the panel.
    """
    table = pd.concat(list(_quantity_rows(data)), ignore_index=True)
    numbers = [name for name in table if str(name) in ("value", "lower", "upper")]
    numbers += [name for name in table if str(name)[:1] == "p" and str(name)[1:].isdigit()]
    counts = [name for name in COUNTS if name in table]
    where = [name for name in table if name not in (PANEL, *numbers, *counts)]
    table = table.astype(dict.fromkeys(counts, "Int64"))
    shown = ["p10", "p25", "p50", "p75", "p90", "value", "lower", "upper"]
    return table[[PANEL, *where, *(name for name in shown if name in numbers), *counts]]


def write_data(data: xr.Dataset, folder: str | Path, stem: str) -> Path:
    """Write the numbers of a figure to ``STEM_data.csv`` in an existing folder, atomically."""
    path = as_path(folder) / f"{stem}_data.csv"
    table = tidy(data)
    with replacing(path) as partial:
        table.to_csv(partial, index=False, na_rep=NAN)
    return path


def _quantity_rows(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    """Yield the rows of each quantity."""
    for name, da in data.data_vars.items():
        quantity = str(name)
        counted = (*COUNTS, *OF_ANSWERS, *TOTALS)
        if da.dtype.kind not in "fiub" or quantity.endswith("_ci") or quantity in counted:
            continue
        columns = _columns(da, data.get(f"{quantity}_ci"))
        dims = list(next(iter(columns.values())).dims)
        counts = {
            name: data[each]
            for name, each in zip(COUNTS, _count_names(quantity, data), strict=True)
            if each in data and set(data[each].dims) <= set(dims)
        }
        if not dims:
            rows = pd.DataFrame({each: [column.item()] for each, column in columns.items()})
        else:
            whole = xr.Dataset({**columns, **counts})
            rows = whole.to_dataframe(dim_order=dims).reset_index()
        rows = rows.dropna(subset=list(columns), how="all")
        rows.insert(0, PANEL, quantity)
        yield rows.rename(columns=_plain_name).drop(columns=[*LINES, "target"], errors="ignore")


def _count_names(name: str, data: xr.Dataset) -> tuple[str, str]:
    """Return the names of the variables that count the trajectories of a quantity."""
    answers = data.attrs.get("answers")
    return OF_ANSWERS if answers and name in (answers, f"{answers}_median") else COUNTS


def _columns(da: xr.DataArray, bounds: xr.DataArray | None) -> dict[str, xr.DataArray]:
    """Return the numbers of a quantity by the name of their column."""
    if "quantile" in da.dims:
        return {
            f"p{100 * q:g}": da.sel(quantile=q, drop=True) for q in da["quantile"].values.tolist()
        }
    found: dict[str, xr.DataArray] = {"value": da}
    if bounds is not None:
        for bound in ("lower", "upper"):
            found[bound] = bounds.sel(ci_bound=bound, drop=True)
    return found


def _plain_name(name: Any) -> Any:
    for dim in LINES:
        if str(name).startswith(f"{dim}_"):
            return str(name).removeprefix(f"{dim}_")
    return POSITIONS.get(name, name)
