"""Steered rollouts, their KL to the base model, and the answers at their forks.

One loop decodes the steered rows together with their base twins, which read the same tokens: the
logits of each step give both distributions, and nothing has to be scored afterwards. At a fork, a
copy of the steered rows reads the suffix and thereby leaves the rollout unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from isoklx.engine.caches import Contexts, Rows, at_rest, reads_together
from isoklx.engine.chat import AnswerIds
from isoklx.engine.steering import BASE, Steered, Steering, steered
from isoklx.errors import MeasureError


@dataclass(frozen=True)
class Rollouts:
    """Measurements of a batch of rollouts."""

    # Generated tokens of each row, including the one that ended it, and their number [row].
    token_ids: list[list[int]]
    gen_len: NDArray[np.int32]
    # [row, window]: KL(steered || base) in nats of the distributions that predicted each token;
    # NaN from gen_len on. None without twins.
    kl: NDArray[np.float32] | None
    # [row, fork]: probability of all spellings of both answers after the suffix, and the share of
    # "true" in it; NaN if the rollout ended before the fork.
    pmass: NDArray[np.float32]
    p_true: NDArray[np.float32]
    # [row, fork]: most probable next token; -1 where pmass is NaN.
    top_id: NDArray[np.int32]


def roll_out(
    model: PreTrainedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    coefficients: Sequence[float],
    *,
    window: int,
    forks: Sequence[int],
    tails: Sequence[Sequence[int]],
    answers: AnswerIds,
    eos_ids: Collection[int],
    twins: bool = True,
    temperature: float = 0.0,
    seeds: Sequence[int] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Rollouts:
    """Roll out one batch, with one row per prompt and coefficient; NaN rolls out the base model.

    `forks` are numbers of generated tokens; `tails` has one suffix per row, or one for all. At a
    temperature above 0 a row's tokens depend on its seed only, not on the batch.
    """
    tails = list(tails) * len(prompts) if len(tails) == 1 else list(tails)
    record = _Record(coefficients, window, forks, twins=twins)
    uniform = _uniform(seeds, len(prompts), window) if temperature else None
    eos = np.array(sorted(eos_ids), dtype=np.int64)
    with at_rest(model):
        contexts = Contexts(model, together=reads_together(model))
    with at_rest(model), steered(model, steering) as work:
        batch = _Batch(contexts, work, prompts, coefficients, twins=twins)
        for step in range(window + 1):
            if step in forks:
                for rows, logits in batch.probe(tails):
                    record.fork(step, rows, logits, answers)
            batch.drop_ended()
            if step == window or not batch.rows.size:
                break
            if uniform is None:
                tokens = batch.most_probable()
            else:
                tokens = batch.sample(temperature, uniform[batch.rows, step])
            record.token(step, batch.rows, tokens, batch.kl() if twins else None)
            # A row that has ended is read once more if a fork follows, and then dropped.
            continues = ~np.isin(tokens, eos) & (step + 1 < window)
            batch.read(tokens, continues, continues | (step + 1 in forks))
            progress(step + 1)
    return record.rollouts()


def joined(rows: int, parts: Iterable[tuple[Sequence[int], Rollouts]]) -> Rollouts:
    """Join the rollouts of several batches, given with their row numbers, in order of rows."""
    places, found = zip(*parts, strict=True)
    back = np.argsort(np.concatenate([np.asarray(each) for each in places]))
    assert back.size == rows
    tokens = [ids for each in found for ids in each.token_ids]
    arrays = {
        name: np.concatenate([getattr(each, name) for each in found])[back]
        for name in ("gen_len", "pmass", "p_true", "top_id")
    }
    kl = None if found[0].kl is None else np.concatenate([each.kl for each in found])[back]
    return Rollouts(token_ids=[tokens[place] for place in back], kl=kl, **arrays)


class _Batch:
    """Rows being decoded: the steered ones, then the base twins of the continuing ones."""

    def __init__(
        self,
        contexts: Contexts,
        work: Steered,
        prompts: Sequence[Sequence[int]],
        coefficients: Sequence[float],
        *,
        twins: bool,
    ) -> None:
        self.rows = np.arange(len(prompts))
        self._continues = np.ones(len(prompts), bool)
        self._coefficients = np.asarray(coefficients, np.float32)
        self._twinned = twins
        self._work = work
        self._contexts = contexts
        # Each prompt is read once per coefficient, and once for all its base twins.
        keys = [
            (tuple(prompt), None if np.isnan(coefficient) else coefficient)
            for prompt, coefficient in zip(prompts, coefficients, strict=True)
        ]
        keys += [(prompt, None) for prompt, _ in keys] if twins else []
        place = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        work.rows([BASE if coefficient is None else coefficient for _, coefficient in place])
        self._logits = self._contexts.start([prompt for prompt, _ in place])
        self._select(np.array([place[key] for key in keys]))

    def probe(self, tails: Sequence[Sequence[int]]) -> Iterator[tuple[Rows, Tensor]]:
        """Read the suffix with a copy of the steered rows; yield rows and their next logits."""
        lengths = np.array([len(tails[row]) for row in self.rows.tolist()])
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length)
            rows = self.rows[places]
            self._work.rows(self._coefficients[rows])
            read = np.array([tails[row] for row in rows.tolist()])
            yield rows, self._contexts.branch(places).read(read)

    def drop_ended(self) -> None:
        """Drop the rows that were kept for a last fork only."""
        if not self._continues.all():
            places = np.flatnonzero(self._continues)
            twins = self.rows.size + np.arange(places.size if self._twinned else 0)
            self._select(np.concatenate([places, twins]))
            self.rows, self._continues = self.rows[places], self._continues[places]

    def most_probable(self) -> NDArray[np.int64]:
        """Return the most probable next token of each row."""
        tokens: NDArray[np.int64] = self._logits[: self.rows.size].argmax(1).cpu().numpy()
        return tokens

    def sample(self, temperature: float, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Sample a next token for each row from one uniform number each."""
        p = (self._logits[: self.rows.size] / temperature).softmax(1).double()
        cumulative = p.cumsum(1)
        target = torch.as_tensor(uniform, device=p.device)[:, None] * cumulative[:, -1:]
        # Without the last entry, so that rounding cannot exceed the vocabulary.
        tokens: NDArray[np.int64] = (
            torch.searchsorted(cumulative[:, :-1].contiguous(), target, right=True)[:, 0]
            .cpu()
            .numpy()
        )
        return tokens

    def kl(self) -> NDArray[np.float32]:
        """Return KL(steered || base) of each row's next token, in nats."""
        log_p, log_base = self._logits.log_softmax(1).chunk(2)
        terms = torch.nn.functional.kl_div(log_base, log_p, reduction="none", log_target=True)
        # Clamp: rounding can make a zero KL slightly negative.
        kl: NDArray[np.float32] = terms.sum(1).clamp(min=0).cpu().numpy()
        return kl

    def read(
        self, tokens: NDArray[np.int64], continues: NDArray[np.bool_], kept: NDArray[np.bool_]
    ) -> None:
        """Read the next token of the rows kept, and of the twins of continuing rows."""
        twins = continues if self._twinned else np.zeros_like(continues)
        places = np.flatnonzero(np.concatenate([kept, twins]))
        if places.size < self._logits.shape[0]:
            self._select(places)
        self.rows, self._continues = self.rows[kept], continues[kept]
        if self.rows.size:
            base = np.full(twins.sum(), BASE, np.float32)
            self._work.rows(np.concatenate([self._coefficients[self.rows], base]))
            read = np.concatenate([tokens[kept], tokens[twins]])
            self._logits = self._contexts.read(read[:, None])

    def _select(self, places: Rows) -> None:
        self._contexts.select(places)
        self._logits = self._logits[torch.as_tensor(places, device=self._logits.device)]


