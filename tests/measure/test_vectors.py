"""Vector files as other tools write them, and what is wrong with some of them."""

from __future__ import annotations

import json
import pickle
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

from isoklx.errors import UsageError
from isoklx.measure.steering import Steering
from isoklx.measure.vectors import read_steering, steering_bytes

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
    """As repeng exports a control vector."""
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
    """As steering-lite saves a vector."""
    tensors = {f"layer{layer}.v": torch.tensor(vector) for layer, vector in vectors.items()}
    cfg = {"method": method, "layers": sorted(vectors), "coeff": 2.0}
    save_tensors(tensors, path, metadata={"cfg": json.dumps(cfg)})
    return path


def written_svec(path: Path, vectors: dict[int, np.ndarray], **more: object) -> Path:
    """As AISteer360 saves one: rows of one vector."""
    directions = {str(layer): [vector.tolist()] for layer, vector in vectors.items()}
    path.write_text(json.dumps({"model_type": "llama", "directions": directions, **more}))
    return path


def written_hooks(path: Path, vectors: dict[int, np.ndarray], **more: object) -> Path:
    """As lm-eval reads them: hook points with a vector and its coefficient."""
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
def test_the_vectors_of_other_tools_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    steering = read(WRITERS[name](tmp_path / name, TWO))
    assert steering.action == "add"
    assert list(steering.vectors) == [1, 3]
    for layer, vector in steering.vectors.items():
        np.testing.assert_allclose(vector, TWO[layer], rtol=1e-6)
        assert vector.dtype == np.float32


@pytest.mark.parametrize("name", WRITERS)
def test_one_layer_can_be_picked_and_one_that_is_missing_is_named(
    tmp_path: Path, name: str
) -> None:
    path = WRITERS[name](tmp_path / name, TWO)
    np.testing.assert_allclose(read(path, [3]).vectors[3], TWO[3], rtol=1e-6)
    assert list(read(path, [3]).vectors) == [3]
    with pytest.raises(UsageError) as error:
        read(path, [2])
    assert str(error.value) == f"{path}: holds no vector for layer 2, only for layer 1, 3"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({1: np.ones(4, np.float32)}, "layer 1: is 4 wide, and the model's states are 6"),
        ({1: ROWS[1], 3: ROWS[3] * [1, 1, np.nan, 1, 1, 1]}, "layer 3: has nan at 2"),
        ({2: ROWS[1] * [np.inf, 1, 1, 1, 1, 1]}, "layer 2: has -inf at 0"),
        ({0: ROWS[0], 5: ROWS[3]}, "layer 5 is not there: the model has blocks 0 to 4"),
        ({1: ROWS[1] * 0}, "holds no vector that is not zero"),
    ],
)
def test_a_vector_that_does_not_fit_is_said_in_one_line(
    tmp_path: Path, name: str, vectors: dict[int, np.ndarray], said: str
) -> None:
    single = {layer: vector.astype(np.float32) for layer, vector in vectors.items()}
    path = WRITERS[name](tmp_path / name, single)
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value) == f"{path}: {said}"


@pytest.mark.parametrize("name", WRITERS)
def test_layers_of_zeros_are_not_steered_unless_they_are_asked_for(
    tmp_path: Path, name: str
) -> None:
    path = WRITERS[name](tmp_path / name, {1: ROWS[1], 2: ROWS[2] * 0})
    assert list(read(path).vectors) == [1]
    with pytest.raises(UsageError, match="layer 2: the vector is zero"):
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


def test_a_file_of_no_known_kind_or_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v\.txt: is no vector file: its name ends in none of"):
        read(tmp_path / "v.txt")
    with pytest.raises(UsageError, match=r"v\.npy: the vector cannot be read: it is not there"):
        read(tmp_path / "v.npy")
    (tmp_path / "w.npy").mkdir()
    with pytest.raises(UsageError, match=r"w\.npy: the vector cannot be read: it is no file"):
        read(tmp_path / "w.npy")


@pytest.mark.parametrize("kind", ["npy", "npz", "pt"])
def test_one_direction_is_used_at_the_layers_that_are_named(tmp_path: Path, kind: str) -> None:
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
        with pytest.raises(UsageError, match="not its layer: name it, as --layer"):
            read(path)


