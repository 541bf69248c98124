import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoklx.cells.reading import Choice, read_cell
from isoklx.errors import CellError
from tests.handmade import NAN, kl, make_cell


def test_labels_come_from_calib_json_and_the_folder(tmp_path):
    cell = read_cell(make_cell(tmp_path, "run 7", calib={"model": "a/b/c", "extra": [1]}))
    labels = dict(cell.labels)
    assert np.isnan(labels.pop("temperature"))
    assert labels == {
        "run_id": "run 7",
        "model": "a/b/c",
        "model_short": "c",
        "method": "pca",
        "seed": 0,
        "layer": 3,
        "window": 4,
        "sign": "+",
    }
    assert (cell.data["c_star"], cell.data["target_kl"]) == (1.5, 1.0)


@pytest.mark.parametrize(("c_star", "sign"), [(1.5, "+"), (-0.25, "-"), (0, "+"), (-0.0, "+")])
def test_the_sign_label_is_the_sign_of_c_star(tmp_path, c_star, sign):
    assert read_cell(make_cell(tmp_path, calib={"c_star": c_star})).labels["sign"] == sign
    again = {"c_star": c_star, "sign": sign}
    assert read_cell(make_cell(tmp_path, "again", calib=again)).labels["sign"] == sign


def test_a_recorded_sign_that_contradicts_c_star_is_an_error(tmp_path):
    folder = make_cell(tmp_path, calib={"c_star": 1.5, "sign": "-"})
    with pytest.raises(CellError, match=r"calib\.json: sign '-' contradicts c_star ="):
        read_cell(folder)


def test_other_values_of_sign_are_ignored(tmp_path):
    assert read_cell(make_cell(tmp_path, calib={"sign": [-1]})).labels["sign"] == "+"


@pytest.mark.parametrize("measured_with", [None, {}, {"temperature": None}])
def test_an_unrecorded_temperature_is_nan(tmp_path, measured_with):
    cell = read_cell(make_cell(tmp_path, calib={"measured_with": measured_with}))
    assert np.isnan(cell.labels["temperature"])


def test_the_temperature_comes_from_measured_with(tmp_path):
    cell = read_cell(make_cell(tmp_path, calib={"measured_with": {"temperature": 1}}))
    assert cell.labels["temperature"] == 1.0


@pytest.mark.parametrize("value", ["hot", True, NAN, [0.7]])
def test_a_temperature_must_be_a_number(tmp_path, value):
    folder = make_cell(tmp_path, calib={"measured_with": {"temperature": value}})
    with pytest.raises(
        CellError, match=r"calib\.json: measured_with\.temperature must be a .*, got"
    ):
        read_cell(folder)


def test_alphas_are_parsed_from_any_spelling(tmp_path):
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"2": [[0.5]], "0.25": [[0.1]], "-1": []})))
    assert_array_equal(cell.alpha, [-1.0, 0.25, 2.0])
    assert_array_equal(cell.data["kl"][1:, 0, 0], np.float32([0.1, 0.5]))


@pytest.mark.parametrize("file", ["trajectory", "pmass"])
def test_two_keys_with_the_same_alpha_are_an_error(tmp_path, file):
    rows = {"1": [[0.5]], "1.0": [[0.5]]}
    content = kl(rows) if file == "trajectory" else {"fork_points": [0], "pmass_eval": rows}
    with pytest.raises(CellError, match=r'\["1"\] and .*\["1.0"\] are the same alpha, 1'):
        read_cell(make_cell(tmp_path, **{file: content}))


def test_files_may_spell_an_alpha_differently(tmp_path):
    pmass = {"fork_points": [0], "pmass_eval": {"1.0": [[0.9]]}}
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1": [[0.5]]}), pmass=pmass))
    assert_array_equal(cell.alpha, [1.0])


@pytest.mark.parametrize(
    "ended", [[0.5, NAN, NAN, NAN], [0.5, None, None, None], [0.5], [0.5, NAN]]
)
def test_nan_null_and_short_rows_all_become_nan(tmp_path, ended):
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1.0": [[1, 2, 3, 4], ended]})))
    assert_array_equal(cell.data["kl"], np.float32([[[1, 2, 3, 4], [0.5, NAN, NAN, NAN]]]))
    assert_array_equal(cell.data["gen_len"], [[4, 1]])


def test_rows_longer_than_the_window_are_cut_to_it(tmp_path):
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1.0": [[1, 2, 3, 4, 5, 6], [1]]})))
    assert_array_equal(cell.data["kl"], np.float32([[[1, 2, 3, 4], [1, NAN, NAN, NAN]]]))


