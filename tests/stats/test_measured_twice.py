"""Comparison of the same cell in two sweeps."""

import numpy as np
import pytest

import isoklx
from isoklx.stats.matching import (
    comparable,
    end_survival,
    largest_difference,
    one_after_another,
    repeated_doses,
    same_numbers,
)
from tests.small_sweeps import small_sweep

NAN = np.nan


def test_concatenated_cells_have_the_labels_of_both_and_nan_elsewhere():
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
def test_numbers_are_compared_at_every_common_dose(other, same):
    one, two = comparable(numbers(), other)
    assert same_numbers(one, 0, two, 0) is same
    assert same_numbers(two, 0, one, 0) is same


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_difference_equals_that_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)

    def sweep():
        pmass, kl = rng.random((1, 2, 3, 2)), rng.random((1, 2, 3, 4)) * 2
        kl[0, 1, 2, 2:] = NAN
        return small_sweep(pmass.tolist(), fork=[0, 8], kl=kl.tolist())

    a, b = comparable(sweep(), sweep())
    expected = []
    for name, time in (("kl", "token"), ("pmass_eval", "fork")):
        for dose in range(2):
            for prompt in range(3):
                for k in range(a.sizes[time]):
                    one, two = (float(ds[name].values[0, dose, prompt, k]) for ds in (a, b))
                    if one == one:  # noqa: PLR0124
                        place = f"alpha {a.alpha.values[dose]:g}, prompt {prompt}, "
                        place += f"{time} {a[time].values[k]}: {one:.6g} in A, {two:.6g} in B"
                        expected.append((abs(one - two), name, place))
    size, name, place = max(expected)
    assert largest_difference(a, 0, b, 0) == (name, size, place)
    assert largest_difference(a, 0, a, 0) is None


def test_a_number_against_nan_is_reported_if_nothing_else_differs():
    a, b = comparable(numbers(), numbers(kl=NAN))
    none = "alpha 0, prompt 0, token 0: 0.5 in A, none in B"
    assert largest_difference(a, 0, b, 0) == ("kl", np.inf, none)
    a, b = comparable(numbers(), numbers(kl=NAN, value=0.8))
    found = largest_difference(a, 0, b, 0)
    assert (found.quantity, found.size) == ("pmass_eval", pytest.approx(0.1, rel=1e-5))


def test_answers_are_compared_where_both_sweeps_have_them(sample_ds):
    a, b = comparable(sample_ds, sample_ds.copy(deep=True))
    b["p_true"][3, 2, 1, 0] += 0.25
    found = largest_difference(a, 3, b, 3)
    assert same_numbers(a, 3, b, 3) is False
    assert same_numbers(a, 2, b, 2) is True
    assert found.quantity == "p_true"
    assert found.size == pytest.approx(0.25)
    assert found.place.startswith("alpha 0.5, question 1, fork 0: ")
    unasked = b.assign({name: b[name] * NAN for name in ("pmass", "p_true")})
    assert same_numbers(a, 3, unasked, 3) is True
    assert same_numbers(a, 3, b.drop_vars("p_true"), 3) is True


def test_a_pair_is_a_duplicate_only_in_both_sweeps():
    def cells(*values):
        rows = [[[[value, value]]] * 2 for value in values]
        return small_sweep(rows, fork=[0, 8])

    pairs = [(0, 0), (1, 1), (2, 2)]
    found = repeated_doses(*comparable(cells(0.9, 0.9, 0.9), cells(0.8, 0.8, 0.7)), pairs)
    assert found == [set(), {0.0, 1.0}, set()]
    swapped = repeated_doses(*comparable(cells(0.9, 0.9, 0.9), cells(0.8, 0.8, 0.7)), pairs[::-1])
    assert swapped == [set(), set(), {0.0, 1.0}]


def test_duplicates_of_the_sample_are_found(sample_ds):
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


def test_equal_numbers_on_two_sides_are_not_duplicates():
    one, other = (numbers().assign_coords(sign=("cell", [sign])) for sign in "+-")
    a, b = comparable(one, other)
    assert same_numbers(a, 0, b, 0) is True
    both = small_sweep([[[[0.9, 0.9]]] * 2] * 2, fork=[0, 8], sign=["+", "-"])
    a, b = comparable(both, both)
    assert repeated_doses(a, b, [(0, 0), (1, 1)]) == [set(), set()]
    a, b = comparable(both.drop_vars("sign"), both.drop_vars("sign"))
    assert repeated_doses(a, b, [(0, 0), (1, 1)]) == [set(), {0.0, 1.0}]
