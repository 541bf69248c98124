"""Readers of vector files: content by block or by row, as each format and tool writes it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoklx.errors import UsageError

Action = Literal["add", "ablate"]

ACTIONS: dict[str, Action] = {"add": "add", "ablate": "ablate"}

STEERING_LITE: dict[str, Action] = {
    "mean_diff": "add",
    "pca": "add",
    "random": "add",
    "directional_ablation": "ablate",
}
"""Actions of the steering-lite methods that have one direction per layer."""

BLOCK_NAME = re.compile(
    r"(?:(?:(?:base_model|model|language_model|text_model|transformer|decoder|gpt_neox|backbone)\.)*"
    r"(?:(?:layers?|blocks?)[._]?|h\.))?(?P<number>[0-9]+)",
    re.IGNORECASE,
)
"""Name of a block: its number, ``layer_12``, or a module path such as ``model.layers.12``."""

VECTORS = ("vector", "steering_vector", "direction")
LAYERS = ("layer", "layer_idx", "layer_index", "layer_id")
"""Keys of a dict for one vector, and for the number of its block."""


@dataclass(frozen=True)
class Found:
    """Content of a vector file: either `vectors` by block number, or unnumbered `rows`."""

    vectors: Mapping[int, Any] = field(default_factory=dict)
    rows: Any | None = None  # one vector, or one per row
    action: Action = "add"
    method: str | None = None
    one_per_block: bool = False  # numbers are positions: blocks only if one array per block


def read_file(path: Path) -> Found:
    """Read a vector file by its suffix; UsageError names the file and the reason."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise UsageError(
            f"{path}: suffix of a vector file must be one of {known}, got {path.suffix!r}"
        )
    if not path.is_file():
        reason = "not a file" if path.exists() else "file not found"
        raise UsageError(f"{path}: the vector cannot be read: {reason}")
    try:
        found = reader(path)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except Exception as error:  # each library has its own errors
        first = str(error).strip().partition("\n")[0]
        reason = f"{first[:117]}..." if len(first) > 120 else first
        raise UsageError(f"{path}: the vector cannot be read: {reason}") from error
    if found.rows is None and not found.vectors:
        raise UsageError(f"{path}: must hold at least one vector, got none")
    return found


def _by_layer(
    named: Iterable[tuple[object, Any]], pattern: str | re.Pattern[str] = BLOCK_NAME
) -> dict[int, Any]:
    """Return values by the layer in their names; refuse two of one layer."""
    names: dict[int, object] = {}
    found = {}
    for name, value in named:
        layer = _parse_layer(str(name), pattern)
        if layer in names:
            raise UsageError(
                f"{str(names[layer])!r} and {str(name)!r} are both layer {layer}: keep one"
            )
        names[layer], found[layer] = name, value
    return found


def _parse_layer(name: str, pattern: str | re.Pattern[str] = BLOCK_NAME) -> int:
    match = re.fullmatch(pattern, name)
    if match is None:
        raise UsageError(f"{name!r} is not the output of a layer; name it by its block, from 0")
    return int(match["number"])


def _gguf(path: Path) -> Found:
    from gguf import GGMLQuantizationType, GGUFReader

    reader = GGUFReader(path)
    field = reader.get_field("general.architecture")
    architecture = None if field is None else field.contents()
    if architecture != "controlvector":
        raise UsageError(f"is a GGUF file of architecture {architecture!r}, not a control vector")
    for tensor in reader.tensors:
        if tensor.tensor_type not in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            raise UsageError(f"tensor {tensor.name!r} is quantised ({tensor.tensor_type.name})")
    named = ((tensor.name, np.array(tensor.data)) for tensor in reader.tensors)
    return Found(_by_layer(named, r"direction\.(?P<number>[0-9]+)"))


def _safetensors(path: Path) -> Found:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # torch, as numpy lacks bfloat16
        metadata = file.metadata() or {}
        named = [(name, file.get_tensor(name).float().numpy()) for name in file.keys()]  # noqa: SIM118 -- not a dict
    vectors = _by_layer(named, r"layer(?P<number>[0-9]+)\.v")
    if "cfg" in metadata:
        method = json.loads(metadata["cfg"]).get("method")
        if method not in STEERING_LITE:
            known = ", ".join(STEERING_LITE)
            raise UsageError(
                f"method must be one of {known}, got {method!r}: others are not a single direction"
            )
        return Found(vectors, None, STEERING_LITE[method], method)
    action = metadata.get("action", "add")
    if action not in ACTIONS:
        raise UsageError(f"action must be {' or '.join(ACTIONS)}, got {action!r}")
    return Found(vectors, None, ACTIONS[action], metadata.get("method"))


def _svec(path: Path) -> Found:
    parsed = json.loads(path.read_bytes())
    directions = parsed.get("directions") if isinstance(parsed, dict) else None
    if not isinstance(directions, dict):
        raise UsageError("lacks 'directions' by layer")
    if parsed.get("num_heads") is not None:
        raise UsageError("steers attention heads, not the output of a block")
    return Found(_by_layer(directions.items(), r"(?P<number>[0-9]+)"))


