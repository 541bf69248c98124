from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoklx.errors import UsageError
from isoklx.simulation.sweep import CellSpec, grid, simulate
from isoklx.simulation.sweep import sample as sample_cells

PER_ALPHA = {"pmass", "pmass_eval", "p_true", "argmax_str", "was_thinking", "answer_label"}
SMALL = CellSpec(window=16, prompts=3, questions=2, alphas=(0.0, 1.0, 4.0))


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def kl_of(folder: Path, alpha: str) -> np.ndarray:
    rows = read(folder, "trajectory")["per_prompt_per_t_kl"][alpha]
    return np.array(rows, dtype=float)


def results_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results.csv").read_text().splitlines()))


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def shape(record: Any) -> Any:
    """Return ordered keys and types of leaves; a list is represented by its first element."""
    if isinstance(record, dict):
        return [(key, shape(value)) for key, value in record.items()]
    return [shape(record[0])] if isinstance(record, list) and record else type(record)


def test_a_cell_has_the_keys_types_and_layout_of_a_measured_cell(real_root, tmp_path):
    measured = real_root / "Qwen3.5-0.8B_pca_s0_w512"
    alphas = (0.0, 0.5, 1.0, 2.0, 4.0)
    spec = CellSpec(model="Qwen/Qwen3.5-0.8B", window=512, alphas=alphas, questions=0)
    (made,) = simulate(tmp_path, [spec])
    assert made.name == measured.name
    assert {p.name for p in made.iterdir()} == {p.name for p in measured.iterdir()}
    for name in ("calib", "history", "trajectory", "pmass"):
        assert shape(read(made, name)) == shape(read(measured, name))
    assert read(made, "pmass")["fork_points"] == read(measured, "pmass")["fork_points"]
    header, first, *rest = (made / "results.csv").read_bytes().split(b"\r\n")
    assert (measured / "results.csv").read_bytes().startswith(header + b"\r\n" + first + b"\r\n")
    assert len(rest) == len(alphas)


