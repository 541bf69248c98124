"""Which cells a run makes: models by methods, seeds and signs, each with its name."""

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
"""Folder in the runs root where batches are kept of cells that are not complete; no cell itself."""


@dataclass(frozen=True)
class CellPlan:
    """A cell that is to be made.

    Parameters
    ----------
    model : str
        A folder or a hub's name.
    method : str
        How its direction is found; where it comes from a file, what the cell is called by.
    seed : int
        Of what is drawn; 0 where decoding is greedy.
    sign : {"+", "-"}
        The side of the direction that is calibrated and swept.
    settings : Settings
        All else that decides its numbers.
    """

    model: str
    method: str
    seed: int
    sign: Sign
    settings: Settings

    @property
    def run_id(self) -> str:
        """The name of its folder."""
        short = model_short(self.model)
        side = "_neg" if self.sign == "-" else ""
        return f"{short}_{self.method}{side}_s{self.seed}_w{self.settings.window}"

    def folder(self, out: Path) -> Path:
        """Where it is written, in a runs root."""
        return out / self.run_id

    def kept_in(self, out: Path) -> Path:
        """Where its batches are kept until they are in the cell."""
        return out / KEPT / self.run_id


def cell_plans(
    models: Sequence[str],
    methods: Sequence[Method],
    seeds: Sequence[int],
    sign: Literal["+", "-", "both"],
    settings: Settings,
    samples: int = 1,
) -> tuple[CellPlan, ...]:
    """Plan the cells of a run, those of a model side by side.

    Parameters
    ----------
    models : sequence of str
        Folders or names.
    methods : sequence of str
        As `Method`; where a vector is given, it alone is the method.
    seeds : sequence of int
        Each is a cell, where something is drawn.
    sign : {"+", "-", "both"}
        Sides of the direction; each is a calibration and a cell of its own.
    settings : Settings
        Of all of them.
    samples : int
        Sampled rollouts per prompt: that many seeds from each of `seeds` on.

    Returns
    -------
    tuple of CellPlan
        No two of one name.

    Raises
    ------
    UsageError
        When nothing is asked for, or something twice, several seeds are to decode greedily, or two
        cells would have one name.
    """
    if not models:
        raise UsageError("no model was given")
    unknown = [method for method in methods if method not in get_args(Method)]
    if unknown:
        known = ", ".join(get_args(Method))
        raise UsageError(f"method {unknown[0]!r} is not known; give {known}")
    if sign not in ("+", "-", "both"):
        raise UsageError(f"sign is {sign!r}; give '+', '-' or 'both'")
    if samples < 1:
        raise UsageError(f"samples is {samples}; give at least 1")
    if min(seeds, default=0) < 0:
        raise UsageError(f"seed is {min(seeds)}; give 0 or more")
    for what, given in (("model", models), ("method", methods), ("seed", seeds)):
        _refuse_repeats(what, given)
    if settings.temperature == 0 and (len(seeds) > 1 or samples > 1):
        several = f"samples is {samples}: they" if samples > 1 else f"{len(seeds)} seeds"
        one = "one sample" if samples > 1 else "one seed"
        raise UsageError(
            f"{several} would decode greedily, and repeat each other to the byte; "
            f"give a temperature, or {one}"
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
    """The last part of a model's name or path that is not empty.

    Examples
    --------
    >>> model_short("org/name"), model_short("models/tiny/"), model_short("tiny/q4.gguf")
    ('name', 'tiny', 'q4')
    """
    path = PurePosixPath(model.replace("\\", "/"))
    if path.name in ("", ".", ".."):
        path = PurePosixPath(Path(model).expanduser().resolve().as_posix())
    return path.stem if path.suffix == ".gguf" else path.name


def _refuse_repeats(what: str, given: Sequence[object]) -> None:
    for each in given:
        if given.count(each) > 1:
            raise UsageError(f"{what} {each} is given twice")


def _refuse_names(plans: Sequence[CellPlan]) -> None:
    """Refuse what no cell is called by, and what two would be."""
    seen: dict[str, CellPlan] = {}
    for plan in plans:
        if plan.run_id.startswith(("_", ".")):
            raise UsageError(
                f"{plan.model}: its cells would be called {plan.run_id}, and a folder whose name"
                f" starts with {plan.run_id[0]} is no cell"
            )
        other = seen.setdefault(plan.run_id, plan)
        if other is not plan:
            both = (
                f"models {other.model} and {plan.model}"
                if other.model != plan.model
                else f"method {plan.method}, seed {plan.seed}"
            )
            raise UsageError(f"two cells would be called {plan.run_id}: {both}")


@dataclass(frozen=True)
class Estimate:
    """What one cell would take.

    Parameters
    ----------
    plan : CellPlan
        Which cell.
    doses_there : int
        Doses that the folder has already, of those that are asked for.
    tokens : int
        Tokens that are decoded at most; 0 where nothing is left to be done.
    rows : int
        Rollouts at a time, in the largest batch that is left to be done.
    weights, working : int
        Bytes of the model, and of the batch that takes most beside it.
    seconds : float
        At the speed of a few tokens of the largest batches; shorter where rollouts end early.
    """

    plan: CellPlan
    doses_there: int
    tokens: int
    rows: int
    weights: int
    working: int
    seconds: float

    def __str__(self) -> str:
        if not self.tokens:
            return f"{self.plan.run_id}: is complete"
        there = f", {self.doses_there} of its doses are there" if self.doses_there else ""
        memory = f"{_bytes(self.weights)} for the model, {_bytes(self.working)} for a batch"
        return (
            f"{self.plan.run_id}: at most {self.tokens} tokens{there}; "
            f"{self.rows} rollouts at a time; {memory}; about {duration(self.seconds)}"
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
