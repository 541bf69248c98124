"""Read, hash and compare a cell's steering vectors without torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.cells import parsing as m
from isoklx.cells.layout import VECTOR

Vectors = dict[int, npt.NDArray[np.float32]]


def vectors_sha256(vectors: Mapping[int, npt.NDArray[np.float32]]) -> str:
    """Hash layers and values of steering vectors, independent of the file format."""
    digest = hashlib.sha256()
    for layer in sorted(vectors):
        digest.update(f"{layer}:".encode())
        digest.update(np.ascontiguousarray(vectors[layer], "<f4").tobytes())
    return digest.hexdigest()


def vector_findings(content: bytes | None, measured_with: Mapping[str, Any]) -> Iterator[str]:
    """Yield each difference between ``vector.safetensors`` and ``measured_with``."""
    hashes = measured_with.get("sha256")
    known = hashes.get("vector") if isinstance(hashes, dict) else None
    if content is None:
        if known is not None:
            yield f"{VECTOR}: missing, but measured_with records its hash"
        return
    try:
        vectors, metadata = _parse(content)
    except (ValueError, TypeError) as error:
        yield f"{VECTOR}: cannot be read: {error}"
        return
    now = vectors_sha256(vectors)
    if known is not None and known != now:
        yield (
            f"{VECTOR}: differs from the vector that measured_with records: its hash is "
            f"{now[:12]}, recorded as {str(known)[:12]}"
        )
    for name, value in (("layers", sorted(vectors)), ("action", metadata.get("action"))):
        recorded = measured_with.get(name, value)
        if recorded != value:
            yield f"{VECTOR}: {name} is {value}, but {recorded} in measured_with"


def _parse(content: bytes) -> tuple[Vectors, dict[str, Any]]:
    """Parse vectors by layer, and metadata; raise ValueError where the file is invalid."""
    size = int.from_bytes(content[:8], "little")
    header = m.mapping(json.loads(content[8 : 8 + size]), "the header")
    metadata = m.mapping(header.pop("__metadata__", {}), "__metadata__")
    vectors: Vectors = {}
    for name, tensor in header.items():
        layer = re.fullmatch(r"layer([0-9]+)\.v", name)
        if layer is None:
            raise ValueError(f"tensors must be named layerN.v, got {name!r}")
        begin, end = m.array(m.named(m.mapping(tensor, name), "data_offsets"), name)
        if tensor.get("dtype") != "F32":
            raise ValueError(f"{name} must be 'F32', got {m.shorten(tensor.get('dtype'))}")
        vectors[int(layer[1])] = np.frombuffer(content[8 + size + begin : 8 + size + end], "<f4")
    return vectors, metadata
