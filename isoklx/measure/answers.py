"""The tokens that count as an answer where a rollout is interrupted and asked."""

from __future__ import annotations

from dataclasses import dataclass

from isoklx.errors import MeasureError


@dataclass(frozen=True)
class AnswerIds:
    """All single-token spellings of the two answers.

    Parameters
    ----------
    true_ids, false_ids : tuple of int
        Token ids, sorted; at least one of each, and none in both.

    Raises
    ------
    MeasureError
        If an answer has no spelling, or a token counts as both.

    Examples
    --------
    >>> AnswerIds(true_ids=(7, 3), false_ids=(5,))
    AnswerIds(true_ids=(3, 7), false_ids=(5,))
    """

    true_ids: tuple[int, ...]
    false_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, ids in (("true", self.true_ids), ("false", self.false_ids)):
            if not ids:
                raise MeasureError(f"no single token spells the answer {name!r}")
            object.__setattr__(self, f"{name}_ids", tuple(sorted(set(ids))))
        both = sorted(set(self.true_ids) & set(self.false_ids))
        if both:
            raise MeasureError(f"token {both[0]} counts as true and as false")
