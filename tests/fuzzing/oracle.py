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


def values_of(folder: Path) -> tuple[dict[str, Any], Values, set[str]]:
    """Return a cell's labels and scalars, its arrays, and what a note should say of it."""
    texts = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    calib = parsed(texts["calib.json"])
    window = whole(calib["window"], 1)
    out: Values = {}
    notes: set[str] = set()
    c_star = number(calib["c_star"])
    kl(texts, window, out, notes)
    pmass(texts, out, notes)
    recorded = doses(texts)
    lengths(texts, window, recorded, out)
    recorded = on_one_label_a_dose(recorded, out)
    summaries(recorded, c_star, out)
    bisection(texts, out, notes)
    contradictions(folder, c_star, out, notes)
    model = calib["model"]
    digest = hashlib.sha256()
    for name, text in texts.items():
        digest.update(name.encode() + b"\0" + str(len(text)).encode() + b"\0" + text)
    return (
        {
            "run_id": folder.name,
            "model": line(model),
            "model_short": short(model),
            "method": line(calib["method"]),
            "seed": whole(calib["seed"], -(2**63), 2**63),
            "layer": whole(calib["layer"]),
            "window": window,
            "sign": side(calib, c_star),
            "temperature": temperature(calib.get("measured_with")),
            "c_star": c_star,
            "target_stat": one_of(calib.get("target_stat", "p95"), "p95", "rms", "mean"),
            "measured_with": record(calib.get("measured_with")),
            "calib_newer": "calib newer" in notes,
            "target_kl": number(calib["target_kl"]),
            "has_kl": any(map(math.isfinite, out["kl"].values())),
            "has_pmass": any(
                map(math.isfinite, [*out["pmass_eval"].values(), *out["pmass"].values()])
            ),
            "source_hash": digest.hexdigest(),
        },
        out,
        notes,
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


def whole(value: Any, least: int = -(2**31), end: int = 2**31) -> int:
    assert type(value) is int, f"{value!r} is not whole"
    assert least <= value < end, f"{value!r} is out of range"
    return value


def one_of(value: Any, *allowed: str) -> str:
    assert isinstance(value, str)
    assert value in allowed, f"{value!r} is none of {allowed}"
    return value


def record(value: Any) -> str:
    if value is None:
        return ""
    assert isinstance(value, dict)
    return json.dumps(value)


def side(calib: dict[str, Any], c_star: float) -> str:
    found = "-" if c_star < 0 else "+"
    assert calib.get("sign") not in ("+", "-") or calib["sign"] == found
    return found


def temperature(value: Any) -> float:
    found = value.get("temperature") if isinstance(value, dict) else None
    return math.nan if found is None else number(found)


def short(model: str) -> str:
    parts = [part for part in model.replace("\\", "/").split("/") if part.strip()]
    return parts[-1] if parts else model


def line(value: Any) -> str:
    assert isinstance(value, str), f"{value!r} is no text"
    assert value.strip()
    assert not any(ord(char) < 32 for char in value)
    return value


def same(a: float, b: float) -> bool:
    """Whether two alphas are the same dose."""
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def by_alpha(value: Any) -> dict[float, Any]:
    out = {float(key) + 0.0: item for key, item in value.items()}
    assert all(map(math.isfinite, out)), "an alpha is not finite"
    assert len(out) == len(value), "an alpha is there twice"
    assert not any(same(a, b) for a, b in pairwise(sorted(out))), "a dose is there twice"
    return out


def present(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def stored(value: Any, notes: set[str]) -> float:
    """What float32 makes of a number, with a note if that is off by more than a millionth."""
    exact = number(value)
    single = ctypes.c_float(exact).value
    if abs(single - exact) > 1e-6 * abs(exact):
        notes.add("rounded")
    return single


def kl(texts: dict[str, bytes], window: int, out: Values, notes: set[str]) -> None:
    out["kl"], out["unpaired"] = {}, {}
    for alpha, rows in by_alpha(_kl(texts)).items():
        prompts, paired = prompts_of(texts, alpha, rows)
        if not paired:
            out["unpaired"][alpha,] = 1
            notes.add("unpaired")
        for i, row in zip(prompts, rows, strict=True):
            assert isinstance(row, list)
            for t, value in enumerate(row[:window]):
                if present(value):
                    out["kl"][alpha, i, t] = stored(value, notes)


def prompts_of(texts: dict[str, bytes], alpha: float, rows: list[Any]) -> tuple[list[int], bool]:
    """The prompt of each row of KL, and whether pmass can be paired with it."""
    beside = _at(_pmass(texts).get("pmass_eval", {}), alpha)
    lengths = _at(_pmass(texts).get("gen_lens_eval", {}), alpha)
    some = [i for i, length in enumerate(lengths) if length != 0]
    if 0 < len(rows) == len(some) and len(beside) in (0, len(lengths)):
        return some, True
    paired = not rows or not beside or len(rows) == len(beside)
    return [*range(len(rows))], paired


def _at(value: Any, alpha: float) -> list[Any]:
    """What an object keyed by alphas has at a dose."""
    found = [item for key, item in by_alpha(value).items() if same(key, alpha)]
    return found[0] if found else []


def _kl(texts: dict[str, bytes]) -> Any:
    trajectory = parsed(texts.get("trajectory.json", b"{}"))
    return trajectory.get("per_prompt_per_t_kl", {})


def _pmass(texts: dict[str, bytes]) -> Any:
    record = parsed(texts.get("pmass.json", b"{}"))
    assert type(record.get("computed", True)) is bool
    return record if record.get("computed", True) else {}


def pmass(texts: dict[str, bytes], out: Values, notes: set[str]) -> None:
    record = _pmass(texts)
    if "pmass.json" in texts and "trajectory.json" not in texts:
        notes.add("no trajectory")
    forks = [whole(fork, 0) for fork in record.get("fork_points", [])]
    assert all(a < b for a, b in pairwise(forks)), "forks do not rise"
    begun: set[float] = set()
    for name in ("pmass_eval", "pmass", "p_true"):
        out[name] = {}
        for alpha, rows in by_alpha(record.get(name, {})).items():
            begun.add(alpha)
            for i, row in enumerate(rows):
                assert isinstance(row, list)
                assert len(row) <= len(forks)
                for fork, value in zip(forks, row, strict=False):
                    if present(value):
                        out[name][alpha, i, fork] = stored(value, notes)
    out["repetition"] = {}
    for alpha, items in by_alpha(record.get("repetition_eval", {})).items():
        begun.add(alpha)
        for i, value in enumerate(items):
            if present(value):
                out["repetition"][alpha, i] = stored(value, notes)
    if "completed_alphas" in record:
        begun |= {*by_alpha(record.get("gen_lens_eval", {}))}
        begun |= {*by_alpha(record.get("gen_lens_qa", {}))}
        completed = [float(text) for text in record["completed_alphas"]]
        if not all(any(same(alpha, other) for other in completed) for alpha in begun):
            notes.add("not finished")


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
        for i, row in zip(prompts_of(texts, alpha, rows)[0], rows, strict=True):
            finite = [
                t
                for t in range(len(row[:window]))
                if math.isfinite(out["kl"].get((alpha, i, t), math.nan))
            ]
            counted = max(finite, default=-1) + 1
            if not any(same(other, alpha) and at == i for other, at in out["gen_len"]):
                out["gen_len"][alpha, i] = counted
    alphas = set(doses)
    for value in (
        _kl(texts),
        *(
            record.get(key, {})
            for key in (
                "pmass_eval",
                "pmass",
                "p_true",
                "gen_lens_eval",
                "gen_lens_qa",
                "repetition_eval",
            )
        ),
    ):
        alphas |= {*by_alpha(value)}
    out["alpha"] = {(alpha,): alpha for alpha in alphas}


def on_one_label_a_dose(
    recorded: dict[float, dict[str, float]], out: Values
) -> dict[float, dict[str, float]]:
    """Put all values of a dose under its shortest spelling, and return what was recorded so."""
    groups: list[list[float]] = []
    for (alpha,) in sorted(out["alpha"]):
        if groups and same(groups[-1][0], alpha):
            groups[-1].append(alpha)
        else:
            groups.append([alpha])
    label = {alpha: min(group, key=lambda a: len(repr(a))) for group in groups for alpha in group}
    for name in [*out]:
        out[name] = {(label[at[0]], *at[1:]): value for at, value in out[name].items()}
    out["alpha"] = {at: at[0] for at in out["alpha"]}
    return {label[alpha]: row for alpha, row in recorded.items()}


def doses(texts: dict[str, bytes]) -> dict[float, dict[str, float]]:
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
        assert not any(same(alpha, other) for other in recorded)
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


def bisection(texts: dict[str, bytes], out: Values, notes: set[str]) -> None:
    steps = parsed(texts.get("history.json", b"[]"))
    assert isinstance(steps, list)
    for name in SUMMARIES:
        out[f"calib_{name}"] = {}
        for i, step in enumerate(steps):
            if step[name] is None or not is_finite(step[name]):
                notes.add("no number")
            else:
                out[f"calib_{name}"][i,] = number(step[name])


def is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond 1.8e308
        return False


def contradictions(folder: Path, c_star: float, out: Values, notes: set[str]) -> None:
    """What says that the files are of two runs."""
    for (alpha,), coeff in out["coeff"].items():
        if not math.isclose(coeff, alpha * c_star, rel_tol=1e-3):
            notes.add("coeff")
    tried = out["calib_coeff"].values()
    if tried and not any(math.isclose(coeff, c_star, rel_tol=1e-3) for coeff in tried):
        notes.add("c_star")
    made = ("trajectory.json", "pmass.json", "results.csv")
    times = [(folder / name).stat().st_mtime for name in made if (folder / name).exists()]
    if times and (folder / "calib.json").stat().st_mtime > max(times) + 2:
        notes.add("calib newer")
