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
"""Methods of steering-lite that are one direction a layer, and what is done with it."""

BLOCK_NAME = re.compile(
    r"(?:(?:(?:base_model|model|language_model|text_model|transformer|decoder|gpt_neox|backbone)\.)*"
    r"(?:(?:layers?|blocks?)[._]?|h\.))?(?P<number>[0-9]+)",
    re.IGNORECASE,
)
"""Names of a block: its number, ``layer_12``, or its path in a model, ``model.layers.12``."""

VECTORS = ("vector", "steering_vector", "direction")
LAYERS = ("layer", "layer_idx", "layer_index", "layer_id")
"""Keys under which a dict holds one vector, and the number of its block."""


@dataclass(frozen=True)
class Found:
    """Content of a vector file.

    Parameters
    ----------
    vectors : mapping of int
        Vectors by the number of their block, where the file says it.
    rows : array, optional
        One vector, or one per row, where the file numbers nothing.
    action : {"add", "ablate"}
        What is done with the vectors.
    method : str, optional
        How they were found.
    one_per_block : bool
        Numbers count the arrays, and are those of blocks only if there are as many.
    """

    vectors: Mapping[int, Any] = field(default_factory=dict)
    rows: Any | None = None
    action: Action = "add"
    method: str | None = None
    one_per_block: bool = False


def read_file(path: Path) -> Found:
    """Read a vector file by its suffix; UsageError names the file and the reason."""
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
    if found.rows is None and not found.vectors:
        raise UsageError(f"{path}: holds no vector")
    return found


def _by_layer(
    named: Iterable[tuple[object, Any]], pattern: str | re.Pattern[str] = BLOCK_NAME
) -> dict[int, Any]:
    """Values by the layer that their names say; no two of one layer."""
    names: dict[int, object] = {}
    found = {}
    for name, value in named:
        layer = _layer(str(name), pattern)
        if layer in names:
            raise UsageError(
                f"{str(names[layer])!r} and {str(name)!r} are both layer {layer}: keep one"
            )
        names[layer], found[layer] = name, value
    return found


def _layer(name: str, pattern: str | re.Pattern[str] = BLOCK_NAME) -> int:
    match = re.fullmatch(pattern, name)
    if match is None:
        raise UsageError(
            f"{name!r} names no layer's output; name it by the block that it is added to, from 0"
        )
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

    with safe_open(path, framework="pt") as file:  # torch, for numpy has no bfloat16
        metadata = file.metadata() or {}
        named = [(name, file.get_tensor(name).float().numpy()) for name in file.keys()]  # noqa: SIM118 -- it is no dict
    vectors = _by_layer(named, r"layer(?P<number>[0-9]+)\.v")
    if "cfg" in metadata:
        method = json.loads(metadata["cfg"]).get("method")
        if method not in STEERING_LITE:
            known = ", ".join(STEERING_LITE)
            raise UsageError(f"method {method!r} is no single direction; those are {known}")
        return Found(vectors, None, STEERING_LITE[method], method)
    action = metadata.get("action", "add")
    if action not in ACTIONS:
        raise UsageError(f"action {action!r} is none of {', '.join(ACTIONS)}")
    return Found(vectors, None, ACTIONS[action], metadata.get("method"))


def _svec(path: Path) -> Found:
    parsed = json.loads(path.read_bytes())
    directions = parsed.get("directions") if isinstance(parsed, dict) else None
    if not isinstance(directions, dict):
        raise UsageError("has no 'directions' by layer")
    if parsed.get("num_heads") is not None:
        raise UsageError("steers attention heads, not the output of a block")
    return Found(_by_layer(directions.items(), r"(?P<number>[0-9]+)"))


def _torch(path: Path) -> Found:
    parsed = _tensors(path)
    if _is_tensor(parsed):
        return Found(rows=_numbers(parsed))
    if isinstance(parsed, dict) and not parsed.keys().isdisjoint(VECTORS):
        return _with_its_layer(parsed)
    if isinstance(parsed, list):
        return Found(_by_layer(_entry(each) for each in parsed))
    if not isinstance(parsed, dict):
        raise UsageError(f"holds {type(parsed).__name__}, no vectors")
    return Found(_by_layer((name, _hook(name, hook)) for name, hook in parsed.items()))


