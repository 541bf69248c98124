"""What changed from another sweep to that of the page."""

from __future__ import annotations

from typing import Any

import xarray as xr

from isoklx.report.html_tables import html_table
from isoklx.tables.captioned_comparison import comparison

TITLES = {
    "cells": "Cells of both sweeps",
    "settings": "Settings that differ",
    "doses": "Survival and KL of both, dose by dose",
}


def compared(
    ds: xr.Dataset, against: xr.Dataset, name: str, threshold: float | None
) -> dict[str, Any]:
    """What a template needs to say how a sweep differs from an earlier one, or any other.

    Parameters
    ----------
    ds, against : Dataset
        The sweep of the page, which is B of `isoklx.compare`, and the other one, which is A.
    name : str
        What the other one is called.
    threshold : float, optional
        Of ``pmass_eval``, by default 0.75.

    Returns
    -------
    dict
        ``name``, and ``tables`` as of `html_table`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.compare` does.
    """
    thresholds = None if threshold is None else [threshold]
    tables = comparison(against, ds, (name, "the sweep of this page"), threshold=thresholds)
    return {
        "name": name,
        "tables": [
            html_table(f"compare_{key}", TITLES[key], table) for key, table in tables.items()
        ],
    }
