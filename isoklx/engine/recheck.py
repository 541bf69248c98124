"""Recomputation of a cell's numbers by a plain loop: no cache, one row at a time.

Nothing is shared with the rollout loop: token ids, vectors and settings come from the cell's files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx.cells.layout import (
    CALIBRATION,
    GENERATIONS,
    PMASS,
    TRAJECTORY,
    VECTOR,
    Sources,
)
from isoklx.errors import CellError, MeasureError, UsageError
from isoklx.schema import same_dose
from isoklx.system.extras import require_extra

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel

LARGEST = ("kl", "pmass", "p_true")
"""Columns with the largest differences."""

NEEDED = {"dtype", "action", "true_ids", "false_ids"}
"""Keys of ``measured_with`` that a recomputation needs."""

LINE = {"kind", "alpha", "coeff", "prompt_idx", "prompt_ids", "token_ids", "fork_tail_ids"}
"""Keys of a line of ``gens.jsonl`` that a recomputation needs."""


def recheck(
    cell: str | Path, *, samples: int = 3, model: str | None = None, device: str = "auto"
) -> pd.DataFrame:
    """Recompute numbers of some rollouts from a cell's files and its model.

    Every KL and pmass of a rollout comes from reading all its tokens anew, without a cache, in a
    batch of one: a simple loop, and many times slower than the run.

    Parameters
    ----------
    cell : path
        Folder of a cell that `isoklx run` made.
    samples : int
        Rollouts of each kind, spread evenly over doses and prompts.
    model : str, optional
        Current location of the model; by default the one that the cell records.
    device : str
        Device as torch names it.

    Returns
    -------
    DataFrame
        One row per rollout: ``kind``, ``alpha``, ``prompt``, ``tokens``, and the largest
        differences from the cell's ``kl`` (nats), ``pmass`` and ``p_true``; NaN where there is
        nothing to compare, infinity where only one of the two values is missing. Its
        ``attrs["other"]`` names what differs from the record in model and vector, "" if nothing.

    Raises
    ------
    UsageError
        If `samples` is below 1, `cell` is not a cell, its model has moved and `model` is not
        given, or torch is not installed.
    CellError
        If a file is missing or cannot be read, a coefficient does not match its dose, or the
        prompts of a dose differ from those of the cell's first dose.
    MeasureError
        If the model cannot be loaded.

    Examples
    --------
    $ isoklx recheck outputs/model_mean_diff_s0_w256 --samples 3
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1, got {samples}")
    require_extra("torch", "recheck", extra="run")
    import pandas as pd

    from isoklx.engine.identity import difference, recorded_identity
    from isoklx.engine.loading import load_model, quiet

    folder = Path(cell).expanduser()
    recorded = _Recorded.read(folder)
    recorded.refuse_other_prompts()
    name = model or recorded.calib["model"]
    try:
        loaded = load_model(name, device=device, dtype=recorded.measured_with["dtype"])
    except (UsageError, MeasureError) as error:
        if model is not None or not str(error).startswith(f"{name}: ") or Path(name).exists():
            raise
        raise UsageError(
            f"{folder}: cannot load its model; give its location with --model: {error}"
        ) from error
    with quiet():
        rows = [
            _compare(loaded.model, recorded, generation)
            for kind in ("eval", "qa")
            for generation in _spread(recorded.generations(kind), samples)
        ]
    found = pd.DataFrame(rows, columns=["kind", "alpha", "prompt", "tokens", *LARGEST])
    if found.empty:
        raise CellError(folder, GENERATIONS, "contains no rollouts")
    found.attrs["dtype"] = recorded.measured_with["dtype"]
    model_differs = difference(recorded_identity(recorded.measured_with), loaded.identity)
    found.attrs["other"] = model_differs or recorded.vector_differs()
    return found


