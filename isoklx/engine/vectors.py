"""Steering vectors in files: those of others as they are, and our own ``vector.safetensors``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoklx.engine.steering import Steering
from isoklx.engine.vector_files import Found, read_file
from isoklx.errors import UsageError

log = logging.getLogger("isoklx.engine")

NORMS = (1e-19, 1e19)
"""Euclidean lengths whose squares float32 holds."""


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
    ``.pt``, ``.pth``  a tensor; ``vector`` with its ``layer``, or several of them; or hook points
                       with a vector, a coefficient and an action, as lm-eval has them; read as
                       tensors only, so that no code in it runs
    ``.npy``           one direction, or one per row
    ``.npz``           one direction, or arrays named by their layer: ``layer_12``, ``12``; or as
                       many unnamed ones as the model has blocks
    =================  =========================================================================

    Rows are numbered by their count. As many as the model has blocks: row k is added to the output
    of block k. One more, as in ``hidden_states``: row 0 is the embeddings, and row k + 1 is added
    to the output of block k. Any other count is refused.

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
        names, or else the file's own name. ``vector_rows`` says how rows were numbered.

    Raises
    ------
    UsageError
        Naming file and place: where it is of no known kind, cannot be read, holds vectors of
        another width, no finite numbers or only zeros, lacks a layer, or numbers its vectors in a
        way that the model's blocks do not.
    """
    path = Path(path)
    found = read_file(path)
    by_block, vector_rows = _by_block(path, found, depth, layers)
    picked = by_block if layers is None else _picked(path, by_block, layers)
    vectors = {layer: _vector(path, layer, values, hidden) for layer, values in picked.items()}
    if layers is None:
        # Whoever writes one vector for each layer writes zeros where nothing is to be steered.
        vectors = {layer: vector for layer, vector in vectors.items() if vector.any()}
    if not vectors:
        raise UsageError(f"{path}: holds no vector that is not zero")
    for layer, vector in vectors.items():
        if not vector.any():
            raise UsageError(f"{path}: layer {layer}: the vector is zero")
    if found.action == "ablate":
        vectors = {layer: _unit(vector) for layer, vector in vectors.items()}
    in_order = {layer: vectors[layer].astype(np.float32) for layer in sorted(vectors)}
    return Steering(found.action, in_order, found.method or path.stem, vector_rows)


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


def _by_block(
    path: Path, found: Found, depth: int, layers: Sequence[int] | None
) -> tuple[Mapping[int, Any], str | None]:
    """Vectors by the block whose output they are added to, and how rows were numbered."""
    blocks = f"the model has blocks 0 to {depth - 1}"
    if found.rows is None:
        last = max(found.vectors)
        if found.one_per_block and len(found.vectors) != depth:
            raise UsageError(
                f"{path}: holds arrays arr_0 to arr_{last}, which are layers only where there is "
                f"one for each block, and {blocks}: name them, as layer_0"
            )
        if last >= depth:  # whichever are picked, the file counts otherwise than the model
            raise UsageError(f"{path}: layer {last} is not there: {blocks}")
        return found.vectors, None
    rows = np.asarray(found.rows)
    if rows.ndim == 2 and len(rows) == depth:
        return dict(enumerate(rows)), "depth"
    if rows.ndim != 2 or len(rows) == 1:
        if layers is None:
            raise UsageError(f"{path}: holds one vector and not its layer: name it, as --layer 0.6")
        if beyond := [layer for layer in layers if not 0 <= layer < depth]:
            raise UsageError(f"{path}: layer {beyond[0]} is not there: {blocks}")
        return dict.fromkeys(layers, rows), None
    if len(rows) == depth + 1:
        log.info(
            "%s: %d rows for %d blocks: row 0 is the embeddings, row k + 1 is added to block k",
            *(path, len(rows), depth),
        )
        return dict(enumerate(rows[1:])), "depth + 1"
    raise UsageError(
        f"{path}: holds {len(rows)} vectors, and the model has {depth} blocks: which row belongs "
        "to which block is not known; save the one that is meant, and name its --layer"
    )


def _picked(path: Path, vectors: Mapping[int, Any], layers: Sequence[int]) -> dict[int, Any]:
    absent = [layer for layer in layers if layer not in vectors]
    if absent:
        there = sorted(vectors)
        known = f"layer {', '.join(map(str, there))}"
        if len(there) > 2 and there == list(range(len(there))):
            known = f"layers 0 to {there[-1]}"
        raise UsageError(f"{path}: holds no vector for layer {absent[0]}, only for {known}")
    return {layer: vectors[layer] for layer in layers}


def _vector(path: Path, layer: int, values: Any, hidden: int) -> NDArray[np.float64]:
    """Check one vector, which may stand in a row of its own."""
    vector = np.asarray(values)
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
    norm, (least, most) = float(np.linalg.norm(vector)), NORMS
    if vector.any() and not least <= norm <= most:
        raise UsageError(
            f"{path}: layer {layer}: norm must be between {least:g} and {most:g}, got {norm:.3g}: "
            "scale the vector"
        )
    return vector


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of length 1; what is so to rounding stays as it is, to be read back to the bit."""
    length = float(np.linalg.norm(vector))
    return vector if abs(length - 1) < 1e-6 else vector / length
