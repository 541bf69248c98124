"""Ways to break a cell at random, from the text of its files up to the meaning of its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

Files = dict[str, bytes]
"""A cell's files, by name."""

SPELLINGS = [
    *("NaN", "null", "Infinity", "-Infinity", "1e400", "-1e400", "true", "false", '""', '"0.5"'),
    *("[]", "{}", "[0.5]", "0", "-0.0", "1", "-1", "0.1", "1.0", "1e-60", "1e39", "1000000000000"),
    *("2147483647", "2147483648", "9" * 330, "9007199254740993", "0.30000000000000004", "5e-324"),
]
"""What a value may become."""

KEYS = [
    *("1", "1.0", "+1", "1e0", "10e-1", "-1", "0", "-0.0", "0.25", "0.250", "2", "nan", "inf", ""),
    *(" 1", "1_0", "one", "1e999", "computed", "window", "pmass", "per_prompt_per_t_kl"),
    *("0.5000000000000001", "0.9999999999999999", "1.000000002", "completed_alphas"),
    *("repetition_eval", "target_stat", "measured_with", "temperature", "sign"),
]
"""What a key may become."""

CHARACTERS = [*b'0123456789.-+eE,:"[]{} \n\r\0\x1b\xff', *b"NaNIfnulltrue"]


def mutated(files: Files, rng: Random) -> Files:
    """Files that differ from valid ones by one to three accidents."""
    out = dict(files)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not out:
            break
        name = rng.choice([*out])
        kind = rng.random()
        if kind < 0.04:
            _lose(out, name, rng)
        elif kind < 0.4:
            out[name] = rng.choice(TEXTUAL)(out[name], rng)
        elif name.endswith(".csv"):
            out[name] = _table(out[name], rng)
        else:
            out[name] = _structural(out[name], rng)
    return out


def _lose(files: Files, name: str, rng: Random) -> None:
    """A file is gone, empty, or another one."""
    what = rng.choice(["gone", "empty", "another"])
    if what == "gone":
        del files[name]
    else:
        files[name] = b"" if what == "empty" else files[rng.choice([*files])]


def _truncate(text: bytes, rng: Random) -> bytes:
    return text[: rng.randrange(len(text) + 1)]


def _flip_bit(text: bytes, rng: Random) -> bytes:
    if not text:
        return text
    at = rng.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << rng.randrange(8)]) + text[at + 1 :]


def _replace_byte(text: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + bytes([rng.choice(CHARACTERS)]) + text[at + rng.randrange(2) :]


def _repeat_slice(text: bytes, rng: Random) -> bytes:
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:end] + text[start:end] + text[end:]


def _delete_slice(text: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randrange(20) :]


def _change_digit(text: bytes, rng: Random) -> bytes:
    digits = [match.start() for match in re.finditer(rb"\d", text)]
    if not digits:
        return text
    at = rng.choice(digits)
    return text[:at] + str(rng.randrange(10)).encode() + text[at + 1 :]


def _respell(text: bytes, rng: Random) -> bytes:
    numbers = list(re.finditer(rb"-?\d[\d.eE+-]*|NaN|null|true|false", text))
    if not numbers:
        return text
    match = rng.choice(numbers)
    return text[: match.start()] + rng.choice(SPELLINGS).encode() + text[match.end() :]


TEXTUAL: Sequence[Callable[[bytes, Random], bytes]] = (
    _truncate,
    _flip_bit,
    _replace_byte,
    _repeat_slice,
    _delete_slice,
    _change_digit,
    _change_digit,
    _respell,
    _respell,
)


def _table(text: bytes, rng: Random) -> bytes:
    """Delete, repeat or move a line, or a column's name."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    what = rng.choice(["delete", "repeat", "swap", "header"])
    if what == "delete":
        del lines[i]
    elif what == "repeat":
        lines.insert(j, lines[i])
    elif what == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    else:
        names = lines[0].split(b",")
        rng.shuffle(names)
        lines[0] = b",".join(names)
    return b"".join(lines)


def _structural(text: bytes, rng: Random) -> bytes:
    """Delete, duplicate, retype, reorder or rename somewhere in a JSON tree."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return text
    places = list(_places(tree))
    if not places:
        return text
    # By depth first, or nearly every accident would hit one of the many numbers.
    depth = rng.choice(sorted({depth for depth, _, _ in places}))
    _, inside, key = rng.choice([place for place in places if place[0] == depth])
    _, other, elsewhere = rng.choice(places)
    what = rng.choice(["delete", "duplicate", "retype", "retype", "reorder", "rename", "copy"])
    marker = "\0a spelling that JSON's own serialiser would not write"
    if what == "delete":
        del inside[key]
    elif what == "retype":
        inside[key] = marker
    elif what == "reorder":
        _reorder(inside, rng)
    elif what == "copy":
        inside[key] = json.loads(json.dumps(other[elsewhere]))
    elif isinstance(inside, list):
        inside.insert(rng.randrange(len(inside) + 1), inside[key])
    else:
        inside[rng.choice(KEYS)] = inside[key] if what == "duplicate" else inside.pop(key)
    return json.dumps(tree).replace(json.dumps(marker), rng.choice(SPELLINGS)).encode()


def _reorder(inside: Any, rng: Random) -> None:
    if isinstance(inside, list):
        rng.shuffle(inside)
        return
    items = list(inside.items())
    rng.shuffle(items)
    inside.clear()
    inside.update(items)


def _places(tree: Any, depth: int = 0) -> Iterator[tuple[int, Any, Any]]:
    """Every value of a tree, as (depth, what it is in, its key there)."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield depth, tree, key
        yield from _places(tree[key], depth + 1)
