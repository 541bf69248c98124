"""Comparison of two sweeps, tested against plain loops over their JSON."""

import csv
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import CensoredData, logrank

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.contrasts import survival_contrast
from isoklx.tables.comparison import CELLS, DOSES, SETTINGS
from tests.small_sweeps import small_sweep
from tests.two_sweeps import GONE, NEW, OTHER_LAYER, UNCHANGED, made_again

COPY = "simulated-1B_directional_ablation_s1_w64"


@pytest.fixture(scope="module")
def roots(sample, tmp_path_factory):
    return sample, made_again(sample, tmp_path_factory.mktemp("again") / "runs")


@pytest.fixture(scope="module")
def sweeps(roots):
    return [isoklx.open_sweep(root, texts=True) for root in roots]


@pytest.fixture(scope="module")
def found(sweeps):
    return isoklx.compare(*sweeps, threshold=[0.75, 0.95], distinct=False)


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def fates(folder, key, threshold):
    """Event time of each rollout and whether it died, by a plain loop over the JSON."""
    pmass = read(folder, "pmass")
    ended = []
    rows = zip(pmass["pmass_eval"][key], pmass["gen_lens_eval"][key], strict=True)
    for row, length in rows:
        last, died = None, False
        for fork, value in zip(pmass["fork_points"], row, strict=True):
            if fork > length or math.isnan(value) or died:
                continue
            last, died = fork, np.float32(value) < np.float32(threshold)
        ended.append((last, bool(died)))
    return ended


def kaplan_meier(ended):
    alive = 1.0
    for fork in sorted({last for last, died in ended if died}):
        at_risk = sum(last >= fork for last, _ in ended)
        alive *= 1 - sum(died and last == fork for last, died in ended) / at_risk
    return alive


def key_of(folder, alpha):
    (key,) = (key for key in read(folder, "pmass")["pmass_eval"] if float(key) == alpha)
    return key


def test_survival_equals_a_plain_loop_over_the_json(roots, found):
    assert len(found.doses) == 11 * 2 * 6
    for row in found.doses.itertuples():
        expected = [
            kaplan_meier(fates(root / row.cell, key_of(root / row.cell, row.alpha), row.threshold))
            for root in roots
        ]
        assert [row.survival_a, row.survival_b] == pytest.approx(expected, abs=1e-12)
        assert row.end_difference == pytest.approx(expected[1] - expected[0], abs=1e-12)
        assert row.end_lower <= row.end_difference <= row.end_upper
        assert row.n_prompts == 8
    assert (found.doses["end_difference"] < 0).sum() > 20


def test_p_value_equals_scipy_and_is_adjusted_for_all_rows(roots, found):
    for row in found.doses[found.doses["p_value"].notna()].itertuples():
        samples = []
        for root in roots:
            folder = root / row.cell
            ended = fates(folder, key_of(folder, row.alpha), row.threshold)
            samples.append(
                CensoredData(
                    uncensored=[last for last, died in ended if died],
                    right=[last for last, died in ended if not died],
                )
            )
        assert row.p_value == pytest.approx(logrank(*samples).pvalue, abs=1e-9)
    known = sorted(found.doses["p_value"].dropna())
    largest, adjusted = 0.0, []
    for i, p in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - i)))
        adjusted.append(largest)
    assert sorted(found.doses["p_holm"].dropna()) == pytest.approx(adjusted)


def test_kl_and_c_star_equal_the_files(roots, found):
    for row in found.doses.itertuples():
        for root, shown in zip(roots, (row.kl_p95_a, row.kl_p95_b), strict=True):
            with (root / row.cell / "results.csv").open() as file:
                (expected,) = (
                    float(line["kl_p95"])
                    for line in csv.DictReader(file)
                    if float(line["alpha"]) == row.alpha
                )
            assert shown == expected
    in_both = found.cells[found.cells["found_in"] == "both"]
    for row in in_both.itertuples():
        was, now = (read(root / row.cell, "calib")["c_star"] for root in roots)
        assert (row.c_star_a, row.c_star_b) == (was, now)
        assert row.c_star_ratio == pytest.approx(now / was)