def test_a_claimed_window_allocates_nothing(tmp_path):
    folder = make_cell(tmp_path, calib={"window": 2**31 - 1}, trajectory=kl({"1.0": [[1, 2]]}))
    assert read_cell(folder).data["kl"].shape == (1, 1, 2)


def test_tiny_negative_kl_is_kept(tmp_path):
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1.0": [[-1.1920928955078125e-07]]})))
    assert cell.data["kl"].item() == -1.1920928955078125e-07


def test_calib_json_alone_is_a_cell_without_kl_and_pmass(tmp_path):
    cell = read_cell(make_cell(tmp_path))
    assert not cell.data["has_kl"]
    assert not cell.data["has_pmass"]
    assert cell.data["kl"].shape == (0, 0, 0)
    assert cell.notes == ()


def test_a_trajectory_without_per_prompt_kl_is_a_stale_cell(tmp_path):
    cell = read_cell(make_cell(tmp_path, trajectory={"per_t_p95_kl": {"1.0": [0.0]}}))
    assert not cell.data["has_kl"]
    assert cell.notes == ("trajectory.json: stale, per_prompt_per_t_kl is missing",)


def test_pmass_is_indexed_by_the_cells_own_forks(tmp_path):
    pmass = {
        "fork_points": [0, 2, 4],
        "pmass_eval": {"1.0": [[0.9, 0.8, NAN], [0.7]]},
        "pmass": {"1.0": [[0.6, None, 0.5]]},
        "p_true": {"1.0": [[0.25, 0.5, 0.75]]},
        "gen_lens_eval": {"1.0": [3, 1]},
        "gen_lens_qa": {"1.0": [4]},
    }
    cell = read_cell(make_cell(tmp_path, pmass=pmass))
    assert_array_equal(cell.fork, [0, 2, 4])
    assert_array_equal(cell.data["pmass_eval"], np.float32([[[0.9, 0.8, NAN], [0.7, NAN, NAN]]]))
    assert_array_equal(cell.data["pmass"], np.float32([[[0.6, NAN, 0.5]]]))
    assert_array_equal(cell.data["p_true"], np.float32([[[0.25, 0.5, 0.75]]]))
    assert_array_equal(cell.data["gen_len"], [[3, 1]])
    assert_array_equal(cell.data["gen_len_qa"], [[4]])
    assert cell.data["has_pmass"]


def test_skipped_questions_have_no_pmass(tmp_path):
    pmass = {"fork_points": [0], "pmass": {"1.0": []}, "pmass_eval": {"1.0": [[0.5]]}}
    cell = read_cell(make_cell(tmp_path, pmass=pmass))
    assert cell.data["pmass"].size == 0
    assert_array_equal(cell.data["pmass_eval"], [[[0.5]]])


def test_computed_false_means_no_pmass(tmp_path):
    pmass = {"computed": False, "fork_points": [0], "pmass_eval": {"1.0": [[0.0]]}}
    cell = read_cell(make_cell(tmp_path, pmass=pmass))
    assert not cell.data["has_pmass"]
    assert cell.fork.size == cell.alpha.size == 0


def test_gen_len_is_recorded_or_counted_from_finite_kl(tmp_path):
    rows = {"0.5": [[1, 2], [1, NAN]], "1.0": [[1, 2], [1, NAN]]}
    pmass = {"fork_points": [], "gen_lens_eval": {"1.0": [4, None]}}
    cell = read_cell(make_cell(tmp_path, trajectory=kl(rows), pmass=pmass))
    assert_array_equal(cell.data["gen_len"], [[2, 1], [4, 1]])


def test_gen_len_is_missing_without_a_rollout(tmp_path):
    pmass = {"fork_points": [0], "pmass_eval": {"2.0": [[0.5]]}}
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1.0": [[1, 2]]}), pmass=pmass))
    assert_array_equal(cell.data["gen_len"], [[2], [-1]])


def test_dose_summaries_are_read_from_results_csv(tmp_path):
    results = "alpha,coeff,kl_p95,kl_mean,kl_max\n1.0,7.0,8.0,9.0,10.0\n"
    cell = read_cell(make_cell(tmp_path, trajectory=kl({"1": [[1, 2]]}), results=results))
    doses = {name: cell.data[name].tolist() for name in ("coeff", "kl_p95", "kl_mean", "kl_max")}
    assert doses == {"coeff": [7.0], "kl_p95": [8.0], "kl_mean": [9.0], "kl_max": [10.0]}


