"""Labelled arrays, tables and figures from a folder of iso-KL steering calibration runs.

Examples
--------
$ isoklx aggregate outputs --out figs
$ isoklx build runs_a runs_b --out both.nc --window 512 --strict
$ isoklx figure both.nc --kind spaghetti --color_by_pmass
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from importlib import import_module
from typing import Any


class Commands(UserDict[str, Any]):
    """Commands by name; the module of a command is imported on first access."""

    def __getitem__(self, name: str) -> Callable[..., None]:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = getattr(import_module(f"isoklx.cli.{found}"), name)
        command: Callable[..., None] = found
        return command


COMMANDS = Commands(
    run="measuring",
    build="files",
    info="files",
    table="tables",
    figure="figures",
    alive="figures",
    survival="tables",
    contrast="tables",
    dose="tables",
    calibration="tables",
    compare="pages",
    report="pages",
    watch="pages",
    aggregate="aggregate",
    verify="files",
    convert="files",
    recheck="measuring",
    simulate="files",
    completion="completion",
)
"""Module of each command in isoklx.cli, in the order of the help."""