def test_cells_are_in_both_or_in_one(roots, found):
    names = [{folder.name for folder in root.iterdir()} for root in roots]
    for row in found.cells.itertuples():
        expected = {"both": [True, True], "A": [True, False], "B": [False, True]}[row.found_in]
        assert [row.cell in each for each in names] == expected
    by_cell = found.cells.set_index("cell")
    assert by_cell.index[by_cell["found_in"] == "A"].tolist() == [GONE]
    assert by_cell.index[by_cell["found_in"] == "B"].tolist() == [NEW]
    assert by_cell.loc[GONE, ["c_star_b", "same_files", "prompts"]].isna().all()
    assert pd.isna(by_cell.loc[NEW, "c_star_a"])
    assert by_cell.loc[NEW, "seed"] == 7


def test_same_files_and_same_numbers(found):
    by_cell = found.cells.set_index("cell")
    assert by_cell.index[by_cell["same_files"].fillna(value=False)].tolist() == [UNCHANGED]
    assert by_cell.index[by_cell["same_numbers"].fillna(value=False)].tolist() == [UNCHANGED]
    assert by_cell.loc[UNCHANGED, "changed"] == ""


def test_largest_difference_is_reported_with_its_place(roots, found):
    by_cell = found.cells[found.cells["found_in"] == "both"].set_index("cell")
    assert by_cell.loc[UNCHANGED, ["differs_in", "largest_difference", "differs_at"]].isna().all()
    for name, row in by_cell.drop(UNCHANGED).iterrows():
        files = [json.loads((root / name / "pmass.json").read_text()) for root in roots]
        gaps = [
            (abs(one - two), f"alpha {float(alpha):g}, prompt {prompt}, fork {fork}")
            for alpha, rows in files[0]["pmass_eval"].items()
            for prompt, values in enumerate(rows)
            for fork, one, two in zip(
                files[0]["fork_points"], values, files[1]["pmass_eval"][alpha][prompt], strict=True
            )
        ]
        size, place = max(gap for gap in gaps if not math.isnan(gap[0]))
        assert row["differs_in"] == "pmass_eval"
        assert row["largest_difference"] == pytest.approx(size, abs=1e-6)
        assert row["differs_at"].startswith(f"{place}: ")


def test_differing_settings_are_counted_and_listed_per_cell(found):
    rows = set(found.settings.itertuples(index=False, name=None))
    assert rows == {("layer", "14", "11", 1), ("measured_with", "not recorded", "recorded", 1)}
    changed = found.cells.set_index("cell")["changed"].dropna()
    assert changed[changed != ""].to_dict() == {OTHER_LAYER: "layer, measured_with"}


def test_columns_are_documented(found):
    assert found.cells.columns.tolist() == list(CELLS)
    assert found.settings.columns.tolist() == list(SETTINGS)
    assert found.doses.columns.tolist() == list(DOSES)
    for names, frame in zip((CELLS, SETTINGS, DOSES), found, strict=True):
        assert len(frame.columns) == len(names)
        assert set(names) <= set(re.findall(r"\w+", isoklx.compare.__doc__))


@pytest.mark.parametrize("metric", ["pmass_eval", "pmass", "kl"])
def test_a_sweep_equals_itself(sample_ds, metric):
    found = isoklx.compare(sample_ds, sample_ds, metric, 3 if metric == "kl" else None)
    assert found.settings.empty
    assert (found.cells["found_in"] == "both").all()
    assert found.cells[["same_files", "same_numbers"]].all(axis=None)
    assert (found.cells["c_star_ratio"] == 1).all()
    assert (found.doses["end_difference"] == 0).all()
    np.testing.assert_allclose(found.doses["end_lower"], -found.doses["end_upper"])
    assert (found.doses["survival_a"] == found.doses["survival_b"]).all()
    assert not (found.doses["p_value"] < 1).any()


