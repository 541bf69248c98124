"""How much of a rollout repeats itself, which neither KL nor pmass sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
