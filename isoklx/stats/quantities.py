"""Names of the quantities of the dose figure; a light import for the command line."""

from __future__ import annotations

from typing import Literal

Shown = Literal[
    "survival",
    "restricted_mean",
    "kl_p95",
    "share_above",
    "pmass",
    "pmass_end",
    "acquiescence",
    "correct",
    "repetition",
]
"""Quantities of `isoklx.dose_response` that the dose figure can show."""
