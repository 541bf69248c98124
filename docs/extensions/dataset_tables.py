"""The Dataset's tables, from `isoklx.schema`: the page says what the file is made by."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import xarray as xr

import isoklx
from extensions.markdown import code, plain, table
from isoklx import schema
from isoklx.schema import Variable
from isoklx.store.provenance import DATED

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


def coordinates() -> str:
    """Describe the labels: an index along each dimension, and the labels of a cell."""
    return _variables(schema.COORDINATES)


def data_variables() -> str:
    """Describe the variables of every sweep."""
    return _variables(schema.DATA)


def texts() -> str:
    """Describe the variables that ``--texts`` adds."""
    return _variables(schema.TEXTS)


def flags() -> str:
    """Describe the values of flags."""
    rows = [
        (code(name), code(value), word)
        for name, var in schema.ANY.items()
        if "flag_meanings" in var.attrs
        for value, word in zip(
            var.attrs["flag_values"],  # type: ignore[call-overload]
            str(var.attrs["flag_meanings"]).split(),
            strict=True,
        )
    ]
    return table(("flag", "value", "meaning"), rows)


def attributes_of_a_file() -> str:
    """Build the sample and describe the file's global attributes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sample.nc")
        isoklx.build(SAMPLE, file)
        with xr.open_dataset(file) as ds:
            attrs = dict(ds.attrs)
    rows = [
        (
            code(name),
            f"{plain(str(value))} *(when the page was made)*"
            if name in DATED
            else plain(str(value)),
        )
        for name, value in attrs.items()
    ]
    return table(("attribute", "in a file of `data/sample`"), rows)


def _meaning(var: Variable) -> str:
    # The page says once why nats have no unit.
    comment = str(var.attrs.get("comment", "")).replace(schema.NATS, "In nats.")
    return plain(f"{var.long_name}{'. ' if comment else ''}{comment}")


COLUMNS: Mapping[str, Callable[[Variable], str]] = {
    "dimensions": lambda var: ", ".join(var.dims),
    "type": lambda var: var.dtype,
    "units": lambda var: "" if var.units is None else code(var.units),
    "missing": lambda var: "" if var.fill is None else code(str(var.fill).replace("nan", "NaN")),
    "meaning": _meaning,
}


def _variables(variables: Mapping[str, Variable]) -> str:
    """Return a row for each variable, without empty columns."""
    columns = {
        head: cells
        for head, cell in COLUMNS.items()
        if any(cells := [cell(var) for var in variables.values()])
    }
    names = [code(name) for name in variables]
    return table(("name", *columns), zip(names, *columns.values(), strict=True))