def test_the_measured_sweep_equals_itself(real):
    found = isoklx.compare(real, real)
    assert len(found.doses) == 15  # three seeds of a method are one run
    assert (found.doses["end_difference"] == 0).all()
    assert len(isoklx.compare(real, real, distinct=False).doses) == 45


def test_swapping_the_sweeps_negates_differences(sweeps, found):
    back = isoklx.compare(*sweeps[::-1], threshold=[0.75, 0.95], distinct=False)
    here, there = (each.doses.set_index(["cell", "threshold", "alpha"]) for each in (found, back))
    there = there.loc[here.index]
    for name, opposite, sign in (
        ("end_difference", "end_difference", -1),
        ("end_lower", "end_upper", -1),
        ("end_upper", "end_lower", -1),
        ("survival_a", "survival_b", 1),
        ("kl_p95_a", "kl_p95_b", 1),
        ("p_value", "p_value", 1),
        ("p_holm", "p_holm", 1),
        ("n_prompts", "n_prompts", 1),
    ):
        np.testing.assert_allclose(there[name], sign * here[opposite], atol=1e-12, err_msg=name)
    cells, other = (each.cells.set_index("cell") for each in (found, back))
    other = other.loc[cells.index]
    np.testing.assert_allclose(other["c_star_ratio"], 1 / cells["c_star_ratio"])
    assert other["found_in"].tolist() == [
        {"A": "B", "B": "A"}.get(each, each) for each in cells["found_in"]
    ]
    swapped = back.settings.rename(columns={"a": "b", "b": "a"})[list(SETTINGS)]
    assert set(swapped.itertuples(index=False)) == set(found.settings.itertuples(index=False))


def test_duplicate_doses_in_both_sweeps_are_shown_once(sweeps, found):
    repeated = isoklx.repeats(sweeps[0])
    once = isoklx.compare(*sweeps, threshold=[0.75, 0.95]).doses
    left_out = set(map(tuple, found.doses[["cell", "alpha"]].to_numpy())) - set(
        map(tuple, once[["cell", "alpha"]].to_numpy())
    )
    # At other doses the seeds differ.
    cells = repeated["run_id"].values[(repeated.sel(alpha=0) != "").values]
    assert left_out == {(cell, 0.0) for cell in cells if cell != GONE}
    assert left_out


def sides(seed=0, n_prompt=12):
    """Two sweeps of a cell with two doses, without early ends."""
    rng = np.random.default_rng(seed)
    forks = [0, 2, 4, 8, 16]
    for better in (1, 3):
        pmass = rng.random((1, 2, n_prompt, 5)) ** (0.3 / better)
        ds = small_sweep(pmass, fork=forks)
        yield ds.assign(c_star=("cell", [2.0 * better]), target_kl=("cell", [1.0]))


def test_contrast_equals_that_of_one_sweep_with_both_sides():
    a, b = sides()
    both = small_sweep(
        np.concatenate([b["pmass_eval"], a["pmass_eval"]]),
        fork=a["fork"].values,
        method=["first", "second"],
    )
    expected = survival_contrast(both, threshold=[0.5, 0.75])
    found = isoklx.compare(a, b, threshold=[0.5, 0.75]).doses
    for name in ("end_difference", "end_lower", "end_upper", "p_value", "p_holm", "n_prompts"):
        np.testing.assert_allclose(found[name], expected[name], err_msg=name)


def test_doses_match_within_rounding_and_unmatched_ones_lack_a_difference():
    a, b = sides()
    a, b = a.assign_coords(alpha=[0.3, 1.0]), b.assign_coords(alpha=[0.1 + 0.2, 2.0])
    found = isoklx.compare(a, b)
    assert found.doses["alpha"].tolist() == [0.3, 1.0, 2.0]
    assert found.doses["end_difference"].isna().tolist() == [False, True, True]
    assert found.doses["survival_a"].isna().tolist() == [False, False, True]
    assert found.doses["survival_b"].isna().tolist() == [False, True, False]
    assert found.settings.iloc[0].tolist() == ["doses", "0.3, 1", "0.3, 2", 1]