def _tensors(path: Path) -> Any:
    """Content of a file of torch, tensors only: no code in it runs."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that no torch wrote
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # torch's own words are a page, and advise to run the code.
        refused = re.search(r"GLOBAL (\S+)", str(error))
        with path.open("rb") as file:
            begin = file.read(4096)
        if refused is None and not begin.startswith(b"\x80"):
            raise ValueError("is not a file of torch, or damaged") from error
        what = refused[1] if refused else "numpy" if b"numpy" in begin else "Python objects"
        raise _pickled("numpy" if what.startswith("numpy.") else what) from error


def _pickled(what: str) -> ValueError:
    return ValueError(f"pickle of {what}, may contain code: save it with np.save or as tensors")


def _entry(entry: Any) -> tuple[object, Any]:
    """Layer and vector of one item in a list."""
    if isinstance(entry, dict) and "hookpoint" not in entry and (layer := _only(entry, LAYERS)):
        return _scalar(entry[layer]), _its_vector(entry)
    name = _of(entry, "hookpoint")
    return name, _hook(name, entry)


def _with_its_layer(entry: Mapping[Any, Any]) -> Found:
    """One vector, and its layer where that is known."""
    vector, layer = _its_vector(entry), _only(entry, LAYERS)
    if layer is None:
        return Found(rows=vector)
    return Found(_by_layer([(_scalar(entry[layer]), vector)]))


def _its_vector(entry: Mapping[Any, Any]) -> Any:
    key = _only(entry, VECTORS)
    if key is None:
        raise UsageError(f"holds a layer, and none of {', '.join(VECTORS)} beside it")
    return _added(key, entry, key)


def _only(entry: Mapping[Any, Any], keys: Sequence[str]) -> str | None:
    there = [key for key in keys if key in entry]
    if len(there) > 1:
        raise UsageError(f"holds {' and '.join(map(repr, there))}: keep one")
    return there[0] if there else None


def _scalar(layer: Any) -> object:
    """A number that may be an array of no dimensions."""
    return layer.item() if getattr(layer, "ndim", None) == 0 else layer


def _hook(name: object, hook: Any) -> Any:
    """Vector of one hook point of lm-eval, times its coefficient."""
    if _is_tensor(hook):
        return _numbers(hook)
    _of(hook, "action")
    _of(hook, "steering_vector")
    return _added(name, hook, "steering_vector")


def _added(name: object, entry: Mapping[Any, Any], key: str) -> Any:
    action = entry.get("action", "add")
    if action != "add":
        raise UsageError(f"{name}: action {action!r} is not 'add'")
    for other in ("bias", "head_index"):
        if entry.get(other) is not None:
            raise UsageError(f"{name}: {other!r} changes what is added, and is not supported")
    return _numbers(entry[key]) * float(entry.get("steering_coefficient", 1.0))


def _of(hook: Any, key: str) -> Any:
    if not isinstance(hook, dict) or key not in hook:
        raise UsageError(f"a hook point has no {key!r}")
    return hook[key]


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _numbers(values: Any) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(values.detach().double() if _is_tensor(values) else values)
    return found


def _npy(path: Path) -> Found:
    return Found(rows=_arrays(path))


def _npz(path: Path) -> Found:
    arrays = _arrays(path)
    if not arrays.keys().isdisjoint(VECTORS):
        return _with_its_layer(arrays)
    unnamed = list(arrays) == [f"arr_{place}" for place in range(len(arrays))]
    [first, *more] = arrays or [""]
    if not more and not re.search(r"layer|block|[-+.]\d|^\d+$", first, re.IGNORECASE):
        return Found(rows=arrays.get(first))
    if unnamed:
        return Found(dict(enumerate(arrays.values())), one_per_block=True)
    return Found(_by_layer(arrays.items()))


def _arrays(path: Path) -> Any:
    """Content of a file of numpy, without pickles."""
    try:
        read = np.load(path, allow_pickle=False)
        if not isinstance(read, np.lib.npyio.NpzFile):
            return read
        with read:
            return {name: read[name] for name in read.files}
    except ValueError as error:
        # numpy's own words advise to run the code.
        raise _pickled("numpy") if "allow_pickle" in str(error) else error from error


READERS: dict[str, Callable[[Path], Found]] = {
    ".gguf": _gguf,
    ".safetensors": _safetensors,
    ".svec": _svec,
    ".pt": _torch,
    ".pth": _torch,
    ".npy": _npy,
    ".npz": _npz,
}
"""Readers by suffix."""
