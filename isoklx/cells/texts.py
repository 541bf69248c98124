"""What was said: prompts, rollouts, and which of their characters each token is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jiter
import numpy as np
import numpy.typing as npt

from isoklx import schema
from isoklx.cells import parsing as m
from isoklx.cells.layout import GENERATIONS
from isoklx.cells.parsing import Alphas, positions

NUL, FOR_NUL = "\0", "\N{SYMBOL FOR NULL}"
"""A text in a netCDF file ends at its first NUL, so that another character stands for it."""

UNDECODED = "\N{REPLACEMENT CHARACTER}"
"""What part of a character is decoded to."""

APART = 16
"""Characters that may lie between a token and the next one that is found in the text."""

MOST_CHARS = int(np.iinfo(np.int16).max)


def read_texts(
    content: bytes | None, alpha: Alphas, gen_len: npt.NDArray[np.integer[Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Read gens.jsonl, which may lack or break anything: that costs the texts in question.

    Parameters
    ----------
    content : bytes, optional
        Of the file; None where there is none.
    alpha : ndarray
        The cell's doses.
    gen_len : ndarray, (alpha, prompt)
        Tokens of the cell's rollouts; -1 where there is none.

    Returns
    -------
    dict, list of str
        The variables of `isoklx.schema.TEXTS` on the cell's own labels, and notes of what is not
        as it should be.
    """
    texts = _Texts(alpha, gen_len)
    if content is None:
        texts.notes.append(f"{GENERATIONS}: there is none, and so no text")
        return texts.arrays(), texts.notes
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            texts.take(jiter.from_json(line))
        except ValueError as error:
            half = " (half written)" * (number == len(lines))
            texts.broken.append(f"line {number} is no generation{half}: {_brief(error)}")
    texts.conclude()
    return texts.arrays(), texts.notes


