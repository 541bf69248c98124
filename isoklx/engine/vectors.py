"""Steering vectors in files: reading any known format, and writing ``vector.safetensors``."""

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
"""Range of Euclidean lengths whose squares are finite and above 0 in float32."""


def read_steering(
    path: str | Path, *, hidden: int, depth: int, layers: Sequence[int] | None = None
) -> Steering:
    """Read a steering vector of any known format for a model of `depth` blocks, `hidden` wide."""
    # Vectors keep their length and the file's own coefficient; ablated ones get length 1. The
    # method is the one that the file names, else the file's name.
    path = Path(path)
    found = read_file(path)
    by_block, vector_rows = _by_block(path, found, depth, layers)
    picked = by_block if layers is None else _select_layers(path, by_block, layers)
    vectors = {
        layer: _checked_vector(path, layer, values, hidden) for layer, values in picked.items()
    }
    if layers is None:
        # Files with one vector for each layer have zeros at layers that are not steered.
        vectors = {layer: vector for layer, vector in vectors.items() if vector.any()}
    if not vectors:
        raise UsageError(f"{path}: at least one vector must be non-zero, got zeros only")
    for layer, vector in vectors.items():
        if not vector.any():
            raise UsageError(f"{path}: layer {layer}: vector must be non-zero, got zeros")
    if found.action == "ablate":
        vectors = {layer: _unit(vector) for layer, vector in vectors.items()}
    in_order = {layer: vectors[layer].astype(np.float32) for layer in sorted(vectors)}
    return Steering(found.action, in_order, found.method or path.stem, vector_rows)


def steering_bytes(steering: Steering, model: str) -> bytes:
    """Return the content of a cell's ``vector.safetensors``, always the same to the byte."""
    from safetensors.numpy import save

    metadata = {"action": steering.action, "method": steering.method, "model": model}
    tensors = {
        f"layer{layer}.v": np.ascontiguousarray(vector, np.float32)
        for layer, vector in sorted(steering.vectors.items())
    }
    return _sort_metadata(save(tensors, metadata=metadata))


def _sort_metadata(content: bytes) -> bytes:
    """Sort the metadata of a file, which safetensors writes in any order."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _by_block(
    path: Path, found: Found, depth: int, layers: Sequence[int] | None
) -> tuple[Mapping[int, Any], str | None]:
    """Return vectors by the block whose output they change, and how rows were numbered."""
    # As many rows as blocks: row k belongs to block k. One more, as in `hidden_states`: row 0 is
    # the embeddings, and row k + 1 belongs to block k.
    blocks = f"the model has blocks 0 to {depth - 1}"
    if found.rows is None:
        last = max(found.vectors)
        if found.one_per_block and len(found.vectors) != depth:
            raise UsageError(
                f"{path}: unnamed arrays must be one per block, got arr_0 to arr_{last}, and "
                f"{blocks}: name them by layer, such as layer_0"
            )
        if last >= depth:  # refused even if others are selected: the numbering differs
            raise UsageError(f"{path}: layer {last} not found: {blocks}")
        return found.vectors, None
    rows = np.asarray(found.rows)
    if rows.ndim == 2 and len(rows) == depth:
        return dict(enumerate(rows)), "depth"
    if rows.ndim != 2 or len(rows) == 1:
        if layers is None:
            raise UsageError(f"{path}: layer of the vector unknown: give it, such as --layer 0.6")
        if beyond := [layer for layer in layers if not 0 <= layer < depth]:
            raise UsageError(f"{path}: layer {beyond[0]} not found: {blocks}")
        return dict.fromkeys(layers, rows), None
    if len(rows) == depth + 1:
        log.info(
            "%s: %d rows for %d blocks: row 0 is the embeddings, row k + 1 is added to block k",
            *(path, len(rows), depth),
        )
        return dict(enumerate(rows[1:])), "depth + 1"
    raise UsageError(
        f"{path}: must hold 1, {depth} or {depth + 1} rows for a model of {depth} blocks, got "
        f"{len(rows)}: save one row, and give its --layer"
    )


def _select_layers(path: Path, vectors: Mapping[int, Any], layers: Sequence[int]) -> dict[int, Any]:
    absent = [layer for layer in layers if layer not in vectors]
    if absent:
        there = sorted(vectors)
        known = ", ".join(map(str, there))
        if len(there) > 2 and there == list(range(len(there))):
            known = f"0 to {there[-1]}"
        raise UsageError(f"{path}: layer {absent[0]} not found; available: {known}")
    return {layer: vectors[layer] for layer in layers}


def _checked_vector(path: Path, layer: int, values: Any, hidden: int) -> NDArray[np.float64]:
    """Validate one vector, which may be nested in a single row."""
    vector = np.asarray(values)
    if vector.dtype.kind not in "fiu":
        raise UsageError(f"{path}: layer {layer}: must hold real numbers, got {vector.dtype}")
    vector = vector.astype(np.float64)
    while vector.ndim > 1 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1:
        raise UsageError(f"{path}: layer {layer}: must be one vector, got shape {vector.shape}")
    if len(vector) != hidden:
        raise UsageError(
            f"{path}: layer {layer}: must be {hidden} wide for this model, got {len(vector)}"
        )
    with np.errstate(over="ignore"):
        stored = vector.astype(np.float32)
    if not np.isfinite(stored).all():
        place = int(np.flatnonzero(~np.isfinite(stored))[0])
        raise UsageError(
            f"{path}: layer {layer}: must be finite in float32, got {vector[place]:g} at {place}"
        )
    norm, (least, most) = float(np.linalg.norm(vector)), NORMS
    if vector.any() and not least <= norm <= most:
        raise UsageError(
            f"{path}: layer {layer}: norm must be between {least:g} and {most:g}, got {norm:.3g}: "
            "scale the vector"
        )
    return vector


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale to length 1; a length within 1e-6 of it stays as it is, so that rereading is exact."""
    length = float(np.linalg.norm(vector))
    return vector if abs(length - 1) < 1e-6 else vector / length
