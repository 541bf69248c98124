"""Numbers out of parsed JSON: strict about types, exact about places, NaN for what ended early.

A *place* is how a reader finds a value in a file: ``per_prompt_per_t_kl["1.0"][3][17]``.
Everything here raises ValueError with the place and the value; the caller knows the file.
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
    """Name every dose once.

    Parameters
    ----------
    doses : array of float
        Finite, in any order.

    Returns
    -------
    ndarray
        float64, ascending. Of numbers that are the same dose it is the one with the shortest
        spelling, whatever the order.

    Examples
    --------
    >>> union([2, 0.1 + 0.2, 0.3])
    array([0.3, 2. ])
    """
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
    """Where each dose stands among the labels of a `union` that holds it.

    Examples
    --------
    >>> positions(np.array([0.3, 2.0]), [0.1 + 0.2, 2])
    array([0, 1])
    """
    wanted = np.asarray(doses, dtype=np.float64)
    after = np.searchsorted(labels, wanted).clip(max=max(labels.size - 1, 0))
    before = np.maximum(after - 1, 0)
    if not labels.size:
        return after
    nearer = np.abs(labels[before] - wanted) < np.abs(labels[after] - wanted)
    found: npt.NDArray[np.intp] = np.where(nearer, before, after)
    return found


def find_duplicate(doses: Sequence[float]) -> tuple[int, int] | None:
    """Indices of two that are the same dose, the earlier first; None where there are none.

    Examples
    --------
    >>> find_duplicate([0.3, 1, 0.1 + 0.2])
    (0, 2)
    """
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
"""Largest relative error that storage in float32 may make without being reported."""

PADDED = 2**24
"""Places that arrays may take whatever is in them."""

PADDED_PER_VALUE = 64
"""Places that larger arrays may take for each value in them.

Rows are as long as the longest, so that a small file of many short rows and one long one could ask
for any amount of memory.
"""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def shorten(value: object) -> str:
    """A value as a message shows it: what JSON would say, cut to a readable length."""
    names = {True: "true", False: "false", None: "null"}
    if isinstance(value, bool | None):
        return names[value]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to spell it out
        return "a whole number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def mapping(value: object, place: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {shorten(value)}, not an object")
    return value


def array(value: object, place: str) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list):
        raise ValueError(f"{place} is {shorten(value)}, not a list")
    return value


def text(value: object, place: str) -> str:
    """A line of text: not empty, no control character in it, and no half of a character."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place} is {shorten(value)}, not a text")
    if not {"Cc", "Cs", "Zl", "Zp"}.isdisjoint(map(unicodedata.category, value)):
        raise ValueError(f"{place} is {shorten(value)}, which is not a line of Unicode text")
    return value


def whole(value: object, place: str, least: int = INT32.min, most: int = INT32.max) -> int:
    """A whole number, by default one that int32 holds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{place} is {shorten(value)}, not a whole number")
    if not least <= value <= most:
        raise ValueError(f"{place} is {shorten(value)}, outside {least} to {most}")
    return value


def number(value: object, place: str) -> float:
    """A number, NaN and infinity included."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{place} is {shorten(value)}, not a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def finite(value: object, place: str) -> float:
    """A finite number."""
    out = number(value, place)
    if not math.isfinite(out):
        raise ValueError(f"{place} is {shorten(value)}, not a finite number")
    return out


def by_alpha(value: object, place: str) -> dict[float, tuple[str, Any]]:
    """A JSON object keyed by alphas, as {alpha: (place, value)}.

    Keys are labels: ``"1"`` and ``"1.0"`` are the same alpha, so one object cannot hold both.
    """
    items = mapping(value, place)
    alphas = [alpha_of(key, f"a key of {place}") for key in items]
    places = [f'{place}["{key}"]' for key in items]
    again = find_duplicate(alphas)
    if again is not None:
        first, second = (places[i] for i in again)
        raise ValueError(f"{first} and {second} are the same alpha, {alphas[again[1]]:g}")
    return dict(zip(alphas, zip(places, items.values(), strict=True), strict=True))


def alpha_of(key: str, place: str) -> float:
    """The float that an alpha's spelling stands for; minus zero is zero."""
    if not _NUMBER.fullmatch(key) or not math.isfinite(float(key)):
        raise ValueError(f"{place} is {shorten(key)}, not a finite number")
    return float(key) + 0.0


