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
from matplotlib.figure import Figure
from xarray.plot import FacetGrid

from isoklx.cells.atomic import replacing
from isoklx.cells.paths import as_path
from isoklx.errors import BuildError, UsageError

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