def _torch(path: Path) -> Found:
    parsed = _tensors(path)
    if _is_tensor(parsed):
        return Found(rows=_as_array(parsed))
    if isinstance(parsed, dict) and not parsed.keys().isdisjoint(VECTORS):
        return _single_vector(parsed)
    if isinstance(parsed, list):
        return Found(_by_layer(_list_entry(each) for each in parsed))
    if not isinstance(parsed, dict):
        raise UsageError(f"must hold vectors, got {type(parsed).__name__}")
    return Found(_by_layer((name, _hook(name, hook)) for name, hook in parsed.items()))


def _tensors(path: Path) -> Any:
    """Load a torch file as tensors only, so that no code in it runs."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles not written by torch
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # torch's message is a page long, and advises to run the code.
        refused = re.search(r"GLOBAL (\S+)", str(error))
        with path.open("rb") as file:
            begin = file.read(4096)
        if refused is None and not begin.startswith(b"\x80"):
            raise ValueError("is not a torch file, or is damaged") from error
        what = refused[1] if refused else "numpy" if b"numpy" in begin else "Python objects"
        raise _pickle_error("numpy" if what.startswith("numpy.") else what) from error


def _pickle_error(what: str) -> ValueError:
    return ValueError(f"pickle of {what}, may contain code: save it with np.save or as tensors")


def _list_entry(entry: Any) -> tuple[object, Any]:
    """Return layer and vector of one item in a list."""
    if (
        isinstance(entry, dict)
        and "hookpoint" not in entry
        and (layer := _unique_key(entry, LAYERS))
    ):
        return _scalar(entry[layer]), _entry_vector(entry)
    name = _require_key(entry, "hookpoint")
    return name, _hook(name, entry)


def _single_vector(entry: Mapping[Any, Any]) -> Found:
    """Return one vector, with its layer if given."""
    vector, layer = _entry_vector(entry), _unique_key(entry, LAYERS)
    if layer is None:
        return Found(rows=vector)
    return Found(_by_layer([(_scalar(entry[layer]), vector)]))


def _entry_vector(entry: Mapping[Any, Any]) -> Any:
    key = _unique_key(entry, VECTORS)
    if key is None:
        raise UsageError(f"lacks a vector beside its layer: give one of {', '.join(VECTORS)}")
    return _scaled_vector(key, entry, key)


def _unique_key(entry: Mapping[Any, Any], keys: Sequence[str]) -> str | None:
    there = [key for key in keys if key in entry]
    if len(there) > 1:
        raise UsageError(f"holds {' and '.join(map(repr, there))}: keep one")
    return there[0] if there else None


def _scalar(layer: Any) -> object:
    """Unwrap an array of no dimensions."""
    return layer.item() if getattr(layer, "ndim", None) == 0 else layer


def _hook(name: object, hook: Any) -> Any:
    """Return the vector of an lm-eval hook point, times its coefficient."""
    if _is_tensor(hook):
        return _as_array(hook)
    _require_key(hook, "action")
    _require_key(hook, "steering_vector")
    return _scaled_vector(name, hook, "steering_vector")


def _scaled_vector(name: object, entry: Mapping[Any, Any], key: str) -> Any:
    action = entry.get("action", "add")
    if action != "add":
        raise UsageError(f"{name}: action must be 'add', got {action!r}")
    for other in ("bias", "head_index"):
        if entry.get(other) is not None:
            raise UsageError(f"{name}: {other!r} is not supported, as it changes the added vector")
    return _as_array(entry[key]) * float(entry.get("steering_coefficient", 1.0))


def _require_key(hook: Any, key: str) -> Any:
    if not isinstance(hook, dict) or key not in hook:
        raise UsageError(f"a hook point lacks {key!r}")
    return hook[key]


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _as_array(values: Any) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(values.detach().double() if _is_tensor(values) else values)
    return found


def _npy(path: Path) -> Found:
    return Found(rows=_arrays(path))


def _npz(path: Path) -> Found:
    arrays = _arrays(path)
    if not arrays.keys().isdisjoint(VECTORS):
        return _single_vector(arrays)
    unnamed = list(arrays) == [f"arr_{place}" for place in range(len(arrays))]
    [first, *more] = arrays or [""]
    if not more and not re.search(r"layer|block|[-+.]\d|^\d+$", first, re.IGNORECASE):
        return Found(rows=arrays.get(first))
    if unnamed:
        return Found(dict(enumerate(arrays.values())), one_per_block=True)
    return Found(_by_layer(arrays.items()))


def _arrays(path: Path) -> Any:
    """Load a numpy file without pickles."""
    try:
        read = np.load(path, allow_pickle=False)
        if not isinstance(read, np.lib.npyio.NpzFile):
            return read
        with read:
            return {name: read[name] for name in read.files}
    except ValueError as error:
        # numpy's message advises to run the code.
        raise _pickle_error("numpy") if "allow_pickle" in str(error) else error from error


READERS: dict[str, Callable[[Path], Found]] = {
    ".gguf": _gguf,
    ".safetensors": _safetensors,
    ".svec": _svec,
    ".pt": _torch,
    ".pth": _torch,
    ".npy": _npy,
    ".npz": _npz,
}