def test_different_prompts_are_not_paired():
    a, b = sides()
    fewer = isoklx.compare(a, b.isel(prompt=slice(0, 6)))
    assert fewer.cells["prompts"].tolist() == ["different"]
    assert fewer.doses["end_difference"].isna().all()
    assert fewer.doses["survival_b"].notna().all()
    assert fewer.settings["setting"].tolist() == ["prompts"]
    texts = [[f"prompt {i}" for i in range(12)]]
    a = a.assign(prompt_text=(("cell", "prompt"), texts))
    same = isoklx.compare(a, b.assign(prompt_text=(("cell", "prompt"), texts)))
    assert same.cells["prompts"].tolist() == ["same texts"]
    assert same.doses["end_difference"].notna().all()
    other = isoklx.compare(a, b.assign(prompt_text=(("cell", "prompt"), [texts[0][::-1]])))
    assert other.cells["prompts"].tolist() == ["different"]
    assert other.doses["end_difference"].isna().all()


def test_an_array_missing_in_one_sweep_only_removes_the_difference(sample_ds):
    without = sample_ds.assign(pmass_eval=sample_ds["pmass_eval"].where(False))
    found = isoklx.compare(sample_ds, without)
    assert found.doses["survival_a"].notna().all()
    assert found.doses[["survival_b", "end_difference", "p_holm"]].isna().all(axis=None)
    assert found.doses["kl_p95_b"].notna().all()
    neither = isoklx.compare(without, without.drop_vars("pmass_eval"))
    assert neither.doses[["survival_a", "survival_b"]].isna().all(axis=None)
    assert neither.cells["same_numbers"].all()


def test_calibrated_cells_without_results_have_a_row_but_no_doses(sample_ds):
    bare = sample_ds.isel(alpha=slice(0))
    found = isoklx.compare(bare, bare)
    assert len(found.cells) == 12
    assert found.doses.empty
    assert found.cells["same_numbers"].isna().all()
    assert set(found.cells["prompts"]) == {"none"}


def test_single_cells_and_lazy_sweeps_can_be_compared(sweeps, found):
    one = [ds.sel(run_id=COPY, alpha=[1.0, 2.0]) for ds in sweeps]
    expected = found.doses[(found.doses["cell"] == COPY) & found.doses["alpha"].isin([1.0, 2.0])]
    expected = expected[expected["threshold"] == 0.75].drop(columns="p_holm")
    for pair in (one, [ds.chunk(prompt=3) for ds in one]):
        rows = isoklx.compare(*pair).doses.drop(columns="p_holm")
        pd.testing.assert_frame_equal(rows, expected.reset_index(drop=True))


def test_cells_with_equal_run_ids_are_paired_by_label(sweeps, found):
    again = isoklx.compare(sweeps[0].isel(cell=slice(None, None, -1)), sweeps[1])
    expected = found.cells.set_index("cell")["c_star_ratio"]
    for row in again.cells.itertuples():
        np.testing.assert_equal(row.c_star_ratio, expected[row.cell])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 8}, "no cell is in both A and B: window is 16 in A and 8 in B"),
        ({"method": "other"}, "no cell is in both A and B: method is pca in A and other in B"),
    ],
)
def test_sweeps_without_common_cells_are_refused_with_a_list(change, message):
    a, b = sides()
    b = b.assign_coords({name: ("cell", [value]) for name, value in change.items()})
    with pytest.raises(UsageError, match=message):
        isoklx.compare(a, b)


def test_empty_sweeps_and_other_datasets_are_refused(sample_ds):
    with pytest.raises(UsageError, match="B has no cells"):
        isoklx.compare(sample_ds, sample_ds.isel(cell=[]))
    with pytest.raises(DatasetError, match="not an isoklx sweep: it has no c_star"):
        isoklx.compare(sample_ds, sample_ds.drop_vars("c_star"))
    with pytest.raises(UsageError, match="threshold of pmass_eval must be"):
        isoklx.compare(sample_ds, sample_ds, threshold=2)
    with pytest.raises(UsageError, match="metric 'x' not found"):
        isoklx.compare(sample_ds, sample_ds, "x")
