"""Steering vectors in files: those of others as they are, and our own ``vector.safetensors``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoklx.errors import UsageError
from isoklx.measure.steering import Steering

Action = Literal["add", "ablate"]

ACTIONS: dict[str, Action] = {"add": "add", "ablate": "ablate"}

STEERING_LITE: dict[str, Action] = {
    "mean_diff": "add",
    "pca": "add",
    "random": "add",
    "directional_ablation": "ablate",
}
"""Methods of steering-lite that are one direction a layer, and what is done with it."""


@dataclass
class _Found:
    """What a file holds: rows of numbers per layer, or without a layer."""

    vectors: Mapping[int | None, Any]
    action: Action = "add"
    method: str | None = None


def read_steering(
    path: str | Path, *, hidden: int, depth: int, layers: Sequence[int] | None = None
) -> Steering:
    """Read a steering vector from a file of any known kind.

    =================  =========================================================================
    suffix             what is read
    =================  =========================================================================
    ``.gguf``          a control vector of repeng or llama.cpp: ``direction.<layer>``
    ``.safetensors``   ``layer<number>.v``, of :func:`steering_bytes` or of steering-lite
    ``.svec``          JSON of AISteer360: ``directions`` by layer
    ``.pt``, ``.pth``  a tensor, or hook points with a vector, a coefficient and an action, as
                       lm-eval has them; read as tensors only, so that no code in it runs
    ``.npy``           one direction, or one a layer of the model
    ``.npz``           one direction, or arrays whose names end in a layer's number
    =================  =========================================================================

    Parameters
    ----------
    path : str or Path
        The file.
    hidden, depth : int
        Width of the model's hidden states and number of its blocks.
    layers : list of int, optional
        The blocks to steer: those of the file by default, but for vectors of zeros. A single
        direction without a layer is used at each of them, and needs at least one.

    Returns
    -------
    Steering
        Vectors as long as they are in the file, in which a coefficient of the file's own is
        included; those that are ablated are of unit length. The method is the one that the file
        names, or else the file's own name.

    Raises
    ------
    UsageError
        Naming file and place: where it is of no known kind, cannot be read, holds vectors of
        another width, no finite numbers or only zeros, lacks a layer or has one that the model
        has not.
    """
    path = Path(path)
    found = _read(path)
    if layers is not None:
        picked = {layer: _picked(path, found, layer) for layer in layers}
    else:
        picked = _with_layers(path, found, depth)
    vectors = {layer: _vector(path, layer, rows, hidden) for layer, rows in picked.items()}
    if layers is None:
        # Whoever writes one vector for each layer writes zeros where nothing is to be steered.
        vectors = {layer: vector for layer, vector in vectors.items() if vector.any()}
    if not vectors:
        raise UsageError(f"{path}: holds no vector that is not zero")
    for layer, vector in vectors.items():
        if not 0 <= layer < depth:
            raise UsageError(
                f"{path}: layer {layer} is not there: the model has blocks 0 to {depth - 1}"
            )
        if not vector.any():
            raise UsageError(f"{path}: layer {layer}: the vector is zero")
    if found.action == "ablate":
        vectors = {layer: _unit(vector) for layer, vector in vectors.items()}
    in_order = {layer: vectors[layer].astype(np.float32) for layer in sorted(vectors)}
    return Steering(found.action, in_order, found.method or path.stem)


def steering_bytes(steering: Steering, model: str) -> bytes:
    """Return the content of a cell's ``vector.safetensors``, always the same to the byte.

    Parameters
    ----------
    steering : Steering
        Vectors, action and method.
    model : str
        The name of the model that they were made for.

    Returns
    -------
    bytes
        A tensor ``layer<number>.v`` per layer, float32, and metadata ``action``, ``method`` and
        ``model``.
    """
    from safetensors.numpy import save

    metadata = {"action": steering.action, "method": steering.method, "model": model}
    tensors = {
        f"layer{layer}.v": np.ascontiguousarray(vector, np.float32)
        for layer, vector in sorted(steering.vectors.items())
    }
    return _in_order(save(tensors, metadata=metadata))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted, which safetensors writes in any order."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _read(path: Path) -> _Found:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise UsageError(f"{path}: is no vector file: its name ends in none of {known}")
    if not path.is_file():
        there = "no file" if path.exists() else "not there"
        raise UsageError(f"{path}: the vector cannot be read: it is {there}")
    try:
        found = reader(path)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except Exception as error:  # each library has its own errors for a bad file
        first = str(error).strip().partition("\n")[0]
        reason = f"{first[:117]}..." if len(first) > 120 else first
        raise UsageError(f"{path}: the vector cannot be read: {reason}") from error
    if not found.vectors:
        raise UsageError(f"{path}: holds no vector")
    return found


def _picked(path: Path, found: _Found, layer: int) -> Any:
    if None in found.vectors:
        rows = np.asarray(found.vectors[None])
        several = rows.ndim == 2 and len(rows) > 1
        if several and 0 <= layer < len(rows):
            return rows[layer]
        if not several:
            return rows
    if layer in found.vectors:
        return found.vectors[layer]
    raise UsageError(f"{path}: holds no vector for layer {layer}, only for {_those(found)}")


def _those(found: _Found) -> str:
    if None in found.vectors:
        return f"layers 0 to {len(found.vectors[None]) - 1}"
    return "layer " + ", ".join(str(layer) for layer in sorted(found.vectors, key=str))


def _with_layers(path: Path, found: _Found, depth: int) -> dict[int, Any]:
    if None not in found.vectors:
        return {layer: rows for layer, rows in found.vectors.items() if layer is not None}
    rows = np.asarray(found.vectors[None])
    if rows.ndim == 2 and len(rows) == depth:
        return dict(enumerate(rows))
    if rows.ndim == 2 and len(rows) > 1:
        raise UsageError(f"{path}: holds {len(rows)} vectors, and the model has {depth} blocks")
    raise UsageError(f"{path}: holds one vector and not its layer: name it, as --layer 0.6")


def _vector(path: Path, layer: int, rows: Any, hidden: int) -> NDArray[np.float64]:
    """Check one vector, which may stand in a row of its own."""
    vector = np.asarray(rows)
    if vector.dtype.kind not in "fiu":
        raise UsageError(f"{path}: layer {layer}: holds {vector.dtype}, no numbers")
    vector = vector.astype(np.float64)
    while vector.ndim > 1 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1:
        raise UsageError(f"{path}: layer {layer}: is of shape {vector.shape}, not one vector")
    if len(vector) != hidden:
        raise UsageError(
            f"{path}: layer {layer}: is {len(vector)} wide, and the model's states are {hidden}"
        )
    with np.errstate(over="ignore"):
        stored = vector.astype(np.float32)
    if not np.isfinite(stored).all():
        place = int(np.flatnonzero(~np.isfinite(stored))[0])
        raise UsageError(f"{path}: layer {layer}: has {vector[place]:g} at {place}")
    return vector


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of length 1; what is so to rounding stays as it is, to be read back to the bit."""
    length = float(np.linalg.norm(vector))
    return vector if abs(length - 1) < 1e-6 else vector / length


