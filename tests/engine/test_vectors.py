"""Vector files as other tools write them, and errors in them."""

from __future__ import annotations

import json
import logging
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `run`")
gguf = pytest.importorskip("gguf", reason="needs the extra `run`")
pytest.importorskip("safetensors", reason="needs the extra `run`")

from safetensors.numpy import load, load_file, save_file
from safetensors.torch import save_file as save_tensors

from isoklx.engine.steering import Steering
from isoklx.engine.vectors import read_steering, steering_bytes
from isoklx.errors import UsageError

HIDDEN, DEPTH = 6, 5
ROWS = np.random.default_rng(3).normal(size=(DEPTH, HIDDEN)).astype(np.float32)
"""One vector per layer."""

TWO = {1: ROWS[1], 3: ROWS[3]}


def read(path: Path, layers: list[int] | None = None) -> Steering:
    return read_steering(path, hidden=HIDDEN, depth=DEPTH, layers=layers)


def written_gguf(
    path: Path,
    vectors: dict[int, np.ndarray],
    architecture: str = "controlvector",
    name: str = "direction",
) -> Path:
    """Write a control vector as repeng does."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string(f"{architecture}.model_hint", "llama")
    writer.add_uint32(f"{architecture}.layer_count", len(vectors))
    for layer, vector in vectors.items():
        writer.add_tensor(f"{name}.{layer}", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def written_lite(path: Path, vectors: dict[int, np.ndarray], method: str = "pca") -> Path:
    """Write a vector as steering-lite does."""
    tensors = {f"layer{layer}.v": torch.tensor(vector) for layer, vector in vectors.items()}
    cfg = {"method": method, "layers": sorted(vectors), "coeff": 2.0}
    save_tensors(tensors, path, metadata={"cfg": json.dumps(cfg)})
    return path


def written_svec(path: Path, vectors: dict[int, np.ndarray], **more: object) -> Path:
    """Write a vector as AISteer360 does: rows of one vector."""
    directions = {str(layer): [vector.tolist()] for layer, vector in vectors.items()}
    path.write_text(json.dumps({"model_type": "llama", "directions": directions, **more}))
    return path


def written_hooks(path: Path, vectors: dict[int, np.ndarray], **more: object) -> Path:
    """Write hook points as lm-eval reads them: a vector and its coefficient."""
    hooks = {
        f"layers.{layer}": {
            "steering_vector": torch.tensor(vector)[None] / 4,
            "steering_coefficient": 4.0,
            "action": "add",
            "bias": None,
            **more,
        }
        for layer, vector in vectors.items()
    }
    torch.save(hooks, path)
    return path


def written_npz(path: Path, vectors: dict[int, np.ndarray]) -> Path:
    np.savez(path, **{f"layer_{layer}": vector for layer, vector in vectors.items()})
    return path


WRITERS: dict[str, Callable[[Path, dict[int, np.ndarray]], Path]] = {
    "v.gguf": written_gguf,
    "v.safetensors": written_lite,
    "v.svec": written_svec,
    "v.pt": written_hooks,
    "v.npz": written_npz,
}


@pytest.mark.parametrize("name", WRITERS)
def test_vectors_of_other_tools_are_read_unchanged(tmp_path: Path, name: str) -> None:
    steering = read(WRITERS[name](tmp_path / name, TWO))
    assert steering.action == "add"
    assert list(steering.vectors) == [1, 3]
    for layer, vector in steering.vectors.items():
        np.testing.assert_allclose(vector, TWO[layer], rtol=1e-6)
        assert vector.dtype == np.float32


@pytest.mark.parametrize("name", WRITERS)
def test_a_layer_can_be_selected_and_a_missing_one_is_named(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, TWO)
    np.testing.assert_allclose(read(path, [3]).vectors[3], TWO[3], rtol=1e-6)
    assert list(read(path, [3]).vectors) == [3]
    with pytest.raises(UsageError) as error:
        read(path, [2])
    assert str(error.value) == f"{path}: layer 2 not found; available: 1, 3"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({1: np.ones(4, np.float32)}, "layer 1: must be 6 wide for this model, got 4"),
        (
            {1: ROWS[1], 3: ROWS[3] * [1, 1, np.nan, 1, 1, 1]},
            "layer 3: must be finite in float32, got nan at 2",
        ),
        (
            {2: ROWS[1] * [np.inf, 1, 1, 1, 1, 1]},
            "layer 2: must be finite in float32, got -inf at 0",
        ),
        ({0: ROWS[0], 5: ROWS[3]}, "layer 5 not found: the model has blocks 0 to 4"),
        ({1: ROWS[1] * 0}, "at least one vector must be non-zero, got zeros only"),
    ],
)
def test_an_unsuitable_vector_is_one_line(
    tmp_path: Path, name: str, vectors: dict[int, np.ndarray], said: str
) -> None:
    single = {layer: vector.astype(np.float32) for layer, vector in vectors.items()}
    path = WRITERS[name](tmp_path / name, single)
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value) == f"{path}: {said}"


@pytest.mark.parametrize("name", WRITERS)
def test_layers_of_zeros_are_skipped_unless_requested(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, {1: ROWS[1], 2: ROWS[2] * 0})
    assert list(read(path).vectors) == [1]
    with pytest.raises(UsageError, match="layer 2: vector must be non-zero, got zeros"):
        read(path, [2])


@pytest.mark.parametrize("name", [*WRITERS, "v.npy", "v.pth"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"not a vector\nat all", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(UsageError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: the vector cannot be read: ")
        assert "\n" not in str(error.value)


def test_an_unknown_suffix_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"v\.txt: suffix of a vector file must be one of .*, got '\.txt'$"
    ):
        read(tmp_path / "v.txt")
    with pytest.raises(UsageError, match=r"v\.npy: the vector cannot be read: file not found"):
        read(tmp_path / "v.npy")
    (tmp_path / "w.npy").mkdir()
    with pytest.raises(UsageError, match=r"w\.npy: the vector cannot be read: not a file"):
        read(tmp_path / "w.npy")


@pytest.mark.parametrize("kind", ["npy", "npz", "pt"])
def test_a_single_direction_is_used_at_the_given_layers(tmp_path: Path, kind: str) -> None:
    for number, array in enumerate((ROWS[0], ROWS[:1])):
        path = tmp_path / f"v{number}.{kind}"
        if kind == "npy":
            np.save(path, array)
        elif kind == "npz":
            np.savez(path, direction=array)
        else:
            torch.save(torch.tensor(array), path)
        steering = read(path, [2, 4])
        assert list(steering.vectors) == [2, 4]
        np.testing.assert_array_equal(steering.vectors[4], ROWS[0])
        with pytest.raises(
            UsageError, match="layer of the vector unknown: give it, such as --layer"
        ):
            read(path)


ROW_WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "v.npy": np.save,
    "v.npz": np.savez,
    "named.npz": lambda path, rows: np.savez(path, vector=rows),
    "v.pt": lambda path, rows: torch.save(torch.tensor(rows), path),
    "named.pt": lambda path, rows: torch.save({"vector": torch.tensor(rows)}, path),
}
"""Files with one vector per row and without numbers."""


@pytest.mark.parametrize("name", ROW_WRITERS)
def test_as_many_rows_as_blocks_are_one_per_block(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ROW_WRITERS[name](path, ROWS)
    steering = read(path)
    assert steering.vector_rows == "depth"
    assert list(steering.vectors) == [0, 1, 2, 3, 4]
    for block in range(DEPTH):
        np.testing.assert_array_equal(steering.vectors[block], ROWS[block])
        np.testing.assert_array_equal(read(path, [block]).vectors[block], ROWS[block])
    with pytest.raises(UsageError, match="layer 7 not found; available: 0 to 4"):
        read(path, [7])
    with pytest.raises(UsageError, match="layer -1 not found; available: 0 to 4"):
        read(path, [-1])


@pytest.mark.parametrize("name", ROW_WRITERS)
def test_one_row_more_than_blocks_starts_with_the_embeddings(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    hidden_states = np.vstack([np.full(HIDDEN, 9, np.float32), ROWS])
    path = tmp_path / name
    ROW_WRITERS[name](path, hidden_states)
    with caplog.at_level(logging.INFO, "isoklx.engine"):
        steering = read(path)
    assert caplog.messages == [
        f"{path}: 6 rows for 5 blocks: row 0 is the embeddings, row k + 1 is added to block k"
    ]
    assert steering.vector_rows == "depth + 1"
    assert list(steering.vectors) == [0, 1, 2, 3, 4]
    for block in range(DEPTH):
        np.testing.assert_array_equal(steering.vectors[block], ROWS[block])
        np.testing.assert_array_equal(read(path, [block]).vectors[block], ROWS[block])
    with pytest.raises(UsageError, match="layer 5 not found; available: 0 to 4"):
        read(path, [5])


@pytest.mark.parametrize("layers", [None, [0], [2]])
@pytest.mark.parametrize("name", ROW_WRITERS)
@pytest.mark.parametrize("count", [2, DEPTH - 1, DEPTH + 2, 40])
def test_any_other_number_of_rows_is_refused_with_and_without_a_layer(
    tmp_path: Path, name: str, count: int, layers: list[int] | None
) -> None:
    ROW_WRITERS[name](tmp_path / name, np.ones((count, HIDDEN), np.float32))
    with pytest.raises(
        UsageError, match=f"must hold 1, 5 or 6 rows for a model of 5 blocks, got {count}:"
    ):
        read(tmp_path / name, layers)


@pytest.mark.parametrize("name", WRITERS)
def test_a_layer_beyond_the_model_is_refused_even_if_another_is_selected(
    tmp_path: Path, name: str
) -> None:
    # Layers 1 to 5 of a model with blocks 0 to 4 are numbered from 1.
    path = WRITERS[name](tmp_path / name, {layer + 1: ROWS[layer] for layer in range(DEPTH)})
    for layers in (None, [2]):
        with pytest.raises(UsageError, match="layer 5 not found: the model has blocks 0 to 4"):
            read(path, layers)


def test_a_numbered_vector_must_be_a_single_row(tmp_path: Path) -> None:
    torch.save({"vector": torch.tensor(ROWS), "layer": 2}, tmp_path / "v.pt")
    with pytest.raises(UsageError, match=r"layer 2: must be one vector, got shape \(5, 6\)"):
        read(tmp_path / "v.pt")
    np.savez(tmp_path / "v.npz", layer_2=ROWS)
    with pytest.raises(UsageError, match=r"layer 2: must be one vector, got shape \(5, 6\)"):
        read(tmp_path / "v.npz", [2])


@pytest.mark.parametrize("name", ["arr_0", "v2", "seed1", "happy"])
def test_a_single_array_needs_a_layer(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "v.npz", **{name: ROWS[1]})
    with pytest.raises(UsageError, match="layer of the vector unknown: give it, such as --layer"):
        read(tmp_path / "v.npz")
    np.testing.assert_array_equal(read(tmp_path / "v.npz", [2]).vectors[2], ROWS[1])


def test_unnamed_arrays_are_layers_only_if_one_per_block(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, *ROWS)
    assert list(read(path).vectors) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(read(path, [3]).vectors[3], ROWS[3])
    for arrays in (ROWS[:2], [*ROWS, ROWS[0]]):
        np.savez(path, *arrays)
        for layers in (None, [1]):
            with pytest.raises(
                UsageError, match=r"must be one per block, got arr_0 to arr_\d, and"
            ):
                read(path, layers)


@pytest.mark.parametrize(
    "name",
    ["layer_-1", "layer-1", "layer_1.5", "-1", "1.5", "model.layers.-1", "model.layers.1.5",
     "layers.1.mlp.experts.3", "vision_tower.layers.1", "blocks.2.hook_resid_pre", "pre_layer_2",
     "layer_1e2", "layer_\u0663"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["npz", "several npz", "pt", "list"])
def test_an_ambiguous_name_of_a_block_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / ("v.npz" if "npz" in kind else "v.pt")
    hook = {"steering_vector": torch.tensor(ROWS[1]), "action": "add"}
    if kind == "npz":
        np.savez(path, **{name: ROWS[1]})
    elif kind == "several npz":
        np.savez(path, layer_0=ROWS[0], **{name: ROWS[1]})
    elif kind == "pt":
        torch.save({name: torch.tensor(ROWS[1])}, path)
    else:
        torch.save([{"hookpoint": name, **hook}], path)
    for layers in (None, [1]):
        with pytest.raises(
            UsageError, match=f"{re.escape(repr(name))} is not the output of a layer"
        ):
            read(path, layers)


@pytest.mark.parametrize(
    "name",
    ["2", "layer_2", "layer2", "Layer_02", "layers.2", "model.layers.2", "transformer.h.2",
     "gpt_neox.layers.2", "model.language_model.layers.2", "backbone.layers.2", "blocks.2"],
)  # fmt: skip
def test_a_block_is_known_by_its_number_or_its_path(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "v.npz", **{name: ROWS[1]})
    torch.save({name: torch.tensor(ROWS[1])}, tmp_path / "v.pt")
    for path in (tmp_path / "v.npz", tmp_path / "v.pt"):
        np.testing.assert_array_equal(read(path).vectors[2], ROWS[1])


def test_keys_that_are_not_whole_numbers_are_refused(tmp_path: Path) -> None:
    for key in (1.5, -1, True):
        torch.save({key: torch.tensor(ROWS[1])}, tmp_path / "v.pt")
        with pytest.raises(UsageError, match=f"'{key}' is not the output of a layer"):
            read(tmp_path / "v.pt", [1])


def test_two_vectors_of_one_layer_are_refused(tmp_path: Path) -> None:
    hook = {"steering_vector": torch.tensor(ROWS[2]), "action": "add"}
    np.savez(tmp_path / "v.npz", layer_1=ROWS[0], layer1=ROWS[1])
    torch.save([{"hookpoint": "layers.1", **hook}] * 2, tmp_path / "v.pt")
    torch.save({1: torch.tensor(ROWS[0]), "layers.1": torch.tensor(ROWS[1])}, tmp_path / "w.pt")
    directions = {"1": [ROWS[0].tolist()], "01": [ROWS[1].tolist()]}
    (tmp_path / "v.svec").write_text(json.dumps({"directions": directions}))
    for name, said in (
        ("v.npz", "'layer_1' and 'layer1' are both layer 1"),
        ("v.pt", "'layers.1' and 'layers.1' are both layer 1"),
        ("w.pt", "'1' and 'layers.1' are both layer 1"),
        ("v.svec", "'1' and '01' are both layer 1"),
    ):
        with pytest.raises(UsageError, match=said):
            read(tmp_path / name)


@pytest.mark.parametrize("vector", ["vector", "steering_vector", "direction"])
@pytest.mark.parametrize("layer", ["layer", "layer_idx", "layer_index", "layer_id"])
def test_a_vector_with_its_layer_is_read(tmp_path: Path, vector: str, layer: str) -> None:
    entry = {vector: torch.tensor(ROWS[1]), layer: 3, "model": "org/name"}
    torch.save(entry, tmp_path / "v.pt")
    torch.save({vector: torch.tensor(ROWS[1:2]), layer: torch.tensor(3)}, tmp_path / "w.pt")
    torch.save([entry, {**entry, layer: 1}], tmp_path / "list.pt")
    np.savez(tmp_path / "v.npz", **{vector: ROWS[1], layer: 3})
    for name in ("v.pt", "w.pt", "list.pt", "v.npz"):
        steering = read(tmp_path / name)
        assert list(steering.vectors) == ([1, 3] if name == "list.pt" else [3])
        np.testing.assert_array_equal(steering.vectors[3], ROWS[1])
        assert steering.vector_rows is None
        with pytest.raises(UsageError, match="layer 2 not found; available: "):
            read(tmp_path / name, [2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"layer": -1}, "'-1' is not the output of a layer"),
        ({"layer": 1.5}, r"'1\.5' is not the output of a layer"),
        ({"layer": 5}, "layer 5 not found: the model has blocks 0 to 4"),
        ({"layer": 1, "layer_idx": 2}, "holds 'layer' and 'layer_idx': keep one"),
        ({"layer": 1, "direction": torch.ones(6)}, "holds 'vector' and 'direction': keep one"),
        ({"layer": 1, "action": "clamp"}, "action must be 'add', got 'clamp'"),
        ({"layer": 1, "bias": torch.ones(6)}, "'bias' is not supported"),
    ],
)
def test_an_ambiguous_layer_or_action_is_refused(
    tmp_path: Path, content: dict[str, object], said: str
) -> None:
    torch.save({"vector": torch.tensor(ROWS[1]), **content}, tmp_path / "v.pt")
    torch.save([{"vector": torch.tensor(ROWS[1]), **content}], tmp_path / "list.pt")
    for name in ("v.pt", "list.pt"):
        with pytest.raises(UsageError, match=said):
            read(tmp_path / name)


def test_a_pickle_of_numpy_is_refused_without_advice_to_run_code(tmp_path: Path) -> None:
    torch.save(ROWS[1], tmp_path / "array.pt")
    torch.save({"vector": ROWS[1], "layer": 1}, tmp_path / "dict.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(ROWS[1]))
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(ROWS[1]))
    np.savez(tmp_path / "objects.npz", v=np.array([Trap()], object))
    for name in ("array.pt", "dict.pt", "plain.pt", "plain.npy", "objects.npz"):
        with pytest.raises(UsageError) as error:
            read(tmp_path / name)
        assert str(error.value) == (
            f"{tmp_path / name}: the vector cannot be read: pickle of numpy, may contain code: "
            "save it with np.save or as tensors"
        )


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_a_norm_that_float32_cannot_square_is_refused(
    tmp_path: Path, name: str, size: float
) -> None:
    path = WRITERS[name](tmp_path / name, {1: np.full(HIDDEN, size, np.float32)})
    with pytest.raises(
        UsageError, match=r"layer 1: norm must be between 1e-19 and 1e\+19, got 2\.45"
    ):
        read(path)


def test_a_coefficient_that_makes_a_vector_too_long_is_refused(tmp_path: Path) -> None:
    hook = {"steering_vector": torch.full((6,), 1e30), "action": "add"}
    torch.save({1: {**hook, "steering_coefficient": 1e30}}, tmp_path / "v.pt")
    with pytest.raises(UsageError, match=r"layer 1: must be finite in float32, got 1e\+60 at 0"):
        read(tmp_path / "v.pt")
    torch.save({1: {**hook, "steering_coefficient": 1e-30}}, tmp_path / "v.pt")
    assert read(tmp_path / "v.pt").vectors[1] == pytest.approx(1)


def test_half_precision_is_read_exactly(tmp_path: Path) -> None:
    half = ROWS[1].astype(np.float16)
    found = read(written_gguf(tmp_path / "v.gguf", {1: half})).vectors[1]
    np.testing.assert_array_equal(found, half.astype(np.float32))
    brain = torch.tensor(ROWS[1]).bfloat16()
    save_tensors({"layer1.v": brain}, tmp_path / "v.safetensors")
    found = read(tmp_path / "v.safetensors").vectors[1]
    np.testing.assert_array_equal(found, brain.float().numpy())


def test_an_ablation_is_recognised_by_its_method_and_scaled_to_unit_length(tmp_path: Path) -> None:
    path = written_lite(tmp_path / "v.safetensors", TWO, "directional_ablation")
    steering = read(path)
    assert (steering.action, steering.method) == ("ablate", "directional_ablation")
    assert np.linalg.norm(steering.vectors[3]) == pytest.approx(1, abs=1e-6)


def test_the_method_is_given_by_the_file_or_its_name(tmp_path: Path) -> None:
    assert read(written_lite(tmp_path / "v.safetensors", TWO)).method == "pca"
    assert read(written_svec(tmp_path / "honest.svec", TWO)).method == "honest"


def test_hook_points_in_a_list_and_by_full_names_are_read(tmp_path: Path) -> None:
    hook = {"steering_vector": torch.tensor(ROWS[2]), "action": "add"}
    torch.save([{"hookpoint": "model.layers.2", **hook}], tmp_path / "v.pt")
    np.testing.assert_array_equal(read(tmp_path / "v.pt").vectors[2], ROWS[2])


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the code in a file ran",)


def test_no_code_in_a_file_is_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"layers.1": Trap()}, tmp_path / "v.pt")
    np.save(tmp_path / "v.npy", np.array([Trap()], object))
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Trap()))
    for name in ("v.pt", "v.npy", "w.pt"):
        with pytest.raises(UsageError, match="the vector cannot be read: "):
            read(tmp_path / name)
    assert "ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda p: written_gguf(p / "v.gguf", TWO, "llama"), "architecture 'llama', not a control"),
        (
            lambda p: written_gguf(p / "v.gguf", TWO, name="blk"),
            r"'blk\.1' is not the output of a layer",
        ),
        (lambda p: written_lite(p / "v.safetensors", TWO, "spherical"), "got 'spherical': others"),
        (lambda p: written_svec(p / "v.svec", TWO, num_heads=4), "steers attention heads"),
        (lambda p: written_svec(p / "v.svec", TWO, directions=[1]), "lacks 'directions' by layer"),
        (lambda p: written_svec(p / "v.svec", {}), "must hold at least one vector"),
        (lambda p: written_svec(p / "v.svec", {1: ROWS}), "must be one vector, got shape (5, 6)"),
        (
            lambda p: written_svec(p / "v.svec", {}, directions={"1": ["a"] * 6}),
            "must hold real numbers, got <U1",
        ),
        (
            lambda p: written_hooks(p / "v.pt", TWO, action="clamp"),
            "action must be 'add', got 'clamp'",
        ),
        (lambda p: written_hooks(p / "v.pt", TWO, bias=torch.ones(6)), "'bias' is not supported"),
        (lambda p: written_hooks(p / "v.pt", TWO, head_index=2), "'head_index' is not supported"),
    ],
)
def test_unsupported_steering_is_refused(
    tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    path = write(tmp_path)
    said = said if "\\" in said else re.escape(said)
    with pytest.raises(UsageError, match=f"^{re.escape(str(path))}: .*{said}"):
        read(path)


def test_hook_points_that_are_incomplete_or_not_a_block_are_refused(tmp_path: Path) -> None:
    hook = {"steering_vector": torch.tensor(ROWS[2]), "action": "add"}
    for content, said in (
        ({"layers.2.mlp": hook}, r"'layers\.2\.mlp' is not the output of a layer"),
        ([hook], "a hook point lacks 'hookpoint'"),
        ({"layers.2": {"action": "add"}}, "a hook point lacks 'steering_vector'"),
        ({"layers.2": 3}, "a hook point lacks 'action'"),
        (7, "must hold vectors, got int"),
    ):
        torch.save(content, tmp_path / "v.pt")
        with pytest.raises(UsageError, match=said):
            read(tmp_path / "v.pt")


def test_a_quantised_control_vector_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "controlvector")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("direction.1", gguf.quants.quantize(np.ones((1, 32), "f4"), kind),
                      raw_dtype=kind)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UsageError, match=r"tensor 'direction\.1' is quantised \(Q8_0\)"):
        read(tmp_path / "v.gguf")


@pytest.mark.parametrize("action", ["add", "ablate"])
def test_our_own_file_is_read_back_to_the_bit_by_us_and_by_safetensors(
    tmp_path: Path, action: str
) -> None:
    vectors = {layer: vector / np.linalg.norm(vector) for layer, vector in TWO.items()}
    steering = Steering(action, vectors, "mean_diff")
    path = tmp_path / "vector.safetensors"
    path.write_bytes(steering_bytes(steering, "org/name"))
    again = read(path)
    assert (again.action, again.method) == (action, "mean_diff")
    for layer, vector in vectors.items():
        np.testing.assert_array_equal(again.vectors[layer], vector)
        np.testing.assert_array_equal(load_file(path)[f"layer{layer}.v"], vector)


def test_our_own_file_is_always_the_same_to_the_byte() -> None:
    # safetensors writes metadata in the order of a hash that each process seeds anew.
    code = (
        "import hashlib, numpy as np\n"
        "from isoklx.engine.steering import Steering\n"
        "from isoklx.engine.vectors import steering_bytes\n"
        "s = Steering('add', {1: np.arange(4, dtype='f4'), 10: np.ones(4, 'f4')}, 'pca')\n"
        "made = {steering_bytes(s, 'org/name') for _ in range(50)}\n"
        "print(len(made), made.pop())"
    )
    outputs = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)}
    [output] = outputs
    assert output.startswith(b"1 ")


def test_the_metadata_of_our_own_file_names_action_method_and_model() -> None:
    content = steering_bytes(Steering("add", TWO, "pca"), "org/näme")
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert metadata == {"action": "add", "method": "pca", "model": "org/näme"}
    assert set(load(content)) == {"layer1.v", "layer3.v"}


def test_an_unknown_action_is_refused(tmp_path: Path) -> None:
    save_file({"layer1.v": ROWS[1]}, tmp_path / "v.safetensors", metadata={"action": "rotate"})
    with pytest.raises(UsageError, match="action must be add or ablate, got 'rotate'"):
        read(tmp_path / "v.safetensors")