def padded_rows(value: object, place: str, length: int, *, cut: bool = False) -> FloatArray:
    """A list of rows of numbers as one float64 array (row, position), NaN where nothing is.

    Parameters
    ----------
    value : object
        Parsed JSON; null and NaN within a row, and a row's missing tail, become NaN.
    place : str
        Where ``value`` stands.
    length : int
        Longest row allowed.
    cut : bool
        Whether a longer row is cut to ``length``; otherwise it is an error.

    Returns
    -------
    ndarray
        As wide as the longest row found: a claimed ``length`` allocates nothing.

    Raises
    ------
    ValueError
        At the first row or value that is not numbers, infinite ones included.

    Examples
    --------
    >>> padded_rows([[0.5, None], [0.25]], "kl", 512)
    array([[0.5 ,  nan],
           [0.25,  nan]])
    """
    rows = array(value, place)
    if not all(map(isinstance, rows, repeat(list))):
        index = next(i for i, row in enumerate(rows) if not isinstance(row, list))
        array(rows[index], f"{place}[{index}]")
    width = max(map(len, rows), default=0)
    if width > length:
        if not cut:
            index = next(i for i, row in enumerate(rows) if len(row) > length)
            raise ValueError(f"{place}[{index}] has {len(rows[index])} values for {length} places")
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
    """Raise ValueError where an array of ``shape`` would be next to nothing but padding."""
    size = math.prod(shape)
    if size > max(PADDED, PADDED_PER_VALUE * count):
        by = " x ".join(map(str, shape))
        raise ValueError(f"{place} has {count} values in rows so uneven that they take {by} places")


def counts(value: object, place: str) -> IntArray:
    """A list of token counts as int32; -1 where it is null."""
    items = array(value, place)
    numbers = (
        -1 if item is None else whole(item, f"{place}[{i}]", least=0)
        for i, item in enumerate(items)
    )
    return np.fromiter(numbers, dtype=np.int32, count=len(items))


def shares(value: object, place: str) -> FloatArray:
    """A list of finite numbers as float64; NaN where one is null or NaN."""
    items = array(value, place)
    numbers = (
        math.nan if item is None or item != item else finite(item, f"{place}[{i}]")  # noqa: PLR0124
        for i, item in enumerate(items)
    )
    return np.fromiter(numbers, dtype=np.float64, count=len(items))


def truths(value: object, place: str) -> IntArray:
    """Read a list of true and false as 1 and 0."""
    items = array(value, place)
    for i, item in enumerate(items):
        if not isinstance(item, bool):
            raise ValueError(f"{place}[{i}] must be true or false, got {shorten(item)}")
    return np.array(items, dtype=np.int32)


def increasing(value: object, place: str) -> IntArray:
    """A list of tokens, each one later than the one before, as int32."""
    items = array(value, place)
    tokens = [whole(item, f"{place}[{i}]", least=0) for i, item in enumerate(items)]
    for i, (earlier, later) in enumerate(pairwise(tokens), start=1):
        if later <= earlier:
            raise ValueError(f"{place}[{i}] is {later}, which does not rise from {earlier}")
    return np.array(tokens, dtype=np.int32)


def stored(values: FloatArray, dtype: str) -> FloatArray:
    """Values in the dtype of storage, rounded to the nearest that it has."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype)


def lossy(exact: FloatArray, values: FloatArray) -> npt.NDArray[np.bool_]:
    """Where storage is off by more than `FLOAT32_TOLERANCE`, relative."""
    mask: npt.NDArray[np.bool_] = np.abs(values - exact) > FLOAT32_TOLERANCE * np.abs(exact)
    return mask


def _numbers(flat: list[Any], rows: Sequence[list[Any]], place: str) -> FloatArray:
    """All values of all rows; at the first that is no number, an error with its place."""
    try:
        out = np.frombuffer(doubles("d", flat), dtype=np.float64)
    except (TypeError, OverflowError):  # null, text, a list; an integer beyond 1.8e308
        out = None
    # Of what a double takes, booleans alone are no numbers, and they come out as 0 or 1.
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
    raise AssertionError("a bad value was seen and then not found")


def _may_be_boolean(out: FloatArray, flat: list[Any]) -> bool:
    return bool(((out == 0) | (out == 1)).any()) and bool in set(map(type, flat))


def named(value: Mapping[str, Any], key: str) -> Any:
    """``value[key]``, or ValueError when it is absent."""
    if key not in value:
        raise ValueError(f"{key} is missing")
    return value[key]
