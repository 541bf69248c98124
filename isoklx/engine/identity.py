"""Identity by content: hashes of a model's weights and configuration, and of token ids.

A name is not enough: a folder can be replaced, a hub moves on to the next commit, and a chat
template added later changes every prompt. An identity is a short text whose prefix names the kind
of hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from isoklx.cells.rollout_checks import IDENTITY, digest

WHOLE = 10**9
"""Maximum bytes of weights to hash whole, which takes seconds."""

STRIDE, BLOCK = 2**20, 2**12
"""Sampling of larger weights: 4 KiB (BLOCK) of each MiB (STRIDE); 56 MB of 14 GB."""

DIGITS = 16
"""Number of hexadecimal digits to keep of a hash."""

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Files in the order in which transformers looks for weights."""

CONFIG = "config.json"
"""Configuration file of every model that is not a GGUF file."""

ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
"""Weight files of adapters (optional)."""

INERT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Keys of a configuration that do not affect numbers, or are recorded separately."""


def model_identity(source: str, gguf: str | None, commit: str | None) -> dict[str, str]:
    """Hash a model's weights and configuration, as far as their files are present."""
    if gguf is not None:
        return {"weights": files_identity([Path(source) / gguf])}

    from transformers.utils.hub import cached_file  # imported late: complete cells do not need it

    def file(name: str) -> Path | None:
        found = cached_file(
            source,
            name,
            revision=commit,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
        )
        return None if found is None else Path(found)

    identity = {}
    config = file(CONFIG)
    content = {} if config is None else json.loads(config.read_text(encoding="utf-8"))
    named = content.get("transformers_weights")
    first = next(filter(None, map(file, WEIGHTS if named is None else (named,))), None)
    if first is not None:
        files = [first, *map(file, ADAPTERS)]
        if first.name.endswith(".index.json"):
            shards = json.loads(first.read_text(encoding="utf-8"))["weight_map"].values()
            files[:1] = map(file, sorted(set(shards)))
        identity["weights"] = files_identity([each for each in files if each is not None])
    if config is not None:
        identity["config"] = digest({k: v for k, v in content.items() if k not in INERT})
    return identity


def files_identity(files: Sequence[Path], *, whole: int | None = None) -> str:
    """Hash the content of files, in order: all of it up to `whole` (1 GB), sampled beyond."""
    found = sha256()  # of a single whole file: what `sha256sum` prints
    sizes = [file.stat().st_size for file in files]
    complete = sum(sizes) <= (WHOLE if whole is None else whole)
    for file, size in zip(files, sizes, strict=True):
        with file.open("rb") as opened:
            if complete:
                while block := opened.read(STRIDE):
                    found.update(block)
                continue
            found.update(f"{size}:".encode())
            for place in (*range(0, size, STRIDE), max(size - BLOCK, 0)):
                opened.seek(place)
                found.update(opened.read(BLOCK))
    return f"{'sha256' if complete else 'sampled'}:{found.hexdigest()[:DIGITS]}"


def files_now(name: str) -> tuple[tuple[str, int, int], ...]:
    """Return path, size and modification time of a model's files; empty for a name on a hub."""
    path = Path(name).expanduser()
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        return ()
    files = sorted(each for each in folder.resolve().iterdir() if each.is_file())
    states = [(str(each), each.stat()) for each in files]
    return tuple((file, state.st_size, state.st_mtime_ns) for file, state in states)


def recorded_identity(measured_with: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identities and end ids recorded in ``measured_with``; empty without any."""
    identity = measured_with.get("identity")
    ends = {"end_ids": measured_with["end_ids"]} if "end_ids" in measured_with else {}
    return {**(identity if isinstance(identity, Mapping) else {}), **ends}


def shown_identity(rollouts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Hash the token ids that a dose was given, from its lines of ``gens.jsonl``."""
    prompts: dict[str, dict[int, list[int]]] = {}
    found = {}
    for line in rollouts:
        prompts.setdefault(line["kind"], {})[line["prompt_idx"]] = line["prompt_ids"]
        found["suffix_ids"] = digest([line["fork_tail_ids"]])
    for kind, name in IDENTITY.items():
        if rows := prompts.get(kind):
            found[name] = digest([rows[place] for place in sorted(rows)])
    return found


NAMES = {
    "weights": "other weights",
    "config": "another config.json",
    "chat_template": "another chat template",
    "prompt_ids": "other token ids of its prompts",
    "calib_prompt_ids": "other token ids of its calibration prompts",
    "question_ids": "other token ids of its questions",
    "pair_ids": "other token ids of its pairs",
    "suffix_ids": "other token ids of the fork suffix",
    "end_ids": "other end-of-rollout tokens",
}
"""Descriptions of differences, likeliest cause first: a template changes all token ids."""


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the first identity that differs, of those recorded on both sides, or return ''."""
    for key, name in NAMES.items():
        if key in before and key in now and before[key] != now[key]:
            return f"{name} (then {before[key]}, now {now[key]})"
    return ""