@pytest.mark.parametrize("kind", ["npy", "pt"])
def test_a_direction_a_layer_is_as_many_as_the_model_is_deep(tmp_path: Path, kind: str) -> None:
    def write(rows: np.ndarray) -> Path:
        path = tmp_path / f"v.{kind}"
        np.save(path, rows) if kind == "npy" else torch.save(torch.tensor(rows), path)
        return path

    path = write(ROWS)
    assert list(read(path).vectors) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(read(path, [3]).vectors[3], ROWS[3])
    with pytest.raises(UsageError, match="no vector for layer 7, only for layers 0 to 4"):
        read(path, [7])
    with pytest.raises(UsageError, match="holds 3 vectors, and the model has 5 blocks"):
        read(write(ROWS[:3]))


def test_half_precision_is_read_as_the_numbers_that_it_holds(tmp_path: Path) -> None:
    half = ROWS[1].astype(np.float16)
    found = read(written_gguf(tmp_path / "v.gguf", {1: half})).vectors[1]
    np.testing.assert_array_equal(found, half.astype(np.float32))
    brain = torch.tensor(ROWS[1]).bfloat16()
    save_tensors({"layer1.v": brain}, tmp_path / "v.safetensors")
    found = read(tmp_path / "v.safetensors").vectors[1]
    np.testing.assert_array_equal(found, brain.float().numpy())


def test_an_ablation_is_known_by_its_method_and_made_unit_length(tmp_path: Path) -> None:
    path = written_lite(tmp_path / "v.safetensors", TWO, "directional_ablation")
    steering = read(path)
    assert (steering.action, steering.method) == ("ablate", "directional_ablation")
    assert np.linalg.norm(steering.vectors[3]) == pytest.approx(1, abs=1e-6)


def test_the_method_is_what_the_file_says_or_the_files_name(tmp_path: Path) -> None:
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
            r"'blk\.1' names no layer's output",
        ),
        (lambda p: written_lite(p / "v.safetensors", TWO, "spherical"), "method 'spherical' is no"),
        (lambda p: written_svec(p / "v.svec", TWO, num_heads=4), "steers attention heads"),
        (lambda p: written_svec(p / "v.svec", TWO, directions=[1]), "no 'directions' by layer"),
        (lambda p: written_svec(p / "v.svec", {}), "holds no vector"),
        (lambda p: written_svec(p / "v.svec", {1: ROWS}), "is of shape (5, 6), not one vector"),
        (
            lambda p: written_svec(p / "v.svec", {}, directions={"1": ["a"] * 6}),
            "holds <U1, no numbers",
        ),
        (lambda p: written_hooks(p / "v.pt", TWO, action="clamp"), "action 'clamp' is not 'add'"),
        (lambda p: written_hooks(p / "v.pt", TWO, bias=torch.ones(6)), "'bias' changes what is"),
        (lambda p: written_hooks(p / "v.pt", TWO, head_index=2), "'head_index' changes what is"),
    ],
)
def test_what_would_steer_otherwise_is_refused(
    tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    import re

    path = write(tmp_path)
    said = said if "\\" in said else re.escape(said)
    with pytest.raises(UsageError, match=f"^{re.escape(str(path))}: .*{said}"):
        read(path)


def test_hook_points_that_are_no_block_or_not_complete_are_refused(tmp_path: Path) -> None:
    hook = {"steering_vector": torch.tensor(ROWS[2]), "action": "add"}
    for content, said in (
        ({"layers.2.mlp": hook}, r"'layers\.2\.mlp' names no layer's output"),
        ([hook], "a hook point has no 'hookpoint'"),
        ({"layers.2": {"action": "add"}}, "a hook point has no 'steering_vector'"),
        ({"layers.2": 3}, "a hook point has no 'action'"),
        (7, "holds int, no vectors"),
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
        "from isoklx.measure.steering import Steering\n"
        "from isoklx.measure.vectors import steering_bytes\n"
        "s = Steering('add', {1: np.arange(4, dtype='f4'), 10: np.ones(4, 'f4')}, 'pca')\n"
        "made = {steering_bytes(s, 'org/name') for _ in range(50)}\n"
        "print(len(made), made.pop())"
    )
    outputs = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)}
    [output] = outputs
    assert output.startswith(b"1 ")


def test_the_metadata_of_our_own_file_name_what_was_steered() -> None:
    content = steering_bytes(Steering("add", TWO, "pca"), "org/näme")
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert metadata == {"action": "add", "method": "pca", "model": "org/näme"}
    assert set(load(content)) == {"layer1.v", "layer3.v"}


def test_an_action_that_is_not_known_is_refused(tmp_path: Path) -> None:
    save_file({"layer1.v": ROWS[1]}, tmp_path / "v.safetensors", metadata={"action": "rotate"})
    with pytest.raises(UsageError, match="action 'rotate' is none of add, ablate"):
        read(tmp_path / "v.safetensors")
