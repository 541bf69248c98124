"""Texts of prompts and rollouts, and the number of characters of each token."""

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

NUL, NUL_SYMBOL = "\0", "\N{SYMBOL FOR NULL}"
"""Replacement for NUL, at which a text in a netCDF file would end."""

UNDECODED = "\N{REPLACEMENT CHARACTER}"
"""Result of decoding part of a character."""

MAX_GAP = 16
"""Maximum number of characters between two tokens found in the text."""

MAX_CHARS = int(np.iinfo(np.int16).max)


def read_texts(
    content: bytes | None, alpha: Alphas, gen_len: npt.NDArray[np.integer[Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Read gens.jsonl into the variables of `isoklx.schema.TEXTS`, with notes on what is wrong.

    An invalid line only costs its own text. `gen_len` (alpha, prompt) is -1 without a rollout.
    """
    texts = _Texts(alpha, gen_len)
    if content is None:
        texts.notes.append(f"{GENERATIONS}: not found; texts are missing")
        return texts.arrays(), texts.notes
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            texts.take(jiter.from_json(line))
        except ValueError as error:
            half = " (half written)" * (number == len(lines))
            texts.broken.append(f"line {number} is not a generation{half}: {_brief(error)}")
    texts.conclude()
    return texts.arrays(), texts.notes


@dataclass
class _Texts:
    alpha: Alphas
    gen_len: npt.NDArray[np.integer[Any]]
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    undivided: list[str] = field(default_factory=list)
    nul: list[str] = field(default_factory=list)
    prompts: dict[int, str] = field(default_factory=dict)
    rollouts: dict[tuple[int, int], tuple[str, list[int]]] = field(default_factory=dict)

    def take(self, parsed: object) -> None:
        """Add one line; raise ValueError where it is not a rollout."""
        line = m.mapping(parsed, "it")
        kind = m.named(line, "kind")
        if kind == "qa":
            return
        if kind != "eval":
            raise ValueError(f"kind must be eval or qa, got {m.shorten(kind)}")
        dose = m.finite(m.named(line, "alpha"), "alpha")
        prompt = m.whole(m.named(line, "prompt_idx"), "prompt_idx", least=0)
        text = _string(line, "gen_text")
        place = f"alpha {dose:g}, prompt {prompt}"
        at = self._index(dose, prompt)
        if at is None:
            self.unexpected.append(f"{place} is not a rollout of this cell")
            return
        if at in self.rollouts:
            self.unexpected.append(f"{place} occurs twice; the last one is used")
        cleaned = self._without_nul(text, place)
        self.rollouts[at] = cleaned, self._token_chars(line, cleaned, int(self.gen_len[at]), place)
        if "prompt" in line:
            asked = self._without_nul(_string(line, "prompt"), place)
            if self.prompts.setdefault(prompt, asked) != asked:
                self.unexpected.append(f"{place} has a different prompt from an earlier line")

    def conclude(self) -> None:
        """Note what is wrong, one note of each kind."""
        missing = [
            f"alpha {self.alpha[i]:g}, prompt {k}"
            for i, k in np.argwhere(self.gen_len >= 0).tolist()
            if (i, k) not in self.rollouts
        ]
        for problem, places in (
            ("", self.broken),
            ("", self.unexpected),
            ("no text for ", missing),
            ("text not divided into tokens: ", self.undivided),
            ("NUL is stored as U+2400 at ", self.nul),
        ):
            if places:
                more = f" (one of {len(places)})" * (len(places) > 1)
                self.notes.append(f"{GENERATIONS}: {problem}{places[0]}{more}")

    def arrays(self) -> dict[str, Any]:
        """Return the variables of the schema without the dimension ``cell``."""
        prompts = self.gen_len.shape[1]
        prompt_text = np.full(prompts, "", dtype=object)
        gen_text = np.full(self.gen_len.shape, "", dtype=object)
        longest = max((len(chars) for _, chars in self.rollouts.values()), default=0)
        try:
            count = sum(len(chars) for _, chars in self.rollouts.values())
            m.refuse_padding((*self.gen_len.shape, longest), count, "tokens")
        except ValueError as error:
            self.notes.append(f"{GENERATIONS}: {error}; tokens are left out")
            longest = 0
        token_chars = np.zeros((*self.gen_len.shape, longest), dtype=np.int16)
        for prompt, text in self.prompts.items():
            prompt_text[prompt] = text
        for at, (text, chars) in self.rollouts.items():
            gen_text[at] = text
            token_chars[at][: len(chars)] = chars[:longest]
        return {"prompt_text": prompt_text, "gen_text": gen_text, "token_chars": token_chars}

    def _index(self, dose: float, prompt: int) -> tuple[int, int] | None:
        if not self.alpha.size or prompt >= self.gen_len.shape[1]:
            return None
        i = int(positions(self.alpha, [dose])[0])
        there = schema.same_dose(self.alpha[i], dose) and self.gen_len[i, prompt] >= 0
        return (i, prompt) if there else None

    def _without_nul(self, text: str, place: str) -> str:
        if NUL not in text:
            return text
        self.nul.append(place)
        return text.replace(NUL, NUL_SYMBOL)

    def _token_chars(
        self, line: Mapping[str, Any], text: str, gen_len: int, place: str
    ) -> list[int]:
        """Return the characters of each token; empty where this is unknown."""
        if "tokens" not in line:
            return []
        tokens = m.array(line["tokens"], "tokens")
        if not all(isinstance(token, str) for token in tokens):
            raise ValueError("tokens must be a list of strings")
        tokens = [token.replace(NUL, NUL_SYMBOL) for token in tokens]
        chars = divided(text, tokens)
        if len(tokens) != gen_len:
            self.undivided.append(f"{place} has {len(tokens)} tokens, but KL for {gen_len}")
            return []
        if chars is None:
            self.undivided.append(f"{place} has tokens that do not match its text")
            return []
        return chars


def divided(text: str, tokens: Sequence[str]) -> list[int] | None:
    """Return the characters of a text that belong to each token, or None where they do not match.

    Tokens are decoded one by one: a leading space may be lost, and part of a character is U+FFFD.
    A token that adds nothing visible has 0 characters.
    """
    if "".join(tokens) == text:
        chars = [*map(len, tokens)]
        return chars if max(chars, default=0) <= MAX_CHARS else None
    ends: list[int] = []
    end = lost = 0
    part = False  # the previous token may be part of a character that is not complete
    for token in tokens:
        seen = token.strip().strip(UNDECODED)
        at = text.find(seen, end, end + MAX_GAP + len(seen)) if seen else -1
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
    return chars if max(chars) <= MAX_CHARS else None


def _string(line: Mapping[str, Any], key: str) -> str:
    value = m.named(line, key)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a string, got {m.shorten(value)}")
    return value


def _brief(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 160 else f"{text[:77]}...{text[-80:]}"
