"""Steered rollouts with their KL to the base model, and the answers at their forks.

One loop decodes the steered rows together with their base twins, which are fed the same tokens:
each step's logits give both distributions, and nothing has to be scored afterwards. Where a fork
lies the tail is read by a copy of the steered rows, as they are at that moment.
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
    """What one batch of rollouts measured.

    Parameters
    ----------
    token_ids : list of list of int
        The generated tokens of each row, with the one that ended it.
    gen_len : ndarray
        int32 [row]; their number.
    kl : ndarray or None
        float32 [row, window], nats: KL(steered || base) of the distributions that predicted each
        token; NaN from ``gen_len`` on. None where there were no twins.
    pmass, p_true : ndarray
        float32 [row, fork]: probability of all spellings of both answers as the next token after
        the tail, and the share of "true" in it; NaN where the rollout had ended before the fork.
    top_id : ndarray
        int32 [row, fork]: the most probable next token there; -1 where ``pmass`` is NaN.
    """

    token_ids: list[list[int]]
    gen_len: NDArray[np.int32]
    kl: NDArray[np.float32] | None
    pmass: NDArray[np.float32]
    p_true: NDArray[np.float32]
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
    """Roll out one batch: a row per prompt and coefficient.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    steering : Steering
        What it is steered with.
    prompts : list of list of int
        Token ids of each row's prompt, none empty; rows of one length need no padding.
    coefficients : list of float
        Of each row. NaN rolls the base model out.
    window : int
        Generated tokens at most.
    forks : list of int
        Numbers of generated tokens after which to ask, from 0 to ``window``.
    tails : list of list of int
        The tokens that ask, of each row, or one list for all.
    answers : AnswerIds
        The tokens that count as an answer.
    eos_ids : collection of int
        The tokens that end a rollout; they count into ``gen_len``, and have a KL.
    twins : bool
        Whether to measure KL, with a base row beside each steered one.
    temperature : float
        0 takes the most probable token; else tokens are drawn at that temperature.
    seeds : list of int, optional
        Of each row where tokens are drawn. What a row draws depends on its seed alone, not on
        the batch it is in.
    progress : callable
        Is given the number of tokens that every row has been decoded to, after each.

    Returns
    -------
    Rollouts
        Rows in the order given.

    Raises
    ------
    MeasureError
        If the model's logits are no numbers, or it keeps what it has read in no cache.
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
                for rows, logits in batch.ask(tails):
                    record.fork(step, rows, logits, answers)
            batch.drop_ended()
            if step == window or not batch.rows.size:
                break
            if uniform is None:
                tokens = batch.likeliest()
            else:
                tokens = batch.drawn(temperature, uniform[batch.rows, step])
            record.token(step, batch.rows, tokens, batch.kl() if twins else None)
            # What has ended is read once more where it is asked, and then dropped.
            goes_on = ~np.isin(tokens, eos) & (step + 1 < window)
            batch.read(tokens, goes_on, goes_on | (step + 1 in forks))
            progress(step + 1)
    return record.rollouts()


