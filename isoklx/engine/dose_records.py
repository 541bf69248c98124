"""Conversion of rollouts at one or more doses to the arrays and lines of a cell's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from isoklx.engine.chat import AnswerIds, thinking_at
from isoklx.engine.rollouts import Rollouts

SPAN = 128  # tokens
GRAM = 3  # repeated where the same three tokens stand earlier in the span


def repetition(token_ids: Sequence[int]) -> float:
    """Return the worst share of repeated 3-grams in any 128 tokens, NaN below three tokens."""
    tokens = np.asarray(token_ids)
    if tokens.size < GRAM:
        return float("nan")
    grams = np.lib.stride_tricks.sliding_window_view(tokens, GRAM)
    _, kind = np.unique(grams, axis=0, return_inverse=True)
    kind = kind.ravel()
    # Previous position of the same gram; -1 at its first occurrence.
    order = np.argsort(kind, kind="stable")
    again = np.flatnonzero(np.diff(kind[order]) == 0)
    last = np.full(kind.size, -1)
    last[order[again + 1]] = order[again]
    # The gram at i repeats in the spans that contain both i and last[i]: those beginning from
    # i - width + 1 to last[i].
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
    """Rollouts of one kind, all prompts at the first dose, then at the next."""

    kind: str  # "eval" (from prompts) or "qa" (from questions)
    alphas: Sequence[float]
    coefficients: Sequence[float]
    texts: Sequence[str]  # the prompts as written
    prompts: Sequence[Sequence[int]]  # and as token ids
    forks: Sequence[int]
    tail: Sequence[int]
    rollouts: Rollouts  # a row per dose and prompt

    def arrays(self) -> dict[str, Any]:
        """Return the arguments of `isoklx.write_cell` for rollouts from prompts."""
        return {
            "kl": self._by_dose(self.rollouts.kl),
            "gen_len": self._by_dose(self.rollouts.gen_len),
            "pmass_eval": self._by_dose(self.rollouts.pmass),
            "repetition": self._by_dose([repetition(ids) for ids in self.rollouts.token_ids]),
        }

    def answers(self, tokenizer: PreTrainedTokenizerBase, ids: AnswerIds) -> dict[str, Any]:
        """Return the arguments of `isoklx.write_cell` for rollouts from questions."""
        top = self.rollouts.top_id
        thinking = thinking_at(tokenizer, self.rollouts.token_ids, self.forks)
        shown = np.array([[_text(tokenizer, each) for each in row] for row in top], object)
        label = np.full(top.shape, None, object)
        label[np.isin(top, ids.true_ids)] = "true"
        label[np.isin(top, ids.false_ids)] = "false"
        answers = {"argmax_str": shown, "was_thinking": thinking, "answer_label": label}
        return {
            "pmass": self._by_dose(self.rollouts.pmass),
            "p_true": self._by_dose(self.rollouts.p_true),
            "gen_len_qa": self._by_dose(self.rollouts.gen_len),
            "answers": {
                name: self._by_dose(np.array(values, object)) for name, values in answers.items()
            },
        }

    def generations(self, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
        """Yield the lines of ``gens.jsonl``, from which any number can be recomputed."""
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
    """Decode a token; None past the end of the rollout."""
    return None if token < 0 else str(tokenizer.decode([token]))
