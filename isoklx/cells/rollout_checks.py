"""Compare the rollouts of a cell with its other files and with each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jiter
import numpy as np

from isoklx import schema
from isoklx.cells import consistency
from isoklx.cells import parsing as m
from isoklx.cells.layout import GENERATIONS
from isoklx.cells.parsing import positions
from isoklx.cells.reading import Cell

KINDS = {"eval": ("gen_len", "prompt"), "qa": ("gen_len_qa", "question")}
"""Variable of the rollouts' lengths and word for their starting text, by kind."""

GIVEN = {
    "prompt_ids": "different token ids",
    "prompt": "different texts",
    "fork_tail_ids": "different suffixes at its forks",
}
"""Keys of a rollout that must not depend on the dose, and the wording of a difference."""

IDENTITY = {"eval": "prompt_ids", "qa": "question_ids"}
"""Key of the hash of all token ids in ``identity`` of ``measured_with``, by kind."""


def rollout_findings(
    content: bytes | None, cell: Cell, measured_with: Mapping[str, Any]
) -> Iterator[str]:
    """Yield where ``gens.jsonl`` contradicts a cell's other files, one line per kind of fault.

    Each rollout must belong to the cell and have the recorded length and coefficient, and each
    prompt the same token ids, text and suffix at every dose.
    """
    rollouts = _Rollouts(cell)
    for number, line in enumerate((content or b"").split(b"\n"), start=1):
        if line.strip():
            try:
                rollouts.take(jiter.from_json(line))
            except ValueError as error:
                rollouts.fault("broken", f"line {number}: {error}")
    for kind in KINDS:
        rollouts.conclude(kind)
    for faults in rollouts.faults.values():
        more = f" (one of {len(faults)})" if len(faults) > 1 else ""
        yield f"{GENERATIONS}: {faults[0]}{more}"
    yield from rollouts.identity_findings(measured_with.get("identity"))


@dataclass
class _Rollouts:
    cell: Cell
    faults: dict[str, list[str]] = field(default_factory=dict)
    seen: set[tuple[str, int, int]] = field(default_factory=set)
    given: dict[tuple[str, str, int], dict[str, list[float]]] = field(default_factory=dict)
    """Doses by the content given there, for each (kind, key, prompt)."""

    def fault(self, kind: str, line: str) -> None:
        self.faults.setdefault(kind, []).append(line)

    def take(self, parsed: object) -> None:
        """Check one line by itself; raise ValueError where it is not a rollout."""
        line = m.mapping(parsed, "it")
        kind = m.text(m.named(line, "kind"), "kind")
        if kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(KINDS)}, got {m.shorten(kind)}")
        alpha = m.finite(m.named(line, "alpha"), "alpha")
        index = m.whole(m.named(line, "prompt_idx"), "prompt_idx", least=0)
        place = f"alpha {alpha:g}, {KINDS[kind][1]} {index}"
        dose = self._dose(alpha)
        lengths = self.cell.data[KINDS[kind][0]]
        if dose is None or index >= lengths.shape[1] or lengths[dose, index] < 0:
            self.fault("strange", f"{place} is not a rollout of this cell")
            return
        if (kind, dose, index) in self.seen:
            self.fault("twice", f"{place} occurs twice")
        self.seen.add((kind, dose, index))
        self._check_length(line, int(lengths[dose, index]), place)
        self._check_coefficient(line, alpha, place)
        for key in GIVEN.keys() & line.keys():
            values = self.given.setdefault((kind, key, index), {})
            values.setdefault(json.dumps(line[key]), []).append(alpha)

    def conclude(self, kind: str) -> None:
        """Check all rollouts of a kind together."""
        lengths, word = self.cell.data[KINDS[kind][0]], KINDS[kind][1]
        seen = {(dose, index) for own, dose, index in self.seen if own == kind}
        for dose, index in np.argwhere(lengths >= 0).tolist() if seen else ():
            if (dose, index) not in seen:
                alpha = self.cell.alpha[dose]
                self.fault("missing", f"no rollout for alpha {alpha:g}, {word} {index}")
        for (own, key, index), doses in sorted(self.given.items()):
            if own == kind and len(doses) > 1:
                first, *others = doses.values()
                changed = [alpha for alphas in others for alpha in alphas]
                self.fault(
                    f"{kind} {key}",
                    f"{word} {index} was given {GIVEN[key]} at alpha {_listed(changed)} and at "
                    f"alpha {_listed(first)}",
                )

    def identity_findings(self, identity: object) -> Iterator[str]:
        """Compare token ids with their recorded hashes."""
        if not isinstance(identity, dict):
            return
        for kind, name in IDENTITY.items():
            rows = self._prompts(kind)
            if name in identity and rows and digest(rows) != identity[name]:
                yield (
                    f"{GENERATIONS}: token ids of the {KINDS[kind][1]}s differ from {name} in "
                    "measured_with"
                )

    def _prompts(self, kind: str) -> list[Any]:
        """Return the token ids of all prompts of a kind; empty if any is unknown or ambiguous."""
        count = self.cell.data[KINDS[kind][0]].shape[1]
        found = [self.given.get((kind, "prompt_ids", index), {}) for index in range(count)]
        if any(len(each) != 1 for each in found):
            return []
        return [json.loads(ids) for each in found for ids in each]

    def _dose(self, alpha: float) -> int | None:
        if not self.cell.alpha.size:
            return None
        nearest = int(positions(self.cell.alpha.astype(np.float64), [alpha])[0])
        return nearest if schema.same_dose(self.cell.alpha[nearest], alpha) else None

    def _check_length(self, line: Mapping[str, Any], length: int, place: str) -> None:
        for key in ("gen_len", "token_ids"):
            if key in line:
                value = line[key]
                found = len(value) if isinstance(value, list) else value
                if found != length:
                    self.fault(
                        "length",
                        f"{place} has {m.shorten(found)} tokens according to {key}, but {length} "
                        "according to the cell's other files",
                    )

    def _check_coefficient(self, line: Mapping[str, Any], alpha: float, place: str) -> None:
        if "coeff" in line:
            c_star = float(self.cell.data["c_star"])
            coeff = m.number(line["coeff"], "coeff")
            off = consistency.coeff_mismatch(coeff, alpha, c_star)
            if not off <= consistency.SAME_COEFFICIENT:
                self.fault(
                    "coeff", f"{place} has the coefficient {coeff:g}, but c_star is {c_star:g}"
                )


def digest(content: object) -> str:
    """Hash JSON content such as token ids, as recorded in ``identity`` of ``measured_with``."""
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"


def _listed(alphas: list[float]) -> str:
    return ", ".join(f"{alpha:g}" for alpha in alphas)
