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


TOPICS: dict[str, dict[str, str]] = {
    "make": {
        "run": "measuring",
        "simulate": "files",
        "watch": "pages",
        "build": "files",
        "verify": "files",
        "recheck": "measuring",
    },
    "look": {
        "info": "files",
        "table": "tables",
        "figure": "figures",
        "alive": "figures",
        "survival": "tables",
        "dose": "tables",
        "calibration": "tables",
        "report": "pages",
        "aggregate": "aggregate",
    },
    "compare": {"contrast": "tables", "compare": "pages"},
    "hand over": {"convert": "files", "completion": "completion"},
}
"""Commands by topic, in the order of the help, each with its module in isoklx.cli."""

COMMANDS = Commands(
    {name: module for commands in TOPICS.values() for name, module in commands.items()}
)
"""Commands by name."""
