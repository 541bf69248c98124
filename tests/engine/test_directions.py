"""The direction of a cell, from pairs or from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.directions import Direction, direction_of
from isoklx.engine.vectors import read_steering
from isoklx.errors import UsageError
from tests.engine.prepared_cells import parts, tiny

WIDTH, DEPTH = 128, 4


def found(folder: Path, **options: object) -> Direction:
    plan, inputs, tokenised = parts(folder, **options)
    return direction_of(plan, tiny(), inputs, tokenised)


def test_the_default_layer_is_at_six_tenths_of_the_depth(tmp_path: Path) -> None:
    assert list(found(tmp_path).steering.vectors) == [2]
    assert list(found(tmp_path, layer=(0.0, 3)).steering.vectors) == [0, 3]


def test_pairs_and_vectors_are_hashed(tmp_path: Path) -> None:
    first, again = found(tmp_path), found(tmp_path)
    assert first.sha256 == again.sha256
    assert set(first.sha256) == {"pairs", "vector"}
    others = [found(tmp_path, layer=(1,)), found(tmp_path, method="pca")]
    assert len({each.sha256["vector"] for each in (first, *others)}) == 3


def test_a_vector_file_is_used_unchanged(tmp_path: Path) -> None:
    vector = np.arange(WIDTH, dtype=np.float32)
    np.save(tmp_path / "mine.npy", vector)
    direction = found(tmp_path, vector=tmp_path / "mine.npy", layer=(1,))
    assert direction.steering.action == "add"
    np.testing.assert_array_equal(direction.steering.vectors[1], vector)
    assert set(direction.sha256) == {"vector"}
    assert direction.start > 0


def test_a_written_direction_is_read_back_and_not_rewritten(tmp_path: Path) -> None:
    direction = found(tmp_path, method="directional_ablation")
    (tmp_path / "cell").mkdir()
    direction.write(tmp_path / "cell")
    path = tmp_path / "cell" / "vector.safetensors"
    read = read_steering(path, hidden=WIDTH, depth=DEPTH)
    assert (read.action, read.method) == ("ablate", "directional_ablation")
    np.testing.assert_array_equal(read.vectors[2], direction.steering.vectors[2])
    before = path.stat().st_mtime_ns
    direction.write(tmp_path / "cell")
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in (tmp_path / "cell").iterdir()] == [path.name]


def test_an_answer_too_long_for_the_model_is_named_with_its_file(tmp_path: Path) -> None:
    plan, inputs, tokenised = parts(tmp_path)
    pairs = tmp_path / "long.jsonl"
    rows = [("Yes", "No"), ("Yes", "No " * 3000)]
    pairs.write_text(
        "".join(json.dumps({"prompt": "?", "positive": a, "negative": b}) + "\n" for a, b in rows)
    )
    plan, inputs, tokenised = parts(tmp_path, pairs=pairs)
    with pytest.raises(UsageError) as error:
        direction_of(plan, tiny(), inputs, tokenised)
    assert str(error.value).startswith(f"{pairs}: pair 2: an answer with its prompt must fit ")
    assert " the model's context of 1024 tokens, got " in str(error.value)
