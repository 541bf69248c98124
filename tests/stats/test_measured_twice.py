"""A cell that two sweeps have, side by side."""

import numpy as np
import pytest

import isoklx
from isoklx.stats.measured_twice import (
    comparable,
    end_survival,
    one_after_another,
    repeated_doses,
    same_numbers,
)
from tests.small_sweeps import small_sweep

NAN = np.nan


def test_two_cells_have_the_labels_of_both_and_nothing_where_one_has_none():
    a = small_sweep([[[[0.9, 0.8]]] * 2], fork=[0, 8])
    b = small_sweep([[[[0.7, 0.6, 0.5]] * 3]], fork=[0, 4, 8]).assign_coords(alpha=[1.0])
    a, b = comparable(a, b)
    pair = one_after_another(a, [0], b, [0], ["pmass_eval"])
    assert pair["run_id"].values.tolist() == ["cell0", "cell0"]
    assert pair["alpha"].values.tolist() == [0, 1]
    found = pair["pmass_eval"].sel(alpha=1, prompt=0).values
    np.testing.assert_array_equal(found, np.float32([[0.9, NAN, 0.8], [0.7, 0.6, 0.5]]))
    assert pair["pmass_eval"].isel(cell=1).sel(alpha=0).isnull().all()
    assert pair["pmass_eval"].isel(cell=0).sel(prompt=[1, 2]).isnull().all()
    assert pair["pmass_eval"].dtype == np.float32


def numbers(value=0.9, kl=0.5):
    return small_sweep([[[[value, NAN]]] * 2], fork=[0, 8], kl=[[[[kl, NAN]]] * 2])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (numbers(), True),
        (numbers().isel(alpha=[1]), True),
        (numbers(value=0.91), False),
        (numbers(kl=0.51), False),
        (numbers(value=NAN), False),
        (numbers().assign_coords(alpha=[7.0, 8.0]), None),
        (numbers(value=NAN, kl=NAN), None),
        (numbers().isel(prompt=[0, 0]).assign_coords(prompt=[0, 1]), False),
    ],
)
def test_numbers_are_the_same_at_every_dose_that_both_have(other, same):
    one, two = comparable(numbers(), other)
    assert same_numbers(one, 0, two, 0) is same
    assert same_numbers(two, 0, one, 0) is same


def test_a_repeat_counts_once_only_where_both_sweeps_repeat_it():
    def cells(*values):
        rows = [[[[value, value]]] * 2 for value in values]
        return small_sweep(rows, fork=[0, 8])

    pairs = [(0, 0), (1, 1), (2, 2)]
    found = repeated_doses(*comparable(cells(0.9, 0.9, 0.9), cells(0.8, 0.8, 0.7)), pairs)
    assert found == [set(), {0.0, 1.0}, set()]
    swapped = repeated_doses(*comparable(cells(0.9, 0.9, 0.9), cells(0.8, 0.8, 0.7)), pairs[::-1])
    assert swapped == [set(), set(), {0.0, 1.0}]


def test_repeats_are_those_of_the_sample(sample_ds):
    whole = comparable(sample_ds, sample_ds)
    pairs = [(i, i) for i in range(12)]
    known = isoklx.repeats(sample_ds).values != ""
    expected = [set(sample_ds["alpha"].values[row]) for row in known]
    assert repeated_doses(*whole, pairs) == expected


def test_a_cell_whose_curve_ends_early_has_no_survival_at_the_end():
    whole, short = [[0.9, 0.9]] * 2, [[0.9, NAN]] * 2
    ds = small_sweep([[whole, short]], fork=[0, 8], gen_len=[[[8, 8], [5, 5]]])
    ds, _ = comparable(ds, ds)
    assert end_survival(ds, "pmass_eval", [0.75], "censored") == {("cell0", 0.75, 0.0): 1.0}
    assert len(end_survival(ds, "pmass_eval", [0.75], "alive")) == 2


def test_survival_at_the_end_is_by_cell_and_empty_without_the_metric(sample_ds):
    ds, _ = comparable(sample_ds, sample_ds)
    found = end_survival(ds, "pmass_eval", [0.75], "censored")
    summary = isoklx.survival_summary(sample_ds, by="run_id")
    assert len(found) == len(summary) == 72
    for row in summary.itertuples():
        assert found[row.run_id, 0.75, row.alpha] == row.end_survival
    assert end_survival(ds.assign(has_pmass=0 * ds["has_pmass"]), "pmass", [0.5], "alive") == {}
