"""A cell's values by json, csv and plain loops, sharing no code with the project.

Made for cells that the project has read: whatever it should have refused is an AssertionError.
"""

from __future__ import annotations

import csv
import ctypes
import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

FILES = ("calib.json", "trajectory.json", "pmass.json", "history.json", "results.csv")
SUMMARIES = ("coeff", "kl_mean", "kl_p95", "kl_max")

Values = dict[str, dict[tuple[float, ...], float]]
"""By variable and labels, what is not missing; alphas and forks stand for themselves."""


def values_of(folder: Path) -> tuple[dict[str, Any], Values, bool]:
    """Return a cell's labels and scalars, its arrays, and whether float32 rounds one of them."""
    texts = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    calib = parsed(texts["calib.json"])
    window = whole(calib["window"], 1)
    out: Values = {}
    rounded = [kl(texts, window, out), pmass(texts, out)]
    recorded = doses(texts, out)
    lengths(texts, window, recorded, out)
    summaries(recorded, number(calib["c_star"]), out)
    bisection(texts, out)
    model = calib["model"]
    digest = hashlib.sha256()
    for name, text in texts.items():
        digest.update(name.encode() + b"\0" + str(len(text)).encode() + b"\0" + text)
    return (
        {
            "run_id": folder.name,
            "model": line(model),
            "model_short": model.split("/")[-1] or model,
            "method": line(calib["method"]),
            "seed": whole(calib["seed"]),
            "layer": whole(calib["layer"]),
            "window": window,
            "c_star": number(calib["c_star"]),
            "target_kl": number(calib["target_kl"]),
            "has_kl": any(map(math.isfinite, out["kl"].values())),
            "has_pmass": any(
                map(math.isfinite, [*out["pmass_eval"].values(), *out["pmass"].values()])
            ),
            "source_hash": digest.hexdigest(),
        },
        out,
        any(rounded),
    )


def parsed(text: bytes) -> Any:
    return json.loads(text.decode("utf-8-sig"), object_pairs_hook=without_repeats)


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    assert len(out) == len(pairs), "a key is there twice"
    return out


def number(value: Any) -> float:
    assert type(value) in (int, float), f"{value!r} is no number"
    assert math.isfinite(value), f"{value!r} is not finite"
    return float(value)


def whole(value: Any, least: int = -(2**31)) -> int:
    assert type(value) is int, f"{value!r} is not whole"
    assert least <= value < 2**31, f"{value!r} is out of range"
    return value


def line(value: Any) -> str:
    assert isinstance(value, str), f"{value!r} is no text"
    assert value.strip()
    assert not any(ord(char) < 32 for char in value)
    return value


def by_alpha(value: Any) -> dict[float, Any]:
    out = {float(key) + 0.0: item for key, item in value.items()}
    assert len(out) == len(value), "an alpha is there twice"
    assert all(map(math.isfinite, out)), "an alpha is not finite"
    return out


def present(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def stored(value: Any) -> tuple[float, bool]:
    """What float32 makes of a number, and whether that is off by more than a millionth."""
    exact = number(value)
    single = ctypes.c_float(exact).value
    return single, abs(single - exact) > 1e-6 * abs(exact)


def kl(texts: dict[str, bytes], window: int, out: Values) -> bool:
    out["kl"] = {}
    rounded = False
    for alpha, rows in by_alpha(_kl(texts)).items():
        for i, row in enumerate(rows):
            assert isinstance(row, list)
            for t, value in enumerate(row[:window]):
                if present(value):
                    out["kl"][alpha, i, t], off = stored(value)
                    rounded |= off
    return rounded


def _kl(texts: dict[str, bytes]) -> Any:
    trajectory = parsed(texts.get("trajectory.json", b"{}"))
    return trajectory.get("per_prompt_per_t_kl", {})


def _pmass(texts: dict[str, bytes]) -> Any:
    record = parsed(texts.get("pmass.json", b"{}"))
    assert type(record.get("computed", True)) is bool
    return record if record.get("computed", True) else {}


def pmass(texts: dict[str, bytes], out: Values) -> bool:
    record = _pmass(texts)
    forks = [whole(fork, 0) for fork in record.get("fork_points", [])]
    assert all(a < b for a, b in pairwise(forks)), "forks do not rise"
    rounded = False
    for name in ("pmass_eval", "pmass", "p_true"):
        out[name] = {}
        for alpha, rows in by_alpha(record.get(name, {})).items():
            for i, row in enumerate(rows):
                assert isinstance(row, list)
                assert len(row) <= len(forks)
                for fork, value in zip(forks, row, strict=False):
                    if present(value):
                        out[name][alpha, i, fork], off = stored(value)
                        rounded |= off
    return rounded


def lengths(texts: dict[str, bytes], window: int, doses: Any, out: Values) -> None:
    record = _pmass(texts)
    for name, key in (("gen_len", "gen_lens_eval"), ("gen_len_qa", "gen_lens_qa")):
        out[name] = {
            (alpha, i): whole(value, 0)
            for alpha, items in by_alpha(record.get(key, {})).items()
            for i, value in enumerate(items)
            if value is not None
        }
    for alpha, rows in by_alpha(_kl(texts)).items():
        for i, row in enumerate(rows):
            finite = [
                t
                for t in range(len(row[:window]))
                if math.isfinite(out["kl"].get((alpha, i, t), math.nan))
            ]
            out["gen_len"].setdefault((alpha, i), max(finite, default=-1) + 1)
    alphas = set(doses)
    for value in (
        _kl(texts),
        *(
            record.get(key, {})
            for key in ("pmass_eval", "pmass", "p_true", "gen_lens_eval", "gen_lens_qa")
        ),
    ):
        alphas |= {*by_alpha(value)}
    out["alpha"] = {(alpha,): alpha for alpha in alphas}


def doses(texts: dict[str, bytes], out: Values) -> dict[float, dict[str, float]]:
    if "results.csv" not in texts:
        return {}
    text = texts["results.csv"].decode("utf-8-sig")
    assert text.endswith("\n")
    header, *lines = [cells for cells in csv.reader(text.splitlines(keepends=True)) if cells]
    assert len(set(header)) == len(header)
    recorded: dict[float, dict[str, float]] = {}
    for cells in lines:
        assert len(cells) == len(header)
        row = dict(zip(header, cells, strict=True))
        alpha = float(row["alpha"]) + 0.0
        assert alpha not in recorded
        recorded[alpha] = {
            name: number(float(row[name]))
            for name in SUMMARIES
            if row.get(name, "").lower() not in ("", "nan")
        }
    return recorded


def summaries(recorded: dict[float, dict[str, float]], c_star: float, out: Values) -> None:
    for name in SUMMARIES:
        out[name] = {}
    for (alpha,) in out["alpha"]:
        measured = sorted(
            value for at, value in out["kl"].items() if at[0] == alpha and math.isfinite(value)
        )
        row = {"coeff": alpha * c_star}
        if measured:
            place = 0.95 * (len(measured) - 1)
            low, high = measured[math.floor(place)], measured[math.ceil(place)]
            row["kl_mean"] = math.fsum(measured) / len(measured)
            row["kl_p95"] = low + (high - low) * (place - math.floor(place))
            row["kl_max"] = measured[-1]
        for name, value in {**row, **recorded.get(alpha, {})}.items():
            out[name][alpha,] = value


def bisection(texts: dict[str, bytes], out: Values) -> None:
    steps = parsed(texts.get("history.json", b"[]"))
    assert isinstance(steps, list)
    for name in SUMMARIES:
        out[f"calib_{name}"] = {(i,): number(step[name]) for i, step in enumerate(steps)}