def joined(rows: int, parts: Iterable[tuple[Sequence[int], Rollouts]]) -> Rollouts:
    """Put the rollouts of several batches together, each row in its place.

    Parameters
    ----------
    rows : int
        How many there are; every one is in one of the parts.
    parts : iterable of tuple
        Numbers of rows, and their rollouts.

    Returns
    -------
    Rollouts
        Of all rows, in order.
    """
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
    """The rows that are decoded: the steered ones, then the base twins of those that go on."""

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
        self._goes_on = np.ones(len(prompts), bool)
        self._coefficients = np.asarray(coefficients, np.float32)
        self._twinned = twins
        self._work = work
        self._contexts = contexts
        # A prompt is read once for all rows that are steered alike, and once for all base twins.
        alike = [
            (tuple(prompt), None if np.isnan(coefficient) else coefficient)
            for prompt, coefficient in zip(prompts, coefficients, strict=True)
        ]
        alike += [(prompt, None) for prompt, _ in alike] if twins else []
        place = {key: place for place, key in enumerate(dict.fromkeys(alike))}
        work.rows([BASE if coefficient is None else coefficient for _, coefficient in place])
        self._logits = self._contexts.start([prompt for prompt, _ in place])
        self._select(np.array([place[key] for key in alike]))

    def ask(self, tails: Sequence[Sequence[int]]) -> Iterator[tuple[Rows, Tensor]]:
        """Let a copy of the steered rows read their tails; rows, and the logits that follow."""
        lengths = np.array([len(tails[row]) for row in self.rows.tolist()])
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length)
            rows = self.rows[places]
            self._work.rows(self._coefficients[rows])
            read = np.array([tails[row] for row in rows.tolist()])
            yield rows, self._contexts.branch(places).read(read)

    def drop_ended(self) -> None:
        """Go on without the rows that were kept only to be asked."""
        if not self._goes_on.all():
            going = np.flatnonzero(self._goes_on)
            twins = self.rows.size + np.arange(going.size if self._twinned else 0)
            self._select(np.concatenate([going, twins]))
            self.rows, self._goes_on = self.rows[going], self._goes_on[going]

    def likeliest(self) -> NDArray[np.int64]:
        """The most probable next token of each row."""
        tokens: NDArray[np.int64] = self._logits[: self.rows.size].argmax(1).cpu().numpy()
        return tokens

    def drawn(self, temperature: float, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """A next token of each row, drawn with a number from 0 to 1 each."""
        p = (self._logits[: self.rows.size] / temperature).softmax(1).double()
        reached = p.cumsum(1)
        sought = torch.as_tensor(uniform, device=p.device)[:, None] * reached[:, -1:]
        # Without the last entry, which rounding must not put out of reach.
        tokens: NDArray[np.int64] = (
            torch.searchsorted(reached[:, :-1].contiguous(), sought, right=True)[:, 0].cpu().numpy()
        )
        return tokens

    def kl(self) -> NDArray[np.float32]:
        """KL(steered || base) of each row's next token, in nats."""
        log_p, log_base = self._logits.log_softmax(1).chunk(2)
        terms = torch.nn.functional.kl_div(log_base, log_p, reduction="none", log_target=True)
        # Rounding can leave a KL of nothing below 0, where no KL lies.
        kl: NDArray[np.float32] = terms.sum(1).clamp(min=0).cpu().numpy()
        return kl

    def read(
        self, tokens: NDArray[np.int64], goes_on: NDArray[np.bool_], kept: NDArray[np.bool_]
    ) -> None:
        """Read the next token of the rows that are kept, and of the twins of those that go on."""
        twins = goes_on if self._twinned else np.zeros_like(goes_on)
        places = np.flatnonzero(np.concatenate([kept, twins]))
        if places.size < self._logits.shape[0]:
            self._select(places)
        self.rows, self._goes_on = self.rows[kept], goes_on[kept]
        if self.rows.size:
            base = np.full(twins.sum(), BASE, np.float32)
            self._work.rows(np.concatenate([self._coefficients[self.rows], base]))
            read = np.concatenate([tokens[kept], tokens[twins]])
            self._logits = self._contexts.read(read[:, None])

    def _select(self, places: Rows) -> None:
        self._contexts.select(places)
        self._logits = self._logits[torch.as_tensor(places, device=self._logits.device)]


class _Record:
    """What is known of the rows so far."""

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
            self._refuse_no_number(kl, "KL", step, rows)
            self._kl[rows, step] = kl

    def fork(self, step: int, rows: Rows, logits: Tensor, answers: AnswerIds) -> None:
        log_p = logits.log_softmax(1)
        true, both = (
            log_p[:, list(ids)].logsumexp(1)
            for ids in (answers.true_ids, answers.true_ids + answers.false_ids)
        )
        pmass, place = both.exp().cpu().numpy(), self._place[step]
        self._refuse_no_number(pmass, "pmass", step, rows)
        self._pmass[rows, place] = pmass
        # A quotient of logarithms, as both probabilities may be too small for a float32.
        self._p_true[rows, place] = (true - both).exp().cpu().numpy()
        self._top_id[rows, place] = logits.argmax(1).cpu().numpy()

    def rollouts(self) -> Rollouts:
        tokens = [
            line[:length].tolist() for line, length in zip(self._tokens, self._gen_len, strict=True)
        ]
        return Rollouts(tokens, self._gen_len, self._kl, self._pmass, self._p_true, self._top_id)

    def _refuse_no_number(
        self, values: NDArray[np.float32], name: str, step: int, rows: Rows
    ) -> None:
        if not np.isfinite(values).all():
            wrong = int(np.flatnonzero(~np.isfinite(values))[0])
            row = int(rows[wrong])
            raise MeasureError(
                f"{name} of row {row} (coefficient {self._coefficients[row]:g}) is {values[wrong]}"
                f" after {step} tokens: its logits are beyond the model's precision"
            )


def _uniform(seeds: Sequence[int] | None, rows: int, window: int) -> NDArray[np.float64]:
    """A number from 0 to 1 for each row and token, which depends on the row's seed alone."""
    if seeds is None or len(seeds) != rows:
        raise MeasureError("where tokens are drawn each row needs a seed")
    return np.stack([np.random.default_rng(seed).random(window) for seed in seeds])
