"""What a cell is made of: model, inputs, direction, self-tests and the size of a batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import torch
import transformers

from isoklx._version import __version__
from isoklx.cells.layout import CALIBRATION, GENERATIONS
from isoklx.engine import chat
from isoklx.engine.batches import rows_that_fit
from isoklx.engine.checkpoints import MADE_WITH
from isoklx.engine.completed import REQUESTED, begun_with, requested
from isoklx.engine.directions import Direction, direction_of
from isoklx.engine.identity import difference, recorded_identity, shown_identity
from isoklx.engine.inputs import Inputs
from isoklx.engine.loading import LoadedModel
from isoklx.engine.plans import CellPlan
from isoklx.engine.selftests import SelfTests, self_test
from isoklx.engine.settings import fork_points
from isoklx.engine.tokenised import Tokenised, tokenise
from isoklx.errors import MeasureError, UsageError

log = logging.getLogger("isoklx.engine")

SCOPE = "all"
"""The tokens that are steered: those of the prompt, the rollout and the tail of a fork."""


@dataclass(frozen=True)
class Cell:
    """What a cell is made of.

    Parameters
    ----------
    plan : CellPlan
        Which cell it is.
    loaded : LoadedModel
        The model.
    inputs, tokenised : Inputs, Tokenised
        What it is given, as texts and as token ids.
    identity : mapping
        ``identity`` and ``end_ids`` of ``measured_with``; empty for a cell that was begun without.
    direction : Direction
        What it is steered with.
    tests : SelfTests
        What the self-tests found.
    batch : int
        Rollouts at a time.
    requested : mapping, optional
        Options as they were given when the cell was begun; None if it does not record them.
    """

    plan: CellPlan
    loaded: LoadedModel
    inputs: Inputs
    tokenised: Tokenised
    identity: Mapping[str, Any]
    direction: Direction
    tests: SelfTests
    batch: int
    requested: Mapping[str, Any] | None

    @property
    def calib(self) -> dict[str, Any]:
        """``calib.json``, but for ``c_star``: all that decides the cell's numbers."""
        settings, loaded = self.plan.settings, self.loaded
        rows = self.direction.steering.vector_rows
        return {
            "target_kl": settings.target_kl,
            "target_stat": settings.statistic,
            "window": settings.window,
            "method": self.plan.method,
            "model": loaded.name,
            **({} if loaded.commit is None else {"commit": loaded.commit}),
            "seed": self.plan.seed,
            "sign": self.plan.sign,
            "layer": min(self.direction.steering.vectors),
            "measured_with": {
                "isoklx": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                **loaded.made_with,
                "batch": self.batch,
                "padded": self.tests.padded,
                "temperature": settings.temperature,
                "action": self.direction.steering.action,
                "layers": sorted(self.direction.steering.vectors),
                **({} if rows is None else {"vector_rows": rows}),
                "token_scope": SCOPE,
                "forks": list(self.tokenised.forks),
                "true_ids": list(self.tokenised.answers.true_ids),
                "false_ids": list(self.tokenised.answers.false_ids),
                **self.identity,
                "sha256": {**self.inputs.sha256, **self.direction.sha256},
                **({} if self.requested is None else {REQUESTED: self.requested}),
            },
        }


@dataclass(frozen=True)
class Identified:
    """Model and token ids of a cell, the same that it was begun with.

    Parameters
    ----------
    loaded : LoadedModel
        Under the name that the cell was begun with.
    tokenised : Tokenised
        The inputs as token ids.
    identity : mapping
        ``identity`` and ``end_ids`` of ``measured_with``; empty for a cell that was begun without.
    before : mapping
        ``calib.json`` of the cell as it was begun; empty if it was not.
    """

    loaded: LoadedModel
    tokenised: Tokenised
    identity: Mapping[str, Any]
    before: Mapping[str, Any]


def identified(plan: CellPlan, loaded: LoadedModel, inputs: Inputs, out: Path) -> Identified:
    """Write the inputs of a cell as token ids; raise if it was begun with another model or inputs.

    Raises
    ------
    UsageError
        Naming what differs from what the cell was begun with, or an input that does not fit.
    """
    before = begun_in(plan, out)
    if _same_model(before, loaded):
        # A model has more than one name, and a hub more than one commit of it.
        loaded = replace(loaded, name=before["model"], commit=before.get("commit"))
    _refuse_other_inputs(plan, inputs, before, out)
    tokenised = tokenise(loaded, inputs, plan.settings)
    if before and "end_ids" not in before["measured_with"]:
        tokenised = replace(tokenised, eos_ids=_ends_before(plan, loaded, tokenised))
    identity = {
        "end_ids": sorted(tokenised.eos_ids),
        "identity": {**loaded.identity, **tokenised.identity},
    }
    if found := difference(_identity_before(plan, before, out), recorded_identity(identity)):
        ways_out = "give that, or write elsewhere"
        raise UsageError(f"{plan.folder(out)}: was begun with {found}: {ways_out}")
    if before:
        identity = {name: now for name, now in identity.items() if name in before["measured_with"]}
    return Identified(loaded, tokenised, identity, before)


