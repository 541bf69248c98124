"""Batches kept until their doses are in the cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.checkpoints import KeptBatches, first_difference
from isoklx.engine.rollouts import Rollouts
from isoklx.errors import BuildError, MeasureError

WITH = {"window": 4, "measured_with": {"batch": 2, "true_ids": [1, 2]}}


def rollouts(seed: int = 0, *, twins: bool = True) -> Rollouts:
    rng = np.random.default_rng(seed)
    lengths = np.array([3, 0, 4], np.int32)
    kl = rng.random((3, 4), np.float32)
    kl[np.arange(4) >= lengths[:, None]] = np.nan
    pmass = rng.random((3, 2), np.float32)
    return Rollouts(
        [rng.integers(0, 200_000, length).tolist() for length in lengths],
        lengths,
        kl if twins else None,
        pmass,
        pmass / 2,
        rng.integers(-1, 9, (3, 2)).astype(np.int32),
    )


def never() -> Rollouts:
    raise AssertionError("it was kept")


@pytest.mark.parametrize("twins", [True, False])
def test_a_batch_is_made_once_and_is_the_same_to_the_bit(tmp_path: Path, twins: bool) -> None:
    made = rollouts(twins=twins)
    kept = KeptBatches(tmp_path / "a", WITH)
    assert not kept.has("eval-0")
    assert kept.rollouts("eval-0", lambda: made) is made
    again = KeptBatches(tmp_path / "a", WITH)
    assert again.has("eval-0")
    found = again.rollouts("eval-0", never)
    assert found.token_ids == made.token_ids
    for name in ("gen_len", "kl", "pmass", "p_true", "top_id"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
        if getattr(made, name) is not None:
            assert getattr(found, name).dtype == getattr(made, name).dtype


def test_only_batches_in_the_cell_are_removed(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path / "a", WITH)
    for name in ("calib-00", "eval-0", "eval-1"):
        kept.rollouts(name, rollouts)
    kept.forget("eval-")
    assert [kept.has(name) for name in ("calib-00", "eval-0", "eval-1")] == [True, False, False]
    kept.remove()
    assert not (tmp_path / "a").exists()


def test_batches_made_with_other_settings_are_refused(tmp_path: Path) -> None:
    KeptBatches(tmp_path / "a", WITH).rollouts("eval-0", rollouts)
    with pytest.raises(MeasureError) as error:
        KeptBatches(tmp_path / "a", {**WITH, "window": 5})
    assert str(error.value) == (
        f"{tmp_path / 'a'}: was begun with window 4, and not 5; remove it to start over"
    )


def test_batches_without_a_description_are_not_used(tmp_path: Path) -> None:
    KeptBatches(tmp_path / "a", WITH).rollouts("eval-0", rollouts)
    (tmp_path / "a" / "made_with.json").unlink()  # as when a removal was killed
    assert not KeptBatches(tmp_path / "a", {**WITH, "window": 5}).has("eval-0")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize("harm", [emptied, cut])
def test_a_damaged_batch_is_an_error(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    kept = KeptBatches(tmp_path / "a", WITH)
    kept.rollouts("eval-0", rollouts)
    path = tmp_path / "a" / "eval-0.npz"
    harm(path)
    with pytest.raises(MeasureError) as error:
        kept.rollouts("eval-0", never)
    assert str(error.value) == f"{path}: cannot be read; remove it to measure it again"


def test_a_damaged_description_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "made_with.json").write_text("{")
    with pytest.raises(MeasureError, match=r"made_with\.json: cannot be read; remove "):
        KeptBatches(tmp_path, WITH)


def test_a_file_instead_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(BuildError, match="a: cannot be written: File exists"):
        KeptBatches(tmp_path / "a", WITH)


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (WITH, ""),
        ({"window": 4}, 'measured_with {"batch": 2, "true_ids": [1, 2]}, and not null'),
        (
            {**WITH, "measured_with": {"batch": 2, "true_ids": [1]}},
            "measured_with true_ids [1, 2], and not [1]",
        ),
        ({**WITH, "seed": 1}, "seed null, and not 1"),
    ],
)
def test_the_first_difference_is_named(now: dict[str, object], difference: str) -> None:
    assert first_difference(WITH, now) == difference


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_a_difference_is_found_if_and_only_if_two_differ(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert (first_difference(one, other) == "") == (one == other)
