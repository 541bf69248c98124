"""What simulated rollouts say: sentences of a few words, and one word over and over once dead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isoklx.cells.simulated_rollouts import Bools, Draws, Ints

OPENINGS = (
    *("Is the sky blue", "Does ice float", "Can a whale breathe air", "Is lead lighter than water"),
    *("Do plants need light", "Is glass a liquid", "Does sound cross a vacuum", "Is zero even"),
)
SUBJECTS = ("The answer", "Most evidence", "This claim", "A careful reader", "One reason")
VERBS = (" depends on", " points to", " follows from", " rests upon", " is close to")
OBJECTS = (" what we measure", " the scale", " simple physics", " older results", " a definition")
ENDS = (".", ", and so it holds.", "; in short, yes.", ", though not always.")
STUCK = (" the", " and", " really", " \N{EM DASH}", " so")


def prompt_text(index: int) -> str:
    """The text of a held-out prompt.

    Examples
    --------
    >>> prompt_text(1)
    'Does ice float? Give your reasons, then answer.'
    """
    return f"{OPENINGS[index % len(OPENINGS)]}? Give your reasons, then answer."


def rollout_tokens(draws: Draws, alpha: float, prompt: int, collapsed: Bools) -> list[str]:
    """The tokens of a rollout.

    Parameters
    ----------
    draws : Draws
        The cell's random streams.
    alpha, prompt : float, int
        Which rollout.
    collapsed : ndarray of bool, (token,)
        Where it repeats itself; as long as it is.
    """
    rng = draws("text", alpha, prompt)
    stuck = STUCK[rng.integers(len(STUCK))]
    words = _words(rng)
    return [stuck if dead else next(words) for dead in collapsed.tolist()]


def generations(
    draws: Draws, alpha: float, coeff: float, gen_len: Ints, collapsed: Bools
) -> Iterator[dict[str, Any]]:
    """The lines of gens.jsonl of a dose, as the engine writes them but for the ids of tokens."""
    for prompt, length in enumerate(gen_len.tolist()):
        tokens = rollout_tokens(draws, alpha, prompt, collapsed[prompt, :length])
        yield {
            "kind": "eval",
            "alpha": alpha,
            "coeff": coeff,
            "prompt_idx": prompt,
            "prompt": prompt_text(prompt),
            "tokens": tokens,
            "gen_text": "".join(tokens),
            "gen_len": length,
        }


def _words(rng: np.random.Generator) -> Iterator[str]:
    """Sentences without an end, a word at a time."""
    between = ""
    while True:
        sentence = "".join(
            options[rng.integers(len(options))] for options in (SUBJECTS, VERBS, OBJECTS, ENDS)
        )
        first, *rest = sentence.split(" ")
        yield between + first
        yield from (f" {word}" for word in rest)
        between = " "