def test_unrecorded_dose_summaries_are_computed(tmp_path):
    rows = {"1.0": [[0.0, 1.0, NAN], [2.0, 3.0, 4.0]], "2.0": [[1.0]]}
    results = "alpha,kl_p95,kl_max\n1.0,,99.0\n4.0,nan,\n"
    cell = read_cell(make_cell(tmp_path, trajectory=kl(rows), results=results))
    assert_array_equal(cell.alpha, [1.0, 2.0, 4.0])
    assert_array_equal(cell.data["coeff"], [1.5, 3.0, 6.0])
    assert_array_equal(cell.data["kl_mean"], [2.0, 1.0, NAN])
    assert_array_equal(cell.data["kl_max"], [99.0, 1.0, NAN])
    np.testing.assert_allclose(cell.data["kl_p95"], [3.8, 1.0, NAN], rtol=1e-15)


def test_every_calibration_step_is_read(tmp_path):
    steps = [
        {"coeff": c, "coeff_abs": abs(c), "kl_mean": 0.1, "kl_p95": c * c, "kl_max": 5, "n_pos": 9}
        for c in (-0.5, 1.0)
    ]
    cell = read_cell(make_cell(tmp_path, history=steps))
    assert_array_equal(cell.data["calib_coeff"], [-0.5, 1.0])
    assert_array_equal(cell.data["calib_kl_p95"], [0.25, 1.0])
    assert_array_equal(cell.data["calib_kl_mean"], [0.1, 0.1])
    assert_array_equal(cell.data["calib_kl_max"], [5.0, 5.0])


