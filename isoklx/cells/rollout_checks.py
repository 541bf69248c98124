"""The rollouts of a cell against its other files, and against each other."""

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
"""The variable that has a rollout's length, and what the rollout starts from, by kind."""

GIVEN = {
    "prompt_ids": "other token ids",
    "prompt": "another text",
    "fork_tail_ids": "another suffix at its forks",
}
"""Keys of a rollout that must not depend on the dose, and the words for a difference."""

IDENTITY = {"eval": "prompt_ids", "qa": "question_ids"}
"""What ``identity`` in ``measured_with`` calls the hash of all token ids of a kind."""


def rollout_findings(
    content: bytes | None, cell: Cell, measured_with: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what ``gens.jsonl`` says otherwise than a cell's other files.

    Every rollout is one of the cell, of the length and coefficient that its other files say, and
    at every dose each prompt has the same token ids, text and suffix.

    Parameters
    ----------
    content : bytes, optional
        Of the file; None where there is none, and nothing to check.
    cell : Cell
        What the other files hold.
    measured_with : mapping
        Of ``calib.json``.

    Yields
    ------
    str
        One line for each kind of fault, naming the first place.
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
    yield from rollouts.other_than_recorded(measured_with.get("identity"))


@dataclass
class _Rollouts:
    cell: Cell
    faults: dict[str, list[str]] = field(default_factory=dict)
    seen: set[tuple[str, int, int]] = field(default_factory=set)
    given: dict[tuple[str, str, int], dict[str, list[float]]] = field(default_factory=dict)
    """Doses by what was given there, for each kind, key and prompt."""

    def fault(self, kind: str, line: str) -> None:
        self.faults.setdefault(kind, []).append(line)

    def take(self, parsed: object) -> None:
        """Check one line by itself; ValueError where it is none of a rollout."""
        line = m.mapping(parsed, "it")
        kind = m.text(m.named(line, "kind"), "kind")
        if kind not in KINDS:
            raise ValueError(f"kind is {m.shorten(kind)}, not {' or '.join(KINDS)}")
        alpha = m.finite(m.named(line, "alpha"), "alpha")
        index = m.whole(m.named(line, "prompt_idx"), "prompt_idx", least=0)
        place = f"alpha {alpha:g}, {KINDS[kind][1]} {index}"
        dose = self._dose(alpha)
        lengths = self.cell.data[KINDS[kind][0]]
        if dose is None or index >= lengths.shape[1] or lengths[dose, index] < 0:
            self.fault("strange", f"{place} is no rollout of this cell")
            return
        if (kind, dose, index) in self.seen:
            self.fault("twice", f"{place} is there twice")
        self.seen.add((kind, dose, index))
        self._refuse_length(line, int(lengths[dose, index]), place)
        self._refuse_coefficient(line, alpha, place)
        for key in GIVEN.keys() & line.keys():
            values = self.given.setdefault((kind, key, index), {})
            values.setdefault(json.dumps(line[key]), []).append(alpha)

    def conclude(self, kind: str) -> None:
        """Check the rollouts of a kind together."""
        lengths, word = self.cell.data[KINDS[kind][0]], KINDS[kind][1]
        seen = {(dose, index) for own, dose, index in self.seen if own == kind}
        for dose, index in np.argwhere(lengths >= 0).tolist() if seen else ():
            if (dose, index) not in seen:
                alpha = self.cell.alpha[dose]
                self.fault("missing", f"no rollout of alpha {alpha:g}, {word} {index}")
        for (own, key, index), doses in sorted(self.given.items()):
            if own == kind and len(doses) > 1:
                first, *others = doses.values()
                changed = [alpha for alphas in others for alpha in alphas]
                self.fault(
                    f"{kind} {key}",
                    f"{word} {index} was given {GIVEN[key]} at alpha {_listed(changed)} than at "
                    f"alpha {_listed(first)}",
                )

    def other_than_recorded(self, identity: object) -> Iterator[str]:
        """Compare token ids with the hashes that were recorded of them."""
        if not isinstance(identity, dict):
            return
        for kind, name in IDENTITY.items():
            rows = self._prompts(kind)
            if name in identity and rows and digest(rows) != identity[name]:
                yield (
                    f"{GENERATIONS}: {KINDS[kind][1]}s were given other token ids than {name} of "
                    "measured_with records"
                )

    def _prompts(self, kind: str) -> list[Any]:
        """Token ids of all prompts of a kind; empty where some are unknown, or not the same."""
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

    def _refuse_length(self, line: Mapping[str, Any], length: int, place: str) -> None:
        for key in ("gen_len", "token_ids"):
            if key in line:
                value = line[key]
                found = len(value) if isinstance(value, list) else value
                if found != length:
                    self.fault(
                        "length",
                        f"{place} has {m.shorten(found)} tokens by its {key}, and {length} by the "
                        "cell's other files",
                    )

    def _refuse_coefficient(self, line: Mapping[str, Any], alpha: float, place: str) -> None:
        if "coeff" in line:
            c_star = float(self.cell.data["c_star"])
            coeff = m.number(line["coeff"], "coeff")
            off = consistency.coeff_mismatch(coeff, alpha, c_star)
            if not off <= consistency.SAME_COEFFICIENT:
                self.fault(
                    "coeff", f"{place} has the coefficient {coeff:g}, and c_star is {c_star:g}"
                )


def digest(content: object) -> str:
    """Hash whatever JSON can hold, such as token ids, as ``identity`` of ``measured_with`` does."""
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"


def _listed(alphas: list[float]) -> str:
    return ", ".join(f"{alpha:g}" for alpha in alphas)
