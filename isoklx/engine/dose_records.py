"""Rollouts of some doses, as the arrays and lines that a cell's files hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from isoklx.engine.chat import AnswerIds, thinking_at
from isoklx.engine.rollouts import Rollouts

SPAN = 128
GRAM = 3


def repetition(token_ids: Sequence[int]) -> float:
    """Worst share of repeated 3-grams in any 128 tokens of a rollout.

    A 3-gram of a span is repeated where the same three tokens stand earlier in that span: text
    that says the same for ever has a share near 1, fluent text one near 0.

    Parameters
    ----------
    token_ids : sequence of int
        The generated tokens; where they are fewer than 128, all of them are the span.

    Returns
    -------
    float
        From 0 to 1; NaN where there are fewer than three tokens, which repeat nothing.

    Examples
    --------
    >>> repetition([1, 2, 3, 4, 5])
    0.0
    >>> repetition([1, 2, 1, 2, 1, 2])
    0.5
    """
    tokens = np.asarray(token_ids)
    if tokens.size < GRAM:
        return float("nan")
    grams = np.lib.stride_tricks.sliding_window_view(tokens, GRAM)
    _, kind = np.unique(grams, axis=0, return_inverse=True)
    kind = kind.ravel()
    # Where the same gram stood last; -1 where it did not yet.
    order = np.argsort(kind, kind="stable")
    again = np.flatnonzero(np.diff(kind[order]) == 0)
    last = np.full(kind.size, -1)
    last[order[again + 1]] = order[again]
    # The gram at place i repeats in every span that begins at its last place or before, and still
    # reaches i: spans that begin from i - width + 1 to last[i].
    width = min(SPAN, tokens.size) - GRAM + 1
    begins = kind.size - width + 1
    repeats = np.flatnonzero(last >= 0)
    lowest = np.maximum(repeats - width + 1, 0)
    highest = np.minimum(last[repeats], begins - 1)
    inside = lowest <= highest
    change = np.zeros(begins + 1, np.int64)
    np.add.at(change, lowest[inside], 1)
    np.add.at(change, highest[inside] + 1, -1)
    return float(change.cumsum()[:-1].max() / width)


@dataclass(frozen=True)
class DoseRollouts:
    """The rollouts of one kind at some doses: all prompts at the first dose, then at the next.

    Parameters
    ----------
    kind : {"eval", "qa"}
        From prompts, or from questions.
    alphas, coefficients : sequence of float
        Doses, and what they stand for.
    texts : sequence of str
        The prompts as they were written.
    prompts : sequence of list of int
        And as token ids.
    forks : tuple of int
        Tokens at which they were asked.
    tail : list of int
        The tokens that asked.
    rollouts : Rollouts
        A row for each dose and prompt.
    """

    kind: str
    alphas: Sequence[float]
    coefficients: Sequence[float]
    texts: Sequence[str]
    prompts: Sequence[Sequence[int]]
    forks: Sequence[int]
    tail: Sequence[int]
    rollouts: Rollouts

    def arrays(self) -> dict[str, Any]:
        """What `isoklx.write_cell` takes of rollouts from prompts."""
        return {
            "kl": self._by_dose(self.rollouts.kl),
            "gen_len": self._by_dose(self.rollouts.gen_len),
            "pmass_eval": self._by_dose(self.rollouts.pmass),
            "repetition": self._by_dose([repetition(ids) for ids in self.rollouts.token_ids]),
        }

    def answers(self, tokenizer: PreTrainedTokenizerBase, ids: AnswerIds) -> dict[str, Any]:
        """What `isoklx.write_cell` takes of rollouts from questions."""
        top = self.rollouts.top_id
        thinking = thinking_at(tokenizer, self.rollouts.token_ids, self.forks)
        shown = np.array([[_text(tokenizer, each) for each in row] for row in top], object)
        label = np.full(top.shape, None, object)
        label[np.isin(top, ids.true_ids)] = "true"
        label[np.isin(top, ids.false_ids)] = "false"
        said = {"argmax_str": shown, "was_thinking": thinking, "answer_label": label}
        return {
            "pmass": self._by_dose(self.rollouts.pmass),
            "p_true": self._by_dose(self.rollouts.p_true),
            "gen_len_qa": self._by_dose(self.rollouts.gen_len),
            "answers": {
                name: self._by_dose(np.array(values, object)) for name, values in said.items()
            },
        }

    def generations(self, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
        """The lines of ``gens.jsonl``, by which any number can be computed again."""
        for row, tokens in enumerate(self.rollouts.token_ids):
            dose, place = divmod(row, len(self.prompts))
            yield {
                "kind": self.kind,
                "alpha": self.alphas[dose],
                "coeff": self.coefficients[dose],
                "prompt_idx": place,
                "prompt": self.texts[place],
                "prompt_ids": list(self.prompts[place]),
                "token_ids": tokens,
                "tokens": [str(tokenizer.decode([token])) for token in tokens],
                "gen_text": tokenizer.decode(tokens),
                "gen_len": len(tokens),
                "fork_tail_ids": list(self.tail),
            }

    def _by_dose(self, values: Any) -> Any:
        values = np.asarray(values)
        return values.reshape(len(self.alphas), len(self.prompts), *values.shape[1:])


def _text(tokenizer: PreTrainedTokenizerBase, token: int) -> str | None:
    """A token as text; None past the end of the rollout."""
    return None if token < 0 else str(tokenizer.decode([token]))
