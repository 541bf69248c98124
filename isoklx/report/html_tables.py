"""A table of the package as rows that a template writes and a reader sorts."""

from __future__ import annotations

from typing import Any

from pandas.api.types import is_bool_dtype, is_numeric_dtype

from isoklx.tables.formats import Table, as_csv, readable


def html_table(name: str, title: str, table: Table) -> dict[str, Any]:
    """What a template needs of a table.

    Parameters
    ----------
    name, title : str
        Of the table: for identifiers and file names, and for people.
    table : Table
        The table.

    Returns
    -------
    dict
        ``columns`` (heading, whether numeric), ``rows`` of cells (text, value to sort by), and the
        ``csv`` with all digits.
    """
    frame = table.frame
    texts = readable(table)
    columns = [
        {"heading": str(each).replace("_", " "), "numeric": _is_number(frame[each])}
        for each in frame
    ]
    values = [_sorted_by(frame[each]) for each in frame]
    rows = [
        [{"text": text, "value": value} for text, value in zip(row, of_row, strict=True)]
        for row, of_row in zip(
            texts.itertuples(index=False, name=None), zip(*values, strict=True), strict=True
        )
    ]
    return {
        "name": name,
        "title": title,
        "caption": table.caption,
        "keys": len(table.keys),
        "columns": columns,
        "rows": rows,
        "csv": as_csv(table),
    }


def _is_number(column: Any) -> bool:
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column))


def _sorted_by(column: Any) -> list[float | None]:
    """Numbers with all their digits; None of a text, which sorts by what is shown."""
    if not _is_number(column):
        return [None] * len(column)
    return [None if value != value else float(value) for value in column.tolist()]  # noqa: PLR0124
