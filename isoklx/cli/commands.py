"""Labelled arrays, tables and figures from a folder of iso-KL steering calibration runs.

Examples
--------
$ isoklx aggregate outputs --out figs
$ isoklx build runs_a runs_b --out both.nc --window 512 --strict
$ isoklx figure both.nc --kind spaghetti --color_by_pmass
"""

from __future__ import annotations

from collections.abc import Callable

from isoklx.cli.aggregate import aggregate
from isoklx.cli.figures import alive, figure
from isoklx.cli.files import build, convert, info, verify
from isoklx.cli.measuring import recheck, run
from isoklx.cli.reporting import report
from isoklx.cli.tables import calibration, contrast, dose, survival, table

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "build": build,
    "info": info,
    "table": table,
    "figure": figure,
    "alive": alive,
    "survival": survival,
    "contrast": contrast,
    "dose": dose,
    "calibration": calibration,
    "report": report,
    "aggregate": aggregate,
    "verify": verify,
    "convert": convert,
    "recheck": recheck,
}
"""The commands by name, in the order of the help."""