class _Record:
    """Values of all rows so far."""

    def __init__(
        self, coefficients: Sequence[float], window: int, forks: Sequence[int], *, twins: bool
    ) -> None:
        rows = len(coefficients)
        self._coefficients = coefficients
        self._place = {fork: place for place, fork in enumerate(forks)}
        self._tokens = np.zeros((rows, window), np.int64)
        self._gen_len = np.zeros(rows, np.int32)
        self._kl = np.full((rows, window), np.nan, np.float32) if twins else None
        self._pmass = np.full((rows, len(forks)), np.nan, np.float32)
        self._p_true = self._pmass.copy()
        self._top_id = np.full((rows, len(forks)), -1, np.int32)

    def token(
        self, step: int, rows: Rows, tokens: NDArray[np.int64], kl: NDArray[np.float32] | None
    ) -> None:
        self._tokens[rows, step] = tokens
        self._gen_len[rows] = step + 1
        if self._kl is not None and kl is not None:
            self._check_finite(kl, "KL", step, rows)
            self._kl[rows, step] = kl

    def fork(self, step: int, rows: Rows, logits: Tensor, answers: AnswerIds) -> None:
        log_p = logits.log_softmax(1)
        true, both = (
            log_p[:, list(ids)].logsumexp(1)
            for ids in (answers.true_ids, answers.true_ids + answers.false_ids)
        )
        pmass, place = both.exp().cpu().numpy(), self._place[step]
        self._check_finite(pmass, "pmass", step, rows)
        self._pmass[rows, place] = pmass
        # A difference of logarithms, as both probabilities may be too small for float32.
        self._p_true[rows, place] = (true - both).exp().cpu().numpy()
        self._top_id[rows, place] = logits.argmax(1).cpu().numpy()

    def rollouts(self) -> Rollouts:
        tokens = [
            line[:length].tolist() for line, length in zip(self._tokens, self._gen_len, strict=True)
        ]
        return Rollouts(tokens, self._gen_len, self._kl, self._pmass, self._p_true, self._top_id)

    def _check_finite(self, values: NDArray[np.float32], name: str, step: int, rows: Rows) -> None:
        if not np.isfinite(values).all():
            wrong = int(np.flatnonzero(~np.isfinite(values))[0])
            row = int(rows[wrong])
            raise MeasureError(
                f"{name} of row {row} (coefficient {self._coefficients[row]:g}) is {values[wrong]}"
                f" after {step} tokens: its logits exceed the model's precision"
            )


def _uniform(seeds: Sequence[int] | None, rows: int, window: int) -> NDArray[np.float64]:
    """Return a uniform number per row and token that depends on the row's seed only."""
    if seeds is None or len(seeds) != rows:
        raise MeasureError("sampling needs one seed per row")
    return np.stack([np.random.default_rng(seed).random(window) for seed in seeds])
