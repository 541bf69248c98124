"""Whatever a cell is like, the build says what it made of it, and the others are in the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

import isoklx
from isoklx.cells.reading import read_cell
from isoklx.errors import CellError
from tests.bad_cells.corpus import JSON_FILES, READ, SKIPPED, Read, Skipped
from tests.bad_cells.good_cell import VALUES, good_cell

NOBODY = 65534


@pytest.fixture
def root() -> Iterator[Path]:
    # Not tmp_path, which an unprivileged user cannot enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        root = Path(folder) / "runs"
        root.mkdir(mode=0o777)
        for run_id in ("a good cell", "z good cell"):
            good_cell(root, run_id)
        yield root
        for cell in root.iterdir():
            if not cell.is_symlink():
                cell.chmod(0o700)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Let permissions hold for root as well."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_there_are_enough_kinds() -> None:
    assert len(SKIPPED) + len(READ) >= 60


@pytest.mark.parametrize("kind", SKIPPED.values(), ids=SKIPPED)
def test_what_cannot_be_read_is_reported_and_costs_nothing_else(root: Path, kind: Skipped) -> None:
    bad = good_cell(root, "bad")
    bad = kind.change(bad) or bad
    with unprivileged() if kind.unprivileged else nullcontext():
        report = isoklx.build(root)
    assert report.read == ("a good cell", "z good cell")
    [error] = report.skipped
    assert (error.folder, error.file) == (bad, kind.file)
    assert re.search(kind.reason, error.reason)
    assert error.reason.isprintable()
    assert len(error.reason) < 300
    with netCDF4.Dataset(report.out) as file:
        for run_id in report.read:
            assert_holds(file, run_id, VALUES)


@pytest.mark.parametrize("kind", READ.values(), ids=READ)
def test_what_is_read_has_the_values_that_its_meaning_says(root: Path, kind: Read) -> None:
    odd = good_cell(root, "bad")
    odd = kind.change(odd) or odd
    report = isoklx.build(root)
    assert report.skipped == ()
    assert set(report.read) == {"a good cell", odd.name, "z good cell"}
    for note, pattern in zip(report.notes, kind.notes, strict=True):
        assert re.search(pattern, note)
    with netCDF4.Dataset(report.out) as file:
        for run_id in ("a good cell", "z good cell"):
            assert_holds(file, run_id, VALUES)
        down = {"unpaired": [0] * len(kind.alphas)}
        assert_holds(file, odd.name, {**VALUES, **down, **kind.values}, kind.alphas, kind.forks)


def assert_holds(
    file: netCDF4.Dataset,
    run_id: str,
    values: dict[str, Any],
    alphas: Sequence[float] = (0.5, 1.0),
    forks: Sequence[int] = (0, 2),
) -> None:
    """Check each variable of a cell against nested lists along its own labels."""
    cell = list(file["run_id"][:]).index(run_id)
    own = {"alpha": alphas, "fork": forks}
    for name, expected in values.items():
        stored = file[name][cell]
        if name == "unpaired":  # a flag, which is down where there is nothing
            own_alphas = [list(file["alpha"][:]).index(alpha) for alpha in alphas]
            assert stored[own_alphas].tolist() == expected, name
            assert stored.sum() == sum(expected), name
            continue
        if not file[name].dimensions[1:]:
            assert stored == expected, name
            continue
        full = np.full(stored.shape, np.nan)
        for at, number in numbers(expected):
            labels = zip(file[name].dimensions[1:], at, strict=True)
            where = [
                list(file[dim][:]).index(own[dim][i]) if dim in own else i for dim, i in labels
            ]
            full[tuple(where)] = number
        stored = np.ma.filled(stored.astype("float64"), np.nan)
        np.testing.assert_allclose(stored, full, rtol=1e-7, atol=0, err_msg=name)


def numbers(nested: Any, *at: int) -> Iterator[tuple[tuple[int, ...], float]]:
    if isinstance(nested, list):
        for i, item in enumerate(nested):
            yield from numbers(item, *at, i)
    else:
        yield at, nested


@pytest.mark.parametrize("file", JSON_FILES)
def test_truncation_at_any_byte_is_seen(root: Path, file: str) -> None:
    path = root / "a good cell" / file
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CellError, match="half written"):
            read_cell(path.parent)


def test_a_truncated_table_of_doses_is_seen_within_a_line(root: Path) -> None:
    path = root / "a good cell" / "results.csv"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if whole[:length].endswith(b"\n"):
            assert read_cell(path.parent)
        else:
            with pytest.raises(CellError, match=r"half written|no column alpha"):
                read_cell(path.parent)


BOUND = 4
"""Times the size of its files that reading a cell with a long string may take."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_string_of_100_megabytes_takes_memory_in_proportion(root: Path) -> None:
    script = (
        "import re, sys, isoklx, isoklx.sweeps.build\n"
        "def peak():\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "report = isoklx.build(sys.argv[1], jobs=1)\n"
        "print(len(report.read), peak() - before)\n"
    )
    path = good_cell(root, "bad") / "pmass.json"
    rest = path.read_bytes()[1:]
    with path.open("wb") as file:
        file.write(b'{"text": "')
        for _ in range(100):
            file.write(b"x" * 10**6)
        file.write(b'", ' + rest)
    done = subprocess.run(
        [sys.executable, "-c", script, root], capture_output=True, text=True, check=True
    )
    read, kilobytes = map(int, done.stdout.split())
    assert read == 3
    assert kilobytes * 1024 < BOUND * path.stat().st_size