def _gguf(path: Path) -> _Found:
    from gguf import GGMLQuantizationType, GGUFReader

    reader = GGUFReader(path)
    field = reader.get_field("general.architecture")
    architecture = None if field is None else field.contents()
    if architecture != "controlvector":
        raise UsageError(f"is a GGUF file of architecture {architecture!r}, not a control vector")
    vectors: dict[int | None, Any] = {}
    for tensor in reader.tensors:
        if tensor.tensor_type not in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            raise UsageError(f"tensor {tensor.name!r} is quantised ({tensor.tensor_type.name})")
        vectors[_layer(tensor.name, r"direction\.(\d+)")] = np.array(tensor.data)
    return _Found(vectors)


def _safetensors(path: Path) -> _Found:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # torch, for numpy has no bfloat16
        metadata = file.metadata() or {}
        vectors: dict[int | None, Any] = {
            _layer(name, r"layer(\d+)\.v"): file.get_tensor(name).float().numpy()
            for name in file.keys()  # noqa: SIM118 -- it is no dict
        }
    if "cfg" in metadata:
        method = json.loads(metadata["cfg"]).get("method")
        if method not in STEERING_LITE:
            known = ", ".join(STEERING_LITE)
            raise UsageError(f"method {method!r} is no single direction; those are {known}")
        return _Found(vectors, STEERING_LITE[method], method)
    action = metadata.get("action", "add")
    return _Found(vectors, _action(action), metadata.get("method"))