def prepared(
    plan: CellPlan,
    loaded: LoadedModel,
    inputs: Inputs,
    out: Path,
    begin: Callable[[str], object] = lambda _: None,
) -> Cell:
    """Put together what a cell is made of, and test that the model can be measured.

    Parameters
    ----------
    plan : CellPlan
        Which cell.
    loaded : LoadedModel
        Its model.
    inputs : Inputs
        What the model is given.
    out : Path
        The runs root, where the cell, or batches of it, may be already: a batch is as large as it
        was then, and the model is called as it was.
    begin : callable
        Is given the name of each phase before it begins.

    Returns
    -------
    Cell

    Raises
    ------
    UsageError
        For inputs that do not fit the model, or are others than those that the cell was begun with.
    MeasureError
        When a self-test fails.
    """
    given = identified(plan, loaded, inputs, out)
    loaded, tokenised, before = given.loaded, given.tokenised, given.before
    try:
        direction = direction_of(plan, loaded, inputs, tokenised, begin)
        if before and "vector_rows" not in before["measured_with"]:  # begun before it was recorded
            direction = replace(direction, steering=replace(direction.steering, vector_rows=None))
        begin("self-tests")
        tests = self_test(
            loaded.model, direction.steering, tokenised.prompts, direction.start, tokenised.tail
        )
    except torch.OutOfMemoryError as error:
        raise MeasureError(f"{plan.model}: memory runs out before anything is measured") from error
    log.info(
        "%s: self-test passed: rows of a batch agree with single rows to %.1e",
        plan.run_id,
        tests.batch,
    )
    log.info(
        "%s: self-test passed: forks agree with a recomputation to %.1e", plan.run_id, tests.fork
    )
    if tests.zero is not None:
        log.info("%s: self-test passed: KL at coefficient 0 is %.1e", plan.run_id, tests.zero)
    batch = batch_of(plan, loaded, tokenised, before)
    asked = before["measured_with"].get(REQUESTED) if before else requested(plan)
    return Cell(plan, loaded, inputs, tokenised, given.identity, direction, tests, batch, asked)


def batch_of(
    plan: CellPlan, loaded: LoadedModel, tokenised: Tokenised, before: Mapping[str, Any]
) -> int:
    """Rollouts at a time: as asked for, as the cell was begun with, or as many as fit."""
    return (
        plan.settings.batch
        or (int(before["measured_with"]["batch"]) if before else None)
        or rows_that_fit(loaded.model, tokenised, plan.settings.window)
    )


def begun_in(plan: CellPlan, out: Path) -> dict[str, Any]:
    """``calib.json`` of the cell as it was begun; empty where it was not, or says no batch."""
    places = (plan.folder(out) / CALIBRATION, plan.kept_in(out) / MADE_WITH)
    return next(filter(None, map(begun_with, places)), {})


def refuse_other_inputs(plan: CellPlan, inputs: Inputs, out: Path) -> None:
    """Raise UsageError if a cell was begun with other files of prompts, or other forks."""
    _refuse_other_inputs(plan, inputs, begun_in(plan, out), out)


def _same_model(before: Mapping[str, Any], loaded: LoadedModel) -> bool:
    """Return whether a cell was begun with this model, by content or else by folder."""
    known = recorded_identity(before.get("measured_with", {}))
    if "weights" in known and "weights" in loaded.identity:
        return all(known.get(name) == now for name, now in loaded.identity.items())
    try:
        there = Path(str(before.get("model"))).expanduser()
        return there.samefile(Path(loaded.name).expanduser())
    except OSError:
        return False


def _identity_before(plan: CellPlan, before: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """What a cell was begun with; of one that does not record it, what its rollouts show."""
    known = recorded_identity(before.get("measured_with", {}))
    if known or not before:
        return known
    try:
        with (plan.folder(out) / GENERATIONS).open(encoding="utf-8") as opened:
            lines = map(json.loads, opened)
            first = next(lines)
            dose = takewhile(lambda line: line["alpha"] == first["alpha"], lines)
            return shown_identity(chain([first], dose))
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return {}  # whoever reads the file for its content says what is wrong with it


def _ends_before(plan: CellPlan, loaded: LoadedModel, tokenised: Tokenised) -> frozenset[int]:
    """End tokens of a cell that records none: the end of a turn did not count when it was begun."""
    named = chat.named_eos_ids(loaded.model, loaded.tokenizer)
    for token in sorted(tokenised.eos_ids - named):
        text = loaded.tokenizer.decode([token])
        log.warning("%s: goes on as it was begun, when %s ended no rollout", plan.run_id, text)
    return named


def _refuse_other_inputs(plan: CellPlan, inputs: Inputs, before: dict[str, Any], out: Path) -> None:
    """Say in words what `calib.json` could tell the difference of by hashes and lengths alone."""
    folder, ways_out = plan.folder(out), "give those, or write elsewhere"
    measured_with = before.get("measured_with", {})
    hashes = measured_with.get("sha256")
    for name, file in inputs.files.items():
        if isinstance(hashes, dict) and hashes.get(name, file.sha256) != file.sha256:
            raise UsageError(
                f"{file.path}: holds other {name} than {folder} was begun with: {ways_out}"
            )
    forks = list(fork_points(plan.settings.forks, plan.settings.window))
    there = measured_with.get("forks")
    if isinstance(there, list) and there != forks:
        raise UsageError(
            f"{folder}: was begun with forks at {_listed(there)}, and not at {_listed(forks)}: "
            f"{ways_out}"
        )


def _listed(points: Sequence[int]) -> str:
    shown = [str(point) for point in points]
    return ", ".join(shown if len(shown) <= 16 else [*shown[:8], "...", shown[-1]])
