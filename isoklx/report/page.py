"""The page of a sweep: one self-contained HTML file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoklx._version import __version__
from isoklx.errors import BuildError, DatasetError
from isoklx.plot.scope import doses_drawn, few_doses
from isoklx.report import figures
from isoklx.report.parts import compared, html_table, safe_dose_sentences
from isoklx.report.rollouts import Rollouts, pack_rollouts
from isoklx.stats.deduplication import count_cells
from isoklx.stats.dose_response import dose_response
from isoklx.stats.groups import split_by
from isoklx.stats.safety import safe_dose
from isoklx.stats.selection import restore_dims
from isoklx.stats.survival import survival
from isoklx.store.provenance import SKIPPED
from isoklx.system.atomic import replacing
from isoklx.system.extras import require_extra
from isoklx.system.paths import as_path
from isoklx.system.terminal import printable
from isoklx.tables import captioned

LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
"""Plotting library; a quarter of the size of plotly.js, and ready in a fifth of the time."""


MAX_LISTED = 24
"""Maximum number of labels that are listed."""


def write_report(
    ds: xr.Dataset,
    out: str | Path,
    *,
    threshold: float | None = None,
    survive: float = 0.9,
    confidence: float = 0.95,
    against: xr.Dataset | None = None,
    against_name: str = "the other sweep",
) -> Path:
    """Write the page of a sweep: a self-contained HTML file that opens without a network.

    Parameters
    ----------
    ds : Dataset
        A sweep or a selection of one. Rollouts can be read if it was opened with texts.
    out : path
        File to write; its folder is created if necessary.
    threshold : float, optional
        Threshold of ``pmass_eval``, in (0, 1], by default 0.75: a trajectory below it at a fork is
        dead.
    survive : float
        Share of trajectories that must stay alive at a safe dose; above 0 and below 1.
    confidence : float
        Confidence of the safe dose; at least 0.5 and below 1.
    against : Dataset, optional
        Another sweep; a section of the page compares `ds` with it, as `isoklx.compare` does.
    against_name : str
        Name of the other sweep on the page.

    Returns
    -------
    Path
        The written file. Sections without data are left out, and listed on the page.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep.
    UsageError
        If an option is out of range, the sweeps have no common cell, or the extra ``report`` is not
        installed.
    BuildError
        If the file cannot be written; an existing file is left as it was.

    Examples
    --------
    >>> import tempfile
    >>> import isoklx
    >>> folder = tempfile.TemporaryDirectory()
    >>> page = write_report(isoklx.open_sweep("data/sample"), f"{folder.name}/page.html")
    >>> page.name, page.read_text()[:15]
    ('page.html', '<!doctype html>')
    >>> folder.cleanup()
    """
    require_report_extra()
    out = as_path(out)
    # First, since it may raise UsageError.
    other = None if against is None else compared(ds, against, against_name, threshold)
    content = _content(restore_dims(ds), threshold, survive, confidence)
    text = _render(content | {"compared": other})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{out.parent}: cannot create the folder: {error.strerror}") from error
    with replacing(out) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    return out


def require_report_extra() -> None:
    """Raise UsageError unless the extra ``report`` is installed."""
    for package in ("jinja2", "bokeh"):
        require_extra(package, "the page of a report", "report")


def _content(
    ds: xr.Dataset, threshold: float | None, survive: float, confidence: float
) -> dict[str, Any]:
    """Return the context of the template."""
    by = _group_labels(ds)
    window, windows = _main_window(ds)
    absent: list[str] = []

    def attempt(what: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except DatasetError as error:
            absent.append(f"{what}: {error}")
            return None

    sentences = attempt(
        "safe doses",
        lambda: safe_dose_sentences(
            safe_dose(ds, by, survive, confidence, threshold=threshold), by, survive, confidence
        ),
    )
    # The lower end of a two-sided interval at this level is the one-sided bound of the safe dose.
    level = 2 * confidence - 1
    doses = attempt(
        "doses", lambda: dose_response(ds, by, threshold=threshold, level=level).compute()
    )
    few = few_doses(ds)
    curves = attempt("survival", lambda: survival(few, threshold=threshold, by=by).compute())
    groups = [] if doses is None else figures.groups_of(doses, by)
    rollouts = attempt("rollouts", lambda: pack_rollouts(ds, threshold))
    tables, calibrations = _tables(ds, by, threshold, survive, confidence, attempt)
    targets = np.unique(ds["target_kl"].values[np.isfinite(ds["target_kl"].values)]).tolist()
    looks = figures.method_looks(set(map(str, ds["method"].values.tolist())))
    drawn = {
        "dose": []
        if doses is None
        else [[each] for each in figures.responses(doses, groups, by, targets)],
        "figure1": attempt("Figure 1", lambda: figures.figure1(ds, window)) or [],
        "survival": []
        if curves is None
        else [[each] for each in figures.survival(curves, groups, by)],
        "calibration": _calibration_figures(ds, calibrations, looks),
    }
    return {
        "title": ds.attrs.get("title", "iso-KL steering sweep"),
        "facts": _facts(ds),
        "skipped": str(ds.attrs.get(SKIPPED, "")).splitlines(),
        "absent": absent,
        "sentences": sentences or [],
        "survive": survive,
        "confidence": confidence,
        "threshold": 0.75 if threshold is None else threshold,
        "figures": drawn,
        "groups": groups,
        "few": len(groups) <= figures.FEW,
        "looks": looks,
        "doses_drawn": doses_drawn(few),
        "window": window,
        "windows": windows,
        "tables": tables,
        "rollouts": rollouts,
        "version": __version__,
        "date": str(ds.attrs.get("date_created", "")),
    }


def _tables(
    ds: xr.Dataset,
    by: Sequence[str],
    threshold: float | None,
    survive: float,
    confidence: float,
    attempt: Callable[[str, Callable[[], Any]], Any],
) -> tuple[list[dict[str, Any]], pd.DataFrame | None]:
    """Return the tables for the template, and the calibration table as a DataFrame."""
    at: dict[str, Any] = {"threshold": None if threshold is None else [threshold]}
    wanted: dict[str, tuple[str, Callable[[], Any]]] = {
        "headline": ("Calibrated coefficients", lambda: captioned.headline(ds)),
        "safe_dose": ("Safe doses", lambda: captioned.dose(ds, by, survive, confidence, **at)),
        "dose_response": (
            "Dose response",
            lambda: captioned.response(ds, by, level=2 * confidence - 1, **at),
        ),
        "survival": ("Survival", lambda: captioned.survival(ds, by=by, **at)),
        "contrast": ("Differences between methods", lambda: captioned.contrast(ds, **at)),
        "calibration": ("Calibration of each cell", lambda: captioned.calibration(ds)),
    }
    if len(set(ds["method"].values.tolist())) < 2:
        del wanted["contrast"]
    found, calibrations = [], None
    for name, (title, make) in wanted.items():
        table = attempt(f"table of {title.lower()}", make)
        if table is not None:
            found.append(html_table(name, title, table))
            if name == "calibration":
                calibrations = table.frame
    return found, calibrations


def _calibration_figures(
    ds: xr.Dataset, table: pd.DataFrame | None, looks: dict[str, figures.Series]
) -> list[list[figures.Figure]]:
    tried = figures.calibration_steps(ds, looks) if "calib_coeff" in ds else None
    carried = None if table is None else figures.held_out(table, looks)
    return [[each] for each in (tried, carried) if each is not None]


def _group_labels(ds: xr.Dataset) -> tuple[str, ...]:
    """Return the labels of groups: methods, models if several, and labels never pooled."""
    models, short = (set(ds[name].values.tolist()) for name in ("model", "model_short"))
    name = "model_short" if len(short) == len(models) else "model"
    first = (name,) if len(models) > 1 else ()
    return (*split_by(ds, (*first, "method"))[len(first) + 1 :], *first, "method")


def _main_window(ds: xr.Dataset) -> tuple[int | None, list[int]]:
    """Return the most frequent window among cells with KL, and all windows."""
    has = ds["has_kl"].values == 1 if "has_kl" in ds else np.ones(ds.sizes["cell"], dtype=bool)
    windows, counts = np.unique(ds["window"].values[has], return_counts=True)
    chosen = int(windows[np.argmax(counts)]) if windows.size else None
    return chosen, np.unique(ds["window"].values).astype(int).tolist()


def _facts(ds: xr.Dataset) -> list[tuple[str, str]]:
    """Describe the sweep as pairs of heading and text."""
    n, n_distinct = count_cells(ds)

    def listed(name: str) -> str:
        values = pd.unique(ds[name].values)
        values = np.sort(values) if values.dtype.kind in "iuf" else values
        texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values.tolist()]
        more = [f"and {len(texts) - MAX_LISTED} more"] if len(texts) > MAX_LISTED else []
        return ", ".join([*texts[:MAX_LISTED], *more])

    repeats = f"; {n - n_distinct} duplicate another to the byte" if n > n_distinct else ""
    facts = [
        ("Cells", f"{n}, {n_distinct} distinct{repeats}"),
        ("Models", listed("model")),
        ("Methods", listed("method")),
        *((name.capitalize(), listed(name)) for name in split_by(ds)),
        ("Seeds", listed("seed")),
        ("Layers", listed("layer")),
        ("Windows", f"{listed('window')} tokens"),
        ("Doses", f"alpha {listed('alpha')}" if ds.sizes.get("alpha") else "none"),
        ("Prompts", f"{ds.sizes.get('prompt', 0)} held out"),
        ("Questions", f"{ds.sizes.get('question', 0)} with the answer true or false"),
    ]
    if ds.sizes.get("fork"):
        facts.append(("Forks", f"{listed('fork')} tokens"))
    facts += _measured_with(ds)
    if "source" in ds.attrs:
        facts.append(("Source", str(ds.attrs["source"])))
    return facts


def _measured_with(ds: xr.Dataset) -> list[tuple[str, str]]:
    """Return the software versions and precision that the cells recorded."""
    found: dict[str, list[str]] = {}
    texts = ds["measured_with"].values.tolist() if "measured_with" in ds else []
    for text in dict.fromkeys(texts):
        recorded = json.loads(text) if text else {}
        for name in ("isoklx", "torch", "transformers", "dtype", "device", "attention"):
            value = recorded.get(name)
            if value is not None and str(value) not in found.setdefault(name, []):
                found[name].append(str(value))
    setup = ", ".join(f"{name} {' / '.join(values)}" for name, values in found.items())
    return [("Measured with", setup)] if setup else []


def _render(content: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("isoklx.report", "assets")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    rollouts: Rollouts | None = content["rollouts"]
    other = content["compared"]
    tables = [*content["tables"], *(other["tables"] if other else ())]
    data = {
        "figures": content["figures"],
        "rollouts": None if rollouts is None else rollouts.index,
        "csv": {table["name"]: table.pop("csv") for table in tables},
    }
    assets = resources.files("isoklx.report") / "assets"
    return environment.get_template("report.html").render(
        **content,
        data=data,
        css=(assets / "report.css").read_text(encoding="utf-8"),
        js=(assets / "report.js").read_text(encoding="utf-8"),
        library=_library(),
    )


def _library() -> str:
    """Return the plotting library, compressed, in base64."""
    # Not imported: bokeh reads settings from the home directory, which some users lack.
    found = find_spec("bokeh")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "server" / "static" / "js"
    text = "\n;\n".join((folder / name).read_text(encoding="utf-8") for name in LIBRARY)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