def _svec(path: Path) -> _Found:
    parsed = json.loads(path.read_bytes())
    directions = parsed.get("directions") if isinstance(parsed, dict) else None
    if not isinstance(directions, dict):
        raise UsageError("has no 'directions' by layer")
    if parsed.get("num_heads") is not None:
        raise UsageError("steers attention heads, not the output of a block")
    return _Found({_layer(name, r"(\d+)"): rows for name, rows in directions.items()})


def _torch(path: Path) -> _Found:
    import torch

    parsed = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(parsed, torch.Tensor):
        return _Found({None: _numbers(parsed)})
    if isinstance(parsed, list):
        parsed = {_of(hook, "hookpoint"): hook for hook in parsed}
    if not isinstance(parsed, dict):
        raise UsageError(f"holds {type(parsed).__name__}, no vectors")
    return _Found({_hookpoint(name): _hook(name, hook) for name, hook in parsed.items()})


def _hook(name: object, hook: Any) -> Any:
    """The vector of one hook point, times its coefficient."""
    import torch

    if isinstance(hook, torch.Tensor):
        return _numbers(hook)
    action = _of(hook, "action")
    if action != "add":
        raise UsageError(f"{name}: action {action!r} is not 'add'")
    for key in ("bias", "head_index"):
        if hook.get(key) is not None:
            raise UsageError(f"{name}: {key!r} changes what is added, and is not supported")
    return _numbers(_of(hook, "steering_vector")) * float(hook.get("steering_coefficient", 1.0))


def _of(hook: Any, key: str) -> Any:
    if not isinstance(hook, dict) or key not in hook:
        raise UsageError(f"a hook point has no {key!r}")
    return hook[key]


def _numbers(tensor: Any) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = tensor.detach().float().numpy()
    return numbers


def _hookpoint(name: object) -> int:
    """Layer of a hook point: a number, or a module's name that ends in one."""
    return _layer(str(name), r"(?:.*\.)?(\d+)")


def _npy(path: Path) -> _Found:
    return _Found({None: np.load(path, allow_pickle=False)})


def _npz(path: Path) -> _Found:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if len(arrays) == 1 and not re.search(r"\d$", next(iter(arrays))):
        return _Found({None: next(iter(arrays.values()))})
    return _Found({_layer(name, r".*?(\d+)"): array for name, array in arrays.items()})


def _layer(name: str, pattern: str) -> int:
    match = re.fullmatch(pattern, name)
    if match is None:
        raise UsageError(f"{name!r} names no layer's output")
    return int(match[1])


def _action(action: str) -> Action:
    if action not in ACTIONS:
        raise UsageError(f"action {action!r} is none of {', '.join(ACTIONS)}")
    return ACTIONS[action]


READERS: dict[str, Callable[[Path], _Found]] = {
    ".gguf": _gguf,
    ".safetensors": _safetensors,
    ".svec": _svec,
    ".pt": _torch,
    ".pth": _torch,
    ".npy": _npy,
    ".npz": _npz,
}
"""Readers by suffix."""
