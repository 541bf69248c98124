"""Context of a cell: model, inputs, direction, self-tests and batch size."""

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
"""Tokens that are steered: those of the prompt, the rollout and the suffix of a fork."""


@dataclass(frozen=True)
class Cell:
    """Everything that a cell is measured with."""

    plan: CellPlan
    loaded: LoadedModel
    inputs: Inputs
    tokenised: Tokenised
    # identity and end_ids of measured_with; empty for a cell begun before they were recorded.
    identity: Mapping[str, Any]
    direction: Direction
    tests: SelfTests
    batch: int
    # Options as they were given when the cell was begun; None if they are not recorded.
    requested: Mapping[str, Any] | None

    @property
    def calib(self) -> dict[str, Any]:
        """Content of ``calib.json`` except ``c_star``: all that decides the cell's numbers."""
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
    """Model and token ids of a cell, checked against its record."""

    loaded: LoadedModel  # under the name that the cell was begun with
    tokenised: Tokenised
    # identity and end_ids of measured_with; empty for a cell begun before they were recorded.
    identity: Mapping[str, Any]
    before: Mapping[str, Any]  # calib.json of the cell so far; empty if it was not begun


def identified(plan: CellPlan, loaded: LoadedModel, inputs: Inputs, out: Path) -> Identified:
    """Tokenise the inputs of a cell; raise UsageError if it was begun with others."""
    before = begun_in(plan, out)
    if _same_model(before, loaded):
        # One model can have several names, and several commits on a hub.
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
        remedy = "use that, or another output folder"
        raise UsageError(f"{plan.folder(out)}: was begun with {found}: {remedy}")
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
    """Assemble the context of a cell, and run the self-tests.

    If the cell has been begun under `out`, its batch size and the model's recorded name are kept.
    `begin` receives the name of each phase before it starts.
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
        raise MeasureError(f"{plan.model}: memory ran out before the first measurement") from error
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
    options = before["measured_with"].get(REQUESTED) if before else requested(plan)
    return Cell(plan, loaded, inputs, tokenised, given.identity, direction, tests, batch, options)


def batch_of(
    plan: CellPlan, loaded: LoadedModel, tokenised: Tokenised, before: Mapping[str, Any]
) -> int:
    """Return the batch size: the requested one, that of the cell so far, or what fits in memory."""
    return (
        plan.settings.batch
        or (int(before["measured_with"]["batch"]) if before else None)
        or rows_that_fit(loaded.model, tokenised, plan.settings.window)
    )


def begun_in(plan: CellPlan, out: Path) -> dict[str, Any]:
    """Return ``calib.json`` of the cell so far; empty if it was not begun or has no batch size."""
    places = (plan.folder(out) / CALIBRATION, plan.kept_in(out) / MADE_WITH)
    return next(filter(None, map(begun_with, places)), {})


def refuse_other_inputs(plan: CellPlan, inputs: Inputs, out: Path) -> None:
    """Raise UsageError if a cell was begun with other input files or forks."""
    _refuse_other_inputs(plan, inputs, begun_in(plan, out), out)


def _same_model(before: Mapping[str, Any], loaded: LoadedModel) -> bool:
    """Return whether a cell was begun with this model, by content or else by folder."""
    known = recorded_identity(before.get("measured_with", {}))
    if "weights" in known and "weights" in loaded.identity:
        return all(known.get(name) == now for name, now in loaded.identity.items())
    try:
        recorded = Path(str(before.get("model"))).expanduser()
        return recorded.samefile(Path(loaded.name).expanduser())
    except OSError:
        return False


def _identity_before(plan: CellPlan, before: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return the recorded identity of a cell, or else the one that its rollouts show."""
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
        return {}  # reading the file for its content reports what is wrong


def _ends_before(plan: CellPlan, loaded: LoadedModel, tokenised: Tokenised) -> frozenset[int]:
    """Return the end tokens of a cell that records none: ends of turns did not count then."""
    named = chat.named_eos_ids(loaded.model, loaded.tokenizer)
    for token in sorted(tokenised.eos_ids - named):
        text = loaded.tokenizer.decode([token])
        log.warning(
            "%s: continues as it was begun, when %s did not end a rollout", plan.run_id, text
        )
    return named


def _refuse_other_inputs(plan: CellPlan, inputs: Inputs, before: dict[str, Any], out: Path) -> None:
    """Name the input file or forks that differ; `calib.json` has their hashes only."""
    folder, remedy = plan.folder(out), "use those, or another output folder"
    measured_with = before.get("measured_with", {})
    hashes = measured_with.get("sha256")
    for name, file in inputs.files.items():
        if isinstance(hashes, dict) and hashes.get(name, file.sha256) != file.sha256:
            raise UsageError(
                f"{file.path}: {name} differ from the ones that {folder} was begun with: {remedy}"
            )
    forks = list(fork_points(plan.settings.forks, plan.settings.window))
    begun = measured_with.get("forks")
    if isinstance(begun, list) and begun != forks:
        raise UsageError(
            f"{folder}: was begun with forks at {_shortened(begun)}, and not at "
            f"{_shortened(forks)}: {remedy}"
        )


def _shortened(points: Sequence[int]) -> str:
    shown = [str(point) for point in points]
    return ", ".join(shown if len(shown) <= 16 else [*shown[:8], "...", shown[-1]])
