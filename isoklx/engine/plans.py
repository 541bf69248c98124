"""Plans of a run's cells: models by methods, seeds and signs, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from isoklx.engine.choices import Method, Sign
from isoklx.engine.settings import Settings
from isoklx.errors import UsageError
from isoklx.system.progress import duration

KEPT = "_measuring"
"""Folder in the runs root for the checkpoints of incomplete cells; not a cell itself."""


@dataclass(frozen=True)
class CellPlan:
    """A cell to be made."""

    model: str  # folder, GGUF file or a hub's name
    method: str  # or the name of the vector file
    seed: int
    sign: Sign
    settings: Settings

    @property
    def run_id(self) -> str:
        """Name of the cell's folder."""
        short = model_short(self.model)
        side = "_neg" if self.sign == "-" else ""
        return f"{short}_{self.method}{side}_s{self.seed}_w{self.settings.window}"

    def folder(self, out: Path) -> Path:
        """Return the cell's folder in a runs root."""
        return out / self.run_id

    def kept_in(self, out: Path) -> Path:
        """Return the folder of the cell's checkpoints."""
        return out / KEPT / self.run_id


def cell_plans(
    models: Sequence[str],
    methods: Sequence[Method],
    seeds: Sequence[int],
    sign: Literal["+", "-", "both"],
    settings: Settings,
    samples: int = 1,
) -> tuple[CellPlan, ...]:
    """Plan the cells of a run, those of one model next to each other; refuse ambiguous requests."""
    if not models:
        raise UsageError("model missing: give at least one")
    unknown = [method for method in methods if method not in get_args(Method)]
    if unknown:
        known = ", ".join(get_args(Method))
        raise UsageError(f"method must be one of {known}, got {unknown[0]!r}")
    if sign not in ("+", "-", "both"):
        raise UsageError(f"sign must be '+', '-' or 'both', got {sign!r}")
    if samples < 1:
        raise UsageError(f"samples must be at least 1, got {samples}")
    if min(seeds, default=0) < 0:
        raise UsageError(f"seed must be 0 or more, got {min(seeds)}")
    for name, given in (("model", models), ("method", methods), ("seed", seeds)):
        _refuse_repeats(name, given)
    if settings.temperature == 0 and (len(seeds) > 1 or samples > 1):
        name, count = ("samples", samples) if samples > 1 else ("seeds", len(seeds))
        raise UsageError(
            f"temperature must be above 0 for {count} {name}, got 0: greedy rollouts are all equal;"
            f" give a temperature, or one {name[:-1]}"
        )
    every_seed = [seed + sample for seed in seeds for sample in range(samples)]
    named = [settings.vector.stem] if settings.vector is not None else list(methods)
    signs: tuple[Sign, ...] = ("+", "-") if sign == "both" else (sign,)
    plans = tuple(
        CellPlan(model.rstrip("/") or model, method, seed, side, settings)
        for model, method, seed, side in product(models, named, every_seed, signs)
    )
    _refuse_names(plans)
    return plans


def model_short(model: str) -> str:
    """Return the last non-empty part of a model's name or path, without the suffix .gguf."""
    path = PurePosixPath(model.replace("\\", "/"))
    if path.name in ("", ".", ".."):
        path = PurePosixPath(Path(model).expanduser().resolve().as_posix())
    return path.stem if path.suffix == ".gguf" else path.name


def _refuse_repeats(name: str, given: Sequence[object]) -> None:
    for each in given:
        if given.count(each) > 1:
            raise UsageError(f"{name} {each} is given twice")


def _refuse_names(plans: Sequence[CellPlan]) -> None:
    """Refuse run ids that readers of a runs root skip, and run ids that occur twice."""
    seen: dict[str, CellPlan] = {}
    for plan in plans:
        if plan.run_id.startswith(("_", ".")):
            raise UsageError(
                f"{plan.model}: cell name must not start with {plan.run_id[0]}, got {plan.run_id}:"
                " such folders are skipped; rename the model's folder"
            )
        other = seen.setdefault(plan.run_id, plan)
        if other is not plan:
            both = (
                f"models {other.model} and {plan.model}"
                if other.model != plan.model
                else f"method {plan.method}, seed {plan.seed}"
            )
            raise UsageError(f"two cells have the name {plan.run_id}: {both}")


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of one cell."""

    plan: CellPlan
    doses_there: int  # requested doses that the cell already has
    tokens: int  # maximum to decode; 0 for a complete cell
    rows: int  # rollouts in the largest remaining batch
    weights: int  # bytes of the model
    working: int  # bytes of the largest batch, on top of the model
    seconds: float  # upper estimate: rollouts may end early

    def __str__(self) -> str:
        if not self.tokens:
            return f"{self.plan.run_id}: complete"
        there = f", {self.doses_there} doses complete" if self.doses_there else ""
        memory = f"{_bytes(self.weights)} for the model, {_bytes(self.working)} for a batch"
        return (
            f"{self.plan.run_id}: at most {self.tokens} tokens{there}; "
            f"{self.rows} rollouts at a time; {memory}; about {duration(self.seconds)}"
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
