"""The vectors that a cell was steered with, without torch: read, hashed and compared."""

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
    """Hash layers and values of a direction, whatever file holds them.

    Examples
    --------
    >>> vectors_sha256({2: np.zeros(3, np.float32)})[:12]
    'c4754792eec7'
    """
    digest = hashlib.sha256()
    for layer in sorted(vectors):
        digest.update(f"{layer}:".encode())
        digest.update(np.ascontiguousarray(vectors[layer], "<f4").tobytes())
    return digest.hexdigest()


def vector_findings(content: bytes | None, measured_with: Mapping[str, Any]) -> Iterator[str]:
    """Yield how ``vector.safetensors`` differs from what the cell records.

    Parameters
    ----------
    content : bytes, optional
        Of the file; None where there is none.
    measured_with : mapping
        Of ``calib.json``; what it does not record is not compared.

    Yields
    ------
    str
        One line for each difference.
    """
    hashes = measured_with.get("sha256")
    known = hashes.get("vector") if isinstance(hashes, dict) else None
    if content is None:
        if known is not None:
            yield f"{VECTOR}: is not there, and measured_with has its hash"
        return
    try:
        vectors, metadata = _parsed(content)
    except (ValueError, TypeError) as error:
        yield f"{VECTOR}: cannot be read: {error}"
        return
    now = vectors_sha256(vectors)
    if known is not None and known != now:
        yield (
            f"{VECTOR}: holds another vector than measured_with records: its hash is "
            f"{now[:12]}, and was {str(known)[:12]}"
        )
    for name, value in (("layers", sorted(vectors)), ("action", metadata.get("action"))):
        recorded = measured_with.get(name, value)
        if recorded != value:
            yield f"{VECTOR}: {name} is {value}, and {recorded} in measured_with"


def _parsed(content: bytes) -> tuple[Vectors, dict[str, Any]]:
    """Vectors by layer, and metadata; ValueError where it is no such file."""
    size = int.from_bytes(content[:8], "little")
    header = m.mapping(json.loads(content[8 : 8 + size]), "the header")
    metadata = m.mapping(header.pop("__metadata__", {}), "__metadata__")
    vectors: Vectors = {}
    for name, tensor in header.items():
        layer = re.fullmatch(r"layer([0-9]+)\.v", name)
        if layer is None:
            raise ValueError(f"{name!r} is no layer")
        begin, end = m.array(m.named(m.mapping(tensor, name), "data_offsets"), name)
        if tensor.get("dtype") != "F32":
            raise ValueError(f"{name} is {m.shorten(tensor.get('dtype'))}, not 'F32'")
        vectors[int(layer[1])] = np.frombuffer(content[8 + size + begin : 8 + size + end], "<f4")
    return vectors, metadata