def test_a_value_lossy_in_float32_is_noted_and_kept_by_float64(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1.0": [[0.5], [0.5, 1e39], [1e-60]]}))
    assert read_cell(folder).notes == (
        'trajectory.json: float32 does not hold per_prompt_per_t_kl["1.0"][1][1] = 1e+39 '
        "to within 1e-06 (one of 2); --dtype=float64 does",
    )
    wide = read_cell(folder, dtype="float64")
    assert wide.notes == ()
    assert_array_equal(wide.data["kl"], [[[0.5, NAN], [0.5, 1e39], [1e-60, NAN]]])


def test_only_the_labels_of_an_unselected_cell_are_read(tmp_path):
    folder = make_cell(tmp_path, trajectory="{ half")
    for choice in (Choice(window=8), Choice(model_contains="huge")):
        unread = read_cell(folder, choice=choice)
        assert not unread.wanted
        assert unread.labels["window"] == 4


def test_known_content_is_not_parsed_again(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1.0": [[0.5]]}))
    cell = read_cell(folder)
    unread = read_cell(folder, known_hash=cell.data["source_hash"])
    assert unread.wanted
    assert unread.stamps == cell.stamps
    assert set(cell.stamps) == {"calib.json", "trajectory.json"}


def test_the_hash_changes_exactly_with_the_source_files(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1.0": [[0.5]]}))
    first = read_cell(folder).data["source_hash"]
    (folder / "gens.jsonl").write_text("{}")
    assert read_cell(folder).data["source_hash"] == first
    (folder / "history.json").write_text("[]")
    assert read_cell(folder).data["source_hash"] != first


BROKEN = {
    "half written": ("trajectory", '{"per_prompt_per_t_kl": {"1.0": [[0.5', "half written: EOF"),
    "empty": ("pmass", "", "half written: EOF"),
    "null": ("trajectory", "null", "must be an object, got null"),
    "a list for an object": ("trajectory", [], "the file must be an object, got a list of 0"),
    "an object for a list": ("history", {}, "the file must be a list, got an object"),
    "no step": ("history", [3], r"\[0\] must be an object, got 3"),
    "a step without p95": ("history", [{"coeff": 1}], "kl_mean is missing"),
    "an alpha that is not a number": ("trajectory", kl({"one": []}), "a finite number, got 'one'"),
    "an alpha that is nan": ("trajectory", kl({"nan": []}), "a finite number, got 'nan'"),
    "infinite kl": (
        "trajectory",
        '{"per_prompt_per_t_kl":{"1":[[0,Infinity]]}}',
        r"\[0\]\[1\] must be a finite number, got inf",
    ),
    "1e400": (
        "trajectory",
        '{"per_prompt_per_t_kl":{"1":[[1e400]]}}',
        r"\[0\]\[0\] must be a finite number, got inf",
    ),
    "a vast integer": (
        "trajectory",
        kl({"1": [[10**400]]}),
        r"\[0\]\[0\] must be a finite number, got 1000",
    ),
    "text among numbers": (
        "trajectory",
        kl({"1": [[0.5], [0.5, "0.5"]]}),
        r"\[1\]\[1\] must be a number, got '0.5'",
    ),
    "a boolean among numbers": (
        "trajectory",
        kl({"1": [[True, 0.5]]}),
        r"\[0\]\[0\] must be a number, got true",
    ),
    "a list among numbers": (
        "trajectory",
        kl({"1": [[[0.5]]]}),
        r"\[0\]\[0\] must be a number, got a list of 1",
    ),
    "a row that is no list": (
        "trajectory",
        kl({"1": [[0.5], 0.5]}),
        r'\["1"\]\[1\] must be a list, got 0.5',
    ),
    "more pmass than forks": (
        "pmass",
        {"fork_points": [0], "pmass_eval": {"1": [[0.5, 0.5]]}},
        r'pmass_eval\["1"\]\[0\] must have at most 1 values, got 2',
    ),
    "forks that fall": (
        "pmass",
        {"fork_points": [0, 2, 1]},
        r"fork_points\[2\] must be greater than 2, got 1",
    ),
    "a fork that is not whole": ("pmass", {"fork_points": [0.5]}, "a whole number, got 0.5"),
    "negative gen_len": (
        "pmass",
        {"gen_lens_eval": {"1": [-2]}},
        r"gen_lens_eval\[.*\]\[0\] must be between .*, got -2",
    ),
    "computed as text": (
        "pmass",
        {"computed": "false"},
        "computed must be true or false, got 'false'",
    ),
    "a key twice": ("pmass", '{"pmass": {"1": [], "1": []}}', "uplicate"),
    "a half line": ("results", "alpha,coeff\n1.0,2.", "the last line has no line break"),
    "a short line": ("results", "alpha,coeff\n1.0\n", "line 2 has more or fewer values"),
    "no alpha": ("results", "coeff\n1.0\n", "line 1 has no column alpha"),
    "an alpha twice": ("results", "alpha,coeff\n1,1\n1.0,1\n", "line 3 repeats alpha 1"),
    "text for a dose": (
        "results",
        "alpha,coeff\n1.0,x\n",
        "line 2, coeff must be a finite number, got 'x'",
    ),
}


@pytest.mark.parametrize(("file", "content", "reason"), BROKEN.values(), ids=BROKEN)
def test_an_invalid_file_is_reported_with_folder_place_and_reason(tmp_path, file, content, reason):
    folder = make_cell(tmp_path, **{file: content})
    with pytest.raises(CellError, match=reason) as caught:
        read_cell(folder)
    name = "results.csv" if file == "results" else f"{file}.json"
    assert (caught.value.folder, caught.value.file) == (folder, name)
    assert str(caught.value).startswith(f"{folder / name}: ")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("window", 0, "window must be between 1 and 2147483647, got 0"),
        ("window", 10**12, "window must be between .*, got 1000000000000"),
        ("window", 4.5, "window must be a whole number, got 4.5"),
        ("window", None, "window is missing"),
        ("seed", "0", "seed must be a whole number, got '0'"),
        ("model", " ", "model must be a non-empty string, got ' '"),
        ("method", "a\0b", r"method must be one line of Unicode text, got "),
        ("c_star", NAN, "c_star must be a finite number, got nan"),
        ("target_kl", True, "target_kl must be a number, got true"),
    ],
)
def test_an_invalid_label_is_reported_with_its_value(tmp_path, key, value, reason):
    with pytest.raises(CellError, match=reason):
        read_cell(make_cell(tmp_path, calib={key: value}))


def test_a_folder_without_calib_json_is_an_error(tmp_path):
    with pytest.raises(CellError, match=r"calib\.json: missing"):
        read_cell(tmp_path)


def test_truncation_at_any_byte_is_detected(tmp_path):
    whole = json.dumps(kl({"1.0": [[0.5, NAN]]})).encode()
    folder = make_cell(tmp_path, trajectory=whole)
    for length in range(len(whole)):
        (folder / "trajectory.json").write_bytes(whole[:length])
        with pytest.raises(CellError, match="half written"):
            read_cell(folder)


def test_an_error_can_be_pickled():
    import pickle

    error = CellError(Path("root/cell"), "pmass.json", "half written")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.folder, copy.file, str(copy)) == (error.folder, error.file, str(error))
