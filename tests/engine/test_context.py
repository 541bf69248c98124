"""Context of a cell, and its record in calib.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.batches import rows_that_fit
from isoklx.engine.context import prepared
from isoklx.errors import UsageError
from tests.engine.prepared_cells import cell, parts, tiny

CELL = "tiny_mean_diff_s0_w8"


def recorded(path: Path, batch: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"measured_with": {"batch": batch}}))


def test_everything_that_decides_the_numbers_is_recorded(tmp_path: Path) -> None:
    calib = cell(tmp_path, temperature=0.5, statistic="rms", target_kl=0.5).calib
    assert json.loads(json.dumps(calib)) == calib
    assert calib["target_stat"] == "rms"
    assert calib["target_kl"] == 0.5
    assert "c_star" not in calib
    with_ = calib["measured_with"]
    assert with_["temperature"] == 0.5
    assert with_["action"] == "add"
    assert with_["layers"] == [calib["layer"]] == [2]
    assert {"isoklx", "torch", "transformers", "dtype", "device", "attention"} <= set(with_)
    assert with_["end_ids"] == [1]
    assert with_["identity"].keys() == {
        *("weights", "config", "chat_template", "suffix_ids"),
        *("prompt_ids", "calib_prompt_ids", "question_ids", "pair_ids"),
    }
    assert with_["identity"]["chat_template"] == "none"
    assert with_["sha256"].keys() == {*("pairs", "prompts", "calib_prompts", "questions", "vector")}


@pytest.mark.parametrize(("count", "rows"), [(1, None), (4, "depth"), (5, "depth + 1")])
def test_how_the_rows_of_a_vector_file_were_numbered_is_recorded(
    tmp_path: Path, count: int, rows: str | None
) -> None:
    content = np.random.default_rng(0).normal(size=(count, 128)).astype(np.float32)
    np.save(tmp_path / "rows.npy", content)
    options = {"vector": tmp_path / "rows.npy", "layer": (2,)}
    made = cell(tmp_path, **options)
    np.testing.assert_array_equal(
        made.direction.steering.vectors[2], content[{1: 0, 4: 2, 5: 3}[count]]
    )
    assert made.calib["measured_with"].get("vector_rows") == rows
    # A cell that was begun before it was recorded goes on without.
    recorded(tmp_path / "out" / made.plan.run_id / "calib.json", 4)
    assert "vector_rows" not in cell(tmp_path, **options).calib["measured_with"]


@pytest.mark.parametrize("same", [True, False])
def test_the_same_content_keeps_the_name_and_commit_that_a_cell_was_begun_with(
    tmp_path: Path, same: bool
) -> None:
    plan, inputs, _ = parts(tmp_path)
    begun = replace(tiny(), name="org/tiny", commit="a" * 40)
    calib = prepared(plan, begun, inputs, tmp_path / "out").calib
    (tmp_path / "out" / CELL).mkdir(parents=True)
    (tmp_path / "out" / CELL / "calib.json").write_text(json.dumps(calib))
    identity = tiny().identity if same else {**tiny().identity, "weights": "sha256:0"}
    later = replace(tiny(), commit="b" * 40, identity=identity)
    if same:
        assert prepared(plan, later, inputs, tmp_path / "out").calib == calib
        return
    with pytest.raises(UsageError, match=r"was begun with other weights \(then .*, now sha256:0\)"):
        prepared(plan, later, inputs, tmp_path / "out")


def test_the_batch_size_is_the_requested_one_or_what_fits(tmp_path: Path) -> None:
    assert cell(tmp_path, batch=3).batch == 3
    free = cell(tmp_path, batch=None)
    assert free.batch == rows_that_fit(tiny().model, free.tokenised, 8)


@pytest.mark.parametrize(
    "place", ["tiny_mean_diff_s0_w8/calib.json", "_measuring/tiny_mean_diff_s0_w8/made_with.json"]
)
def test_a_begun_cell_keeps_its_batch_size(tmp_path: Path, place: str) -> None:
    recorded(tmp_path / "out" / place, 7)
    assert cell(tmp_path, batch=None).batch == 7
    recorded(tmp_path / "out" / place, "seven")
    assert cell(tmp_path, batch=None).batch != 7
