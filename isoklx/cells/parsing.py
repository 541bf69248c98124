"""Strict conversion of parsed JSON to numbers and arrays; missing values become NaN.

A *place* locates a value in a file, such as ``per_prompt_per_t_kl["1.0"][3][17]``. Functions raise
ValueError with the place and the value; the caller adds the file.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array as doubles
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.schema import same_dose

Alphas = npt.NDArray[np.float64]


def union(doses: Sequence[float] | npt.NDArray[np.floating[Any]]) -> Alphas:
    """Return each dose once, ascending; of equal doses the one with the shortest spelling."""
    groups: list[list[float]] = []
    for dose in np.unique(np.asarray(doses, dtype=np.float64)).tolist():
        if groups and same_dose(groups[-1][0], dose):
            groups[-1].append(dose)
        else:
            groups.append([dose])
    return np.array([_shortest(group) for group in groups], dtype=np.float64)


def positions(
    labels: Alphas, doses: Sequence[float] | npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.intp]:
    """Return the index of each dose in the labels of a `union` that contains it."""
    wanted = np.asarray(doses, dtype=np.float64)
    after = np.searchsorted(labels, wanted).clip(max=max(labels.size - 1, 0))
    before = np.maximum(after - 1, 0)
    if not labels.size:
        return after
    nearer = np.abs(labels[before] - wanted) < np.abs(labels[after] - wanted)
    found: npt.NDArray[np.intp] = np.where(nearer, before, after)
    return found


def find_duplicate(doses: Sequence[float]) -> tuple[int, int] | None:
    """Return the indices of the first two equal doses, the smaller first; None without any."""
    order = sorted(range(len(doses)), key=doses.__getitem__)
    for i, j in pairwise(order):
        if same_dose(doses[i], doses[j]):
            return min(i, j), max(i, j)
    return None


def _shortest(group: list[float]) -> float:
    return group[0] if len(group) == 1 else min(group, key=lambda dose: len(repr(dose)))


FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int32]

INT32 = np.iinfo(np.int32)
INT64 = np.iinfo(np.int64)
FLOAT32_TOLERANCE = 1e-6
"""Largest relative error of storage in float32 that is not reported."""

PADDED = 2**24
"""Elements that an array may always have, however few hold a value."""

PADDED_PER_VALUE = 64
"""Elements that a larger array may have per value.

Rows are padded to the longest, so a small file of many short rows and one long row could otherwise
request any amount of memory.
"""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def shorten(value: object) -> str:
    """Format a value for a message as JSON does, cut to 60 characters."""
    names = {True: "true", False: "false", None: "null"}
    if isinstance(value, bool | None):
        return names[value]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # Python limits the conversion of integers to text
        return "a whole number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def mapping(value: object, place: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object, got {shorten(value)}")
    return value


def array(value: object, place: str) -> list[Any]:
    """Return a JSON list."""
    if not isinstance(value, list):
        raise ValueError(f"{place} must be a list, got {shorten(value)}")
    return value


def text(value: object, place: str) -> str:
    """Return one line of text: not empty, without control characters and lone surrogates."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place} must be a non-empty string, got {shorten(value)}")
    if not {"Cc", "Cs", "Zl", "Zp"}.isdisjoint(map(unicodedata.category, value)):
        raise ValueError(f"{place} must be one line of Unicode text, got {shorten(value)}")
    return value