@pytest.mark.parametrize("name", ["calib", "history", "trajectory", "pmass"])
def test_files_are_json_with_an_indent_of_two(tmp_path, name):
    (folder,) = simulate(tmp_path, [SMALL])
    text = (folder / f"{name}.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2)


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    simulate(tmp_path / "a", [SMALL])
    simulate(tmp_path / "b", [SMALL])
    simulate(tmp_path / "c", [SMALL], seed=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_cell_does_not_depend_on_the_others(tmp_path):
    cells = grid(windows=(8, 16), prompts=2)
    alone = simulate(tmp_path / "alone", cells[-1:])[0]
    among = simulate(tmp_path / "among", cells)[-1]
    assert contents(alone) == contents(among)


def test_an_alpha_does_not_depend_on_the_others(tmp_path):
    few, many = (
        simulate(tmp_path / str(len(alphas)), [replace(SMALL, alphas=alphas)])[0]
        for alphas in ((1.0,), (0.5, 1.0, 2.0))
    )
    np.testing.assert_array_equal(kl_of(few, "1.0"), kl_of(many, "1.0"))


def test_cells_that_differ_in_a_label_differ_in_kl(tmp_path):
    cells = grid(["a/x", "a/y"], ["pca", "mean_diff"], [0, 1], prompts=2)
    trajectories = {kl_of(folder, "1.0").tobytes() for folder in simulate(tmp_path, cells)}
    assert len(trajectories) == 8


def test_repeated_seeds_differ_only_in_their_label(tmp_path):
    first, second = (
        contents(folder) for folder in simulate(tmp_path, grid(methods=["pca"], repeat_seeds=True))
    )
    calib = json.loads(first.pop("calib.json")), json.loads(second.pop("calib.json"))
    assert calib[1] == {**calib[0], "seed": 1}
    assert first == second


@pytest.mark.parametrize("ending", ["nan", "null", "short"])
def test_an_ended_rollout_is_spelled_as_requested(tmp_path, ending):
    spec = CellSpec(prompts=20, ends_early=0.5, ending=ending)
    (folder,) = simulate(tmp_path, [spec])
    rows = read(folder, "trajectory")["per_prompt_per_t_kl"]["1.0"]
    ends = read(folder, "pmass")["gen_lens_eval"]["1.0"]
    assert min(ends) < spec.window
    filler = {"nan": "NaN", "null": "null"}.get(ending)
    for row, end in zip(rows, ends, strict=True):
        assert all(isinstance(value, float) for value in row[:end])
        rest = [] if filler is None else [filler] * (spec.window - end)
        assert [json.dumps(value) for value in row[end:]] == rest


def test_the_spelling_of_the_end_changes_no_number(tmp_path):
    spec = CellSpec(prompts=4, ends_early=0.5)
    nan, null = (
        simulate(tmp_path / ending, [replace(spec, ending=ending)])[0] for ending in ("nan", "null")
    )
    np.testing.assert_array_equal(kl_of(nan, "1.0"), kl_of(null, "1.0"))


def test_pmass_is_finite_up_to_the_end_of_the_rollout(tmp_path):
    (folder,) = simulate(tmp_path, [CellSpec(prompts=30, questions=30, ends_early=0.5)])
    record = read(folder, "pmass")
    forks = np.array(record["fork_points"])
    for values, ends in (("pmass_eval", "gen_lens_eval"), ("pmass", "gen_lens_qa")):
        for alpha, rows in record[values].items():
            ended = np.array(record[ends][alpha])[:, np.newaxis]
            np.testing.assert_array_equal(np.isfinite(rows), forks <= ended)


def test_p_true_is_a_share_of_pmass_and_ends_with_it(tmp_path):
    simulate(tmp_path, [replace(SMALL, ends_early=0.5)])
    pmass = json.loads((tmp_path / SMALL.run_id / "pmass.json").read_text())
    for alpha, rows in pmass["p_true"].items():
        share, mass = np.array(rows, float), np.array(pmass["pmass"][alpha], float)
        np.testing.assert_array_equal(np.isnan(share), np.isnan(mass))
        # The collapse reduces pmass, not p_true.
        assert np.nanmax(np.maximum(share, 1 - share)) > 0.7


def test_an_alpha_is_spelled_as_given(tmp_path):
    one, two = simulate(tmp_path, [replace(SMALL, alphas=("1",)), replace(SMALL, seed=1)])
    assert list(read(one, "trajectory")["per_prompt_per_t_kl"]) == ["1"]
    assert list(read(two, "pmass")["pmass_eval"]) == ["0.0", "1.0", "4.0"]
    assert [row["alpha"] for row in results_of(one)] == ["1.0"]


def test_the_spelling_of_an_alpha_changes_no_number(tmp_path):
    (text,) = simulate(tmp_path / "text", [replace(SMALL, alphas=("1",))])
    (number,) = simulate(tmp_path / "number", [replace(SMALL, alphas=(1.0,))])
    np.testing.assert_array_equal(kl_of(text, "1"), kl_of(number, "1.0"))


def test_cells_of_one_sweep_may_differ_in_every_size(tmp_path):
    cells = [
        CellSpec(window=8, alphas=(0.0, 1.0), prompts=1, forks=(0, 4, 8)),
        CellSpec(window=32, alphas=(1.0, 3.0), prompts=5, questions=1),
    ]
    for spec, folder in zip(cells, simulate(tmp_path, cells), strict=True):
        record = read(folder, "pmass")
        assert kl_of(folder, "1.0").shape == (spec.prompts, spec.window)
        assert record["fork_points"] == spec.fork_points
        assert np.shape(record["pmass_eval"]["1.0"]) == (spec.prompts, len(spec.fork_points))
        for name in PER_ALPHA - {"pmass_eval"}:
            assert np.shape(record[name]["1.0"]) == (spec.questions, len(spec.fork_points))


def test_skipped_questions_are_listed_and_have_no_answers(tmp_path):
    (folder,) = simulate(tmp_path, [replace(SMALL, questions=0)])
    record = read(folder, "pmass")
    assert record["questions"]
    assert all(
        record[name][alpha] == []
        for name in [*PER_ALPHA - {"pmass_eval"}, "gen_lens_qa"]
        for alpha in ("0.0", "1.0", "4.0")
    )


def test_a_calibrated_cell_is_calib_json_alone(tmp_path):
    whole = simulate(tmp_path / "whole", [SMALL])[0] / "calib.json"
    (folder,) = simulate(tmp_path, [replace(SMALL, lacks="sweep")])
    assert contents(folder) == {"calib.json": whole.read_bytes()}


def test_an_old_trajectory_has_no_kl_per_prompt(tmp_path):
    (folder,) = simulate(tmp_path, [replace(SMALL, lacks="kl")])
    assert list(read(folder, "trajectory")) == ["fork_points_full", "per_t_p95_kl"]


def test_pmass_that_was_not_computed_is_empty(tmp_path):
    (folder,) = simulate(tmp_path, [replace(SMALL, lacks="pmass")])
    record = read(folder, "pmass")
    assert record["computed"] is False
    assert all(record[name] == {} for name in PER_ALPHA)


def test_every_measured_value_is_a_float32(tmp_path):
    (folder,) = simulate(tmp_path, [SMALL])
    pmass = read(folder, "pmass")
    for values in (
        *(kl_of(folder, alpha) for alpha in ("0.0", "1.0", "4.0")),
        *(np.array(pmass[name]["1.0"]) for name in ("pmass", "pmass_eval", "p_true")),
    ):
        np.testing.assert_array_equal(values.astype(np.float32).astype(float), values)


def test_results_csv_summarises_the_trajectories(tmp_path):
    (folder,) = simulate(tmp_path, [CellSpec(prompts=5, ends_early=0.5)])
    c_star = read(folder, "calib")["c_star"]
    for row in results_of(folder):
        kl = kl_of(folder, row["alpha"])
        expected = np.nanquantile(kl, 0.95), np.nanmean(kl), np.nanmax(kl)
        recorded = [float(row[name]) for name in ("kl_p95", "kl_mean", "kl_max")]
        np.testing.assert_allclose(recorded, expected, rtol=1e-6)
        assert float(row["coeff"]) == float(row["alpha"]) * c_star


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, "window must be .*, got 0"),
        ({"prompts": 0}, "prompts must be .*, got 0"),
        ({"questions": -1}, "questions must be .*, got -1"),
        ({"ends_early": 1.0}, "ends_early must be .*, got 1.0"),
        ({"target_kl": 20.0}, "target_kl must be .*, got 20.0"),
        ({"alphas": ("high",)}, "'high'"),
        ({"ending": "eof"}, "'eof'"),
        ({"lacks": "calib"}, "'calib'"),
    ],
)
def test_an_invalid_cell_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        CellSpec(**wrong)


def test_an_existing_folder_is_left_unchanged(tmp_path):
    simulate(tmp_path, [SMALL])
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=f"{SMALL.run_id} already exists"):
        simulate(tmp_path, [SMALL], seed=1)
    assert contents(tmp_path) == before


def test_the_shipped_sample_can_be_reproduced(sample, tmp_path):
    simulate(tmp_path, sample_cells())
    assert contents(sample) == contents(tmp_path)
    assert sum(map(len, contents(sample).values())) < 3e6


def test_each_side_of_a_direction_has_its_own_draws(tmp_path):
    plus, minus = simulate(tmp_path, [SMALL, replace(SMALL, sign="-")])
    assert (plus.name, minus.name) == ("simulated-1B_pca_s0_w16", "simulated-1B_pca_neg_s0_w16")
    assert read(plus, "calib")["c_star"] > 0 > read(minus, "calib")["c_star"]
    assert {step["sign"] for step in read(minus, "history")} == {-1.0}
    assert read(minus, "history")[-1]["coeff"] == read(minus, "calib")["c_star"]
    assert results_of(minus)[1]["coeff"] == str(read(minus, "calib")["c_star"])
    assert not np.array_equal(kl_of(plus, "1.0"), kl_of(minus, "1.0"))