@dataclass
class _Texts:
    alpha: Alphas
    gen_len: npt.NDArray[np.integer[Any]]
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    nul: list[str] = field(default_factory=list)
    prompts: dict[int, str] = field(default_factory=dict)
    said: dict[tuple[int, int], tuple[str, list[int]]] = field(default_factory=dict)

    def take(self, parsed: object) -> None:
        """Take in a line; ValueError where it is none of a rollout."""
        line = m.mapping(parsed, "it")
        kind = m.named(line, "kind")
        if kind == "qa":
            return
        if kind != "eval":
            raise ValueError(f"kind is {m.shorten(kind)}, not eval or qa")
        dose = m.finite(m.named(line, "alpha"), "alpha")
        prompt = m.whole(m.named(line, "prompt_idx"), "prompt_idx", least=0)
        text = _string(line, "gen_text")
        place = f"alpha {dose:g}, prompt {prompt}"
        at = self._place(dose, prompt)
        if at is None:
            self.strange.append(f"{place} is no rollout of this cell")
            return
        if at in self.said:
            self.strange.append(f"{place} is there twice, and the last one is taken")
        whole = self._whole(text, place)
        self.said[at] = whole, self._token_chars(line, whole, int(self.gen_len[at]), place)
        if "prompt" in line:
            asked = self._whole(_string(line, "prompt"), place)
            if self.prompts.setdefault(prompt, asked) != asked:
                self.strange.append(f"{place} has another prompt than an earlier line")

    def conclude(self) -> None:
        """Say what was not as it should be, one note of a kind."""
        missing = [
            f"alpha {self.alpha[i]:g}, prompt {k}"
            for i, k in np.argwhere(self.gen_len >= 0).tolist()
            if (i, k) not in self.said
        ]
        for what, places in (
            ("", self.broken),
            ("", self.strange),
            ("no text of ", missing),
            ("not in tokens: ", self.untold),
            ("NUL is stored as U+2400 at ", self.nul),
        ):
            if places:
                more = f" (one of {len(places)})" * (len(places) > 1)
                self.notes.append(f"{GENERATIONS}: {what}{places[0]}{more}")

    def arrays(self) -> dict[str, Any]:
        """Variables of the schema, without the dimension ``cell``."""
        prompts = self.gen_len.shape[1]
        prompt_text = np.full(prompts, "", dtype=object)
        gen_text = np.full(self.gen_len.shape, "", dtype=object)
        longest = max((len(chars) for _, chars in self.said.values()), default=0)
        try:
            count = sum(len(chars) for _, chars in self.said.values())
            m.refuse_padding((*self.gen_len.shape, longest), count, "tokens")
        except ValueError as error:
            self.notes.append(f"{GENERATIONS}: {error}, and are left out")
            longest = 0
        token_chars = np.zeros((*self.gen_len.shape, longest), dtype=np.int16)
        for prompt, text in self.prompts.items():
            prompt_text[prompt] = text
        for at, (text, chars) in self.said.items():
            gen_text[at] = text
            token_chars[at][: len(chars)] = chars[:longest]
        return {"prompt_text": prompt_text, "gen_text": gen_text, "token_chars": token_chars}

    def _place(self, dose: float, prompt: int) -> tuple[int, int] | None:
        if not self.alpha.size or prompt >= self.gen_len.shape[1]:
            return None
        i = int(positions(self.alpha, [dose])[0])
        there = schema.same_dose(self.alpha[i], dose) and self.gen_len[i, prompt] >= 0
        return (i, prompt) if there else None

    def _whole(self, text: str, place: str) -> str:
        if NUL not in text:
            return text
        self.nul.append(place)
        return text.replace(NUL, FOR_NUL)

    def _token_chars(
        self, line: Mapping[str, Any], text: str, gen_len: int, place: str
    ) -> list[int]:
        """How many characters each token is; none where that is not known."""
        if "tokens" not in line:
            return []
        tokens = m.array(line["tokens"], "tokens")
        if not all(isinstance(token, str) for token in tokens):
            raise ValueError("tokens are not all texts")
        tokens = [token.replace(NUL, FOR_NUL) for token in tokens]
        chars = divided(text, tokens)
        if len(tokens) != gen_len:
            self.untold.append(f"{place}, which has {len(tokens)} tokens, and {gen_len} with a KL")
            return []
        if chars is None:
            self.untold.append(f"{place}, whose tokens are not those of its text")
            return []
        return chars


def divided(text: str, tokens: Sequence[str]) -> list[int] | None:
    """Divide a text among the tokens that it was decoded from.

    Parameters
    ----------
    text : str
        Decoded from all of them.
    tokens : sequence of str
        Each decoded by itself: a space at its beginning may be lost, and what is only part of a
        character is U+FFFD.

    Returns
    -------
    list of int or None
        Characters of each, which add up to the text; 0 for one that shows nothing there. None
        where tokens and text are not of one rollout.

    Examples
    --------
    >>> divided("So it is.", ["So", "it", "is", "."])
    [2, 3, 3, 1]
    >>> divided("So", ["No"]) is None
    True
    """
    if "".join(tokens) == text:
        chars = [*map(len, tokens)]
        return chars if max(chars, default=0) <= MOST_CHARS else None
    ends: list[int] = []
    end = lost = 0
    part = False  # whether the token before may be part of a character that is still to come
    for token in tokens:
        seen = token.strip().strip(UNDECODED)
        at = text.find(seen, end, end + APART + len(seen)) if seen else -1
        if at < 0:
            lost += bool(seen)
            part = part or bool(token.strip())
            ends.append(end)
            continue
        if text[end:at].strip():
            if not part:
                return None
            ends[-1] = at
        end, part = at + len(seen), UNDECODED in token
        ends.append(end)
    if not tokens or 2 * lost > len(tokens) or (text[end:].strip() and not part):
        return None
    ends[-1] = len(text)
    chars = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    return chars if max(chars) <= MOST_CHARS else None


def _string(line: Mapping[str, Any], key: str) -> str:
    value = m.named(line, key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {m.shorten(value)}, not a text")
    return value


def _brief(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 160 else f"{text[:77]}...{text[-80:]}"