def whole(value: object, place: str, least: int = INT32.min, most: int = INT32.max) -> int:
    """Return a whole number, by default within the range of int32."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{place} must be a whole number, got {shorten(value)}")
    if not least <= value <= most:
        raise ValueError(f"{place} must be between {least} and {most}, got {shorten(value)}")
    return value


def number(value: object, place: str) -> float:
    """Return a number, which may be NaN or infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{place} must be a number, got {shorten(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def finite(value: object, place: str) -> float:
    """Return a finite number."""
    out = number(value, place)
    if not math.isfinite(out):
        raise ValueError(f"{place} must be a finite number, got {shorten(value)}")
    return out


def by_alpha(value: object, place: str) -> dict[float, tuple[str, Any]]:
    """Return a JSON object keyed by alphas as {alpha: (place, value)}; refuse equal alphas."""
    items = mapping(value, place)
    alphas = [alpha_of(key, f"a key of {place}") for key in items]
    places = [f'{place}["{key}"]' for key in items]
    again = find_duplicate(alphas)
    if again is not None:
        first, second = (places[i] for i in again)
        raise ValueError(f"{first} and {second} are the same alpha, {alphas[again[1]]:g}")
    return dict(zip(alphas, zip(places, items.values(), strict=True), strict=True))


def alpha_of(key: str, place: str) -> float:
    """Return the float that an alpha's spelling stands for; minus zero becomes zero."""
    if not _NUMBER.fullmatch(key) or not math.isfinite(float(key)):
        raise ValueError(f"{place} must be a finite number, got {shorten(key)}")
    return float(key) + 0.0


def padded_rows(value: object, place: str, length: int, *, cut: bool = False) -> FloatArray:
    """Return rows of numbers as one float64 array (row, position), padded with NaN.

    Null, NaN and the missing end of a row become NaN. The array is as wide as the longest row, not
    as `length`, which may be a false claim. Rows longer than `length` are cut, or refused.
    """
    rows = array(value, place)
    if not all(map(isinstance, rows, repeat(list))):
        index = next(i for i, row in enumerate(rows) if not isinstance(row, list))
        array(rows[index], f"{place}[{index}]")
    width = max(map(len, rows), default=0)
    if width > length:
        if not cut:
            index = next(i for i, row in enumerate(rows) if len(row) > length)
            raise ValueError(
                f"{place}[{index}] must have at most {length} values, got {len(rows[index])}"
            )
        rows = [row[:length] for row in rows]
        width = length
    flat = _numbers(list(chain.from_iterable(rows)), rows, place)
    if flat.size == len(rows) * width:  # every row is as long as the longest
        return flat.reshape(len(rows), width)
    refuse_padding((len(rows), width), flat.size, place)
    out = np.full((len(rows), width), np.nan)
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    out[np.arange(width) < lengths[:, np.newaxis]] = flat
    return out


def refuse_padding(shape: tuple[int, ...], count: int, place: str) -> None:
    """Raise ValueError where an array of `shape` would consist almost entirely of padding."""
    size = math.prod(shape)
    if size > max(PADDED, PADDED_PER_VALUE * count):
        by = " x ".join(map(str, shape))
        raise ValueError(
            f"{place} has {count} values in rows so uneven that padding makes them {by}"
        )


def counts(value: object, place: str) -> IntArray:
    """Return token counts as int32; null becomes -1."""
    items = array(value, place)
    numbers = (
        -1 if item is None else whole(item, f"{place}[{i}]", least=0)
        for i, item in enumerate(items)
    )
    return np.fromiter(numbers, dtype=np.int32, count=len(items))


def shares(value: object, place: str) -> FloatArray:
    """Return finite numbers as float64; null becomes NaN."""
    items = array(value, place)
    numbers = (
        math.nan if item is None or item != item else finite(item, f"{place}[{i}]")  # noqa: PLR0124
        for i, item in enumerate(items)
    )
    return np.fromiter(numbers, dtype=np.float64, count=len(items))


def truths(value: object, place: str) -> IntArray:
    """Return a list of true and false as 1 and 0."""
    items = array(value, place)
    for i, item in enumerate(items):
        if not isinstance(item, bool):
            raise ValueError(f"{place}[{i}] must be true or false, got {shorten(item)}")
    return np.array(items, dtype=np.int32)


def increasing(value: object, place: str) -> IntArray:
    """Return strictly increasing tokens as int32."""
    items = array(value, place)
    tokens = [whole(item, f"{place}[{i}]", least=0) for i, item in enumerate(items)]
    for i, (earlier, later) in enumerate(pairwise(tokens), start=1):
        if later <= earlier:
            raise ValueError(f"{place}[{i}] must be greater than {earlier}, got {later}")
    return np.array(tokens, dtype=np.int32)


def cast(values: FloatArray, dtype: str) -> FloatArray:
    """Round values to the storage dtype."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype)


def lossy(exact: FloatArray, values: FloatArray) -> npt.NDArray[np.bool_]:
    """Return where storage changes a value by more than `FLOAT32_TOLERANCE`, relative."""
    mask: npt.NDArray[np.bool_] = np.abs(values - exact) > FLOAT32_TOLERANCE * np.abs(exact)
    return mask


def _numbers(flat: list[Any], rows: Sequence[list[Any]], place: str) -> FloatArray:
    """Return the values of all rows; name the place of the first that is not a number."""
    try:
        out = np.frombuffer(doubles("d", flat), dtype=np.float64)
    except (TypeError, OverflowError):  # null, text, a list; an integer beyond 1.8e308
        out = None
    # A double also accepts booleans, as 0 or 1; these must be refused.
    if out is not None and not (np.isinf(out).any() or _may_be_boolean(out, flat)):
        return out
    numbers = [np.nan if item is None else item for item in flat]
    if set(map(type, numbers)) <= {float, int}:
        with suppress(OverflowError):
            out = np.array(numbers, dtype=np.float64)
            if not np.isinf(out).any():
                return out
    for i, row in enumerate(rows):
        for j, item in enumerate(row):
            if item is not None and item == item:  # noqa: PLR0124 - false for NaN alone
                finite(item, f"{place}[{i}][{j}]")
    raise AssertionError("an invalid value was detected but not found")


def _may_be_boolean(out: FloatArray, flat: list[Any]) -> bool:
    return bool(((out == 0) | (out == 1)).any()) and bool in set(map(type, flat))


def named(value: Mapping[str, Any], key: str) -> Any:
    """Return ``value[key]``, or raise ValueError where it is absent."""
    if key not in value:
        raise ValueError(f"{key} is missing")
    return value[key]