@dataclass(frozen=True)
class _Recorded:
    """Content of a cell's files."""

    folder: Path
    calib: dict[str, Any]
    trajectory: dict[str, Any]
    pmass: dict[str, Any]
    lines: Sequence[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> _Recorded:
        if not folder.is_dir():
            raise UsageError(f"{folder}: not found")
        cells = sorted(entry.parent for entry in folder.glob(f"*/{CALIBRATION}"))
        if cells and not (folder / CALIBRATION).exists():
            raise UsageError(
                f"{folder}: expected a cell, got a runs root; name a cell in it, such as {cells[0]}"
            )
        sources = Sources(folder)
        sources.read(CALIBRATION, TRAJECTORY, PMASS, GENERATIONS)
        contents = []
        for file in (CALIBRATION, TRAJECTORY, PMASS):
            content = sources.json(file)
            if not isinstance(content, dict):
                reason = "not found" if content is None else "is not a JSON object"
                raise CellError(folder, file, reason)
            contents.append(content)
        calib, trajectory, pmass = contents
        measured_with = calib.get("measured_with")
        known = isinstance(measured_with, dict) and measured_with.keys() >= NEEDED
        if not known or not (folder / VECTOR).is_file():
            raise CellError(
                folder,
                CALIBRATION,
                "was not made by isoklx run: settings of the measurement are missing",
            )
        return cls(
            folder, calib, trajectory, pmass, _lines(folder, sources, float(calib["c_star"]))
        )

    @property
    def measured_with(self) -> dict[str, Any]:
        found: dict[str, Any] = self.calib["measured_with"]
        return found

    def refuse_other_prompts(self) -> None:
        """Raise CellError if the token ids of a dose differ from the cell's first ones."""
        from isoklx.engine.identity import difference, recorded_identity, shown_identity

        begun = recorded_identity(self.measured_with)
        for alpha, lines in groupby(self.lines, key=lambda line: line["alpha"]):
            shown = shown_identity(lines)
            if found := difference(begun, shown):
                raise CellError(
                    self.folder, GENERATIONS, f"alpha {alpha:g} was measured with {found}"
                )
            begun = {**shown, **begun}

    def vector_differs(self) -> str:
        """Describe how vector.safetensors differs from the recorded one; empty if it does not."""
        from safetensors.numpy import load_file

        from isoklx.cells.vector_file import vectors_sha256

        tensors = load_file(str(self.folder / VECTOR))
        now = vectors_sha256({_layer(name): vector for name, vector in tensors.items()})
        then = self.measured_with.get("sha256", {}).get("vector", now)
        return "" if then == now else f"a different vector (then {then[:12]}, now {now[:12]})"

    def generations(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == kind]

    def values(self, file: dict[str, Any], key: str, line: dict[str, Any]) -> list[float]:
        """Return a rollout's values in a file, by its dose; empty if the file has none."""
        for alpha, rows in file.get(key, {}).items():
            if same_dose(float(alpha), line["alpha"]) and line["prompt_idx"] < len(rows):
                found: list[float] = rows[line["prompt_idx"]]
                return found
        return []


def _lines(folder: Path, sources: Sources, c_star: float) -> list[dict[str, Any]]:
    """Return the rollouts, each with all keys that a recomputation needs."""
    text = sources.bytes(GENERATIONS)
    if text is None:
        raise CellError(folder, GENERATIONS, "not found")
    found = []
    for number, line in enumerate(text.decode().split("\n"), start=1):
        if line:
            try:
                found.append(_rollout(json.loads(line), c_star))
            except (ValueError, TypeError, AttributeError) as error:
                raise CellError(folder, GENERATIONS, f"line {number}: {error}") from error
    return found


def _rollout(line: dict[str, Any], c_star: float) -> dict[str, Any]:
    absent = LINE - line.keys()
    if absent:
        raise ValueError(f"{min(absent)!r} is missing")
    if not math.isclose(line["coeff"], line["alpha"] * c_star, rel_tol=1e-6):
        expected = f"{line['alpha'] * c_star:g} (alpha {line['alpha']:g} times c_star {c_star:g})"
        raise ValueError(f"coefficient must be {expected}, got {line['coeff']:g}")
    return line


def _layer(tensor: str) -> int:
    return int(tensor.removeprefix("layer").removesuffix(".v"))


def _spread(lines: Sequence[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    """Return some lines, including the last: the largest dose has the largest numbers."""
    places = np.linspace(len(lines) - 1, 0, min(samples, len(lines))).round().astype(int)[::-1]
    return [lines[place] for place in places]


def _compare(
    model: PreTrainedModel, recorded: _Recorded, line: dict[str, Any]
) -> tuple[str, float, int, int, float, float, float]:
    prompt, tokens, suffix = line["prompt_ids"], line["token_ids"], line["fork_tail_ids"]
    plain = _Plain(model, recorded, float(line["coeff"]))
    kl = pmass = p_true = math.nan
    of_question = line["kind"] == "qa"
    if not of_question:
        kl = _largest(
            recorded.values(recorded.trajectory, "per_prompt_per_t_kl", line),
            plain.kl(prompt, tokens),
        )
    forks = [
        plain.fork([*prompt, *tokens[:fork], *suffix]) if fork <= len(tokens) else (math.nan,) * 2
        for fork in recorded.pmass["fork_points"]
    ]
    key = "pmass" if of_question else "pmass_eval"
    pmass = _largest(recorded.values(recorded.pmass, key, line), [each[0] for each in forks])
    if of_question:
        p_true = _largest(
            recorded.values(recorded.pmass, "p_true", line), [each[1] for each in forks]
        )
    return line["kind"], line["alpha"], line["prompt_idx"], len(tokens), kl, pmass, p_true


def _largest(recorded: Sequence[float], recomputed: Sequence[float]) -> float:
    """Return the largest difference; infinity where only one of two values is missing."""
    if len(recorded) != len(recomputed):
        return math.inf
    old, new = np.array(recorded, float), np.array(recomputed, float)
    neither = np.isnan(old) & np.isnan(new)
    if neither.all():
        return math.nan
    differences = np.abs(old - new)[~neither]
    return math.inf if np.isnan(differences).any() else float(differences.max())


class _Plain:
    """Steered model that reads every token anew."""

    def __init__(self, model: PreTrainedModel, recorded: _Recorded, coefficient: float) -> None:
        from safetensors.torch import load_file

        self._model, self._coefficient = model, coefficient
        self._ablates = recorded.measured_with["action"] == "ablate"
        self._true = recorded.measured_with["true_ids"]
        self._false = recorded.measured_with["false_ids"]
        self._vectors = {
            _layer(name): vector.float()
            for name, vector in load_file(str(recorded.folder / VECTOR)).items()
        }

    def kl(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return KL(steered || base) of the prediction of each token."""
        if not tokens:
            return []
        predicted = slice(len(prompt) - 1, -1)
        with self._steered():
            log_p = self._logits([*prompt, *tokens])[predicted].log_softmax(-1)
        log_base = self._logits([*prompt, *tokens])[predicted].log_softmax(-1)
        found: list[float] = (log_p.exp() * (log_p - log_base)).sum(-1).tolist()
        return found

    def fork(self, ids: Sequence[int]) -> tuple[float, float]:
        """Return the probability of both answers as the next token, and the share of true in it."""
        with self._steered():
            log_p = self._logits(ids)[-1].double().log_softmax(-1)
        # In logarithms, as both probabilities may be too small for a quotient.
        true, false = (log_p[ids].logsumexp(-1) for ids in (self._true, self._false))
        both = true.logaddexp(false)
        return float(both.exp()), float((true - both).exp())

    def _logits(self, ids: Sequence[int]) -> torch.Tensor:
        import torch

        with torch.no_grad():
            read = torch.tensor([list(ids)], device=self._model.device)
            logits: torch.Tensor = self._model(input_ids=read, use_cache=False).logits[0].float()
        return logits

    @contextmanager
    def _steered(self) -> Iterator[None]:
        from isoklx.engine.steering import decoder_blocks

        blocks = decoder_blocks(self._model)
        handles = [
            blocks[layer].register_forward_hook(self._hook(vector))
            for layer, vector in self._vectors.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, vector: torch.Tensor) -> Any:
        def steer(_module: object, _inputs: object, output: Any) -> Any:
            h = output[0] if isinstance(output, tuple) else output
            v = vector.to(h.device)
            steered = h.float() + self._coefficient * v
            if self._ablates:
                steered = steered - (h.float() @ v)[..., None] * v
            steered = steered.to(h.dtype)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return steer
