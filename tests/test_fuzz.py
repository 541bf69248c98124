"""A few hundred of the cases that scripts/fuzz.py tries by the ten thousand."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.checking import build, read, valid_cells
from tests.fuzzing.mutations import mutated

CELLS = valid_cells()


def test_a_valid_cell_is_read() -> None:
    for files in CELLS:
        with TemporaryDirectory() as root:
            assert read(files, Path(root))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CELLS), st.randoms(use_true_random=False))
def test_a_broken_cell_is_read_as_its_files_say_or_reported(
    files: dict[str, bytes], rng: Random
) -> None:
    with TemporaryDirectory() as root:
        read(mutated(files, rng), Path(root))


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CELLS), st.randoms(use_true_random=False))
def test_a_broken_cell_is_built_as_its_files_say_or_reported(
    files: dict[str, bytes], rng: Random
) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        root.mkdir()
        build(mutated(files, rng), root, CELLS[0], rng)
