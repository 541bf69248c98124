"""Check the words of a command line against a command's signature before anything runs.

A command is a plain function. Its parameters without a default are positional (``*roots`` takes one
or more words) and may also be written as a flag (``--root a,b``); all others are flags. Every word
is understood, or the whole line is refused with a UsageError.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from isoklx.cli.value_types import TRUTH, ValueType, value_type
from isoklx.errors import UsageError

Command = Callable[..., None]


@dataclass(frozen=True)
class Parameter:
    """Parameter of a command, as the command line sees it."""

    name: str
    annotation: Any  # resolved
    default: Any  # inspect.Parameter.empty where required
    flag: bool  # written --name; otherwise positional
    variadic: bool  # takes all remaining words

    @property
    def type(self) -> ValueType:
        """Accepted values."""
        return value_type(self.annotation)

    @property
    def required(self) -> bool:
        """True where a line without it is refused."""
        return self.default is inspect.Parameter.empty

    @property
    def switch(self) -> bool:
        """True for a flag that is on or off and needs no value."""
        return self.flag and self.annotation is bool

    @property
    def written(self) -> str:
        """Name on the command line: ``--out``, ``FILE``; ``*roots`` are each a ``ROOT``."""
        if self.flag:
            return f"--{self.name}"
        return (self.name.removesuffix("s") if self.variadic else self.name).upper()


def parameters(command: Command) -> list[Parameter]:
    """Return a command's parameters in the order of its signature."""
    hints = get_type_hints(command)
    return [
        Parameter(
            name=each.name,
            annotation=hints[each.name],
            default=each.default,
            flag=each.kind is each.KEYWORD_ONLY or each.default is not each.empty,
            variadic=each.kind is each.VAR_POSITIONAL,
        )
        for each in inspect.signature(command).parameters.values()
    ]


def canonical_words(command: Command, words: Sequence[str]) -> list[str]:
    """Check a command line and write it in one unambiguous form.

    Positional words come first, then each flag as ``--name=value`` with its value as given (a
    switch as ``true`` or ``false``). Every value has been parsed once. UsageError for a flag that
    is unknown, repeated or lacks its value, an invalid value, a surplus or missing argument, and a
    word that was meant for the flag before it.
    """
    known = parameters(command)
    placed: list[str] = []
    flags: dict[str, str] = {}
    before: _GivenFlag | None = None
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if _is_flag(word):
            before = _read_flag(word, rest, known)
            if before.flag.name in flags:
                raise UsageError(f"{before.flag.written} is given twice")
            flags[before.flag.name] = _checked(before.flag, before.text)
        else:
            _refuse_stray(word, before)
            placed.append(_checked(_positional(known, len(placed), word, before), word))
            before = None
    _refuse_missing(known, len(placed), flags)
    for each in known:
        if each.variadic and each.name in flags:
            placed = [_checked(each, text) for text in flags.pop(each.name).split(",")]
            if any(map(_is_flag, placed)):
                raise UsageError(
                    f"--{_flag_name(each)} takes paths that do not start with a hyphen"
                )
    return [*placed, *(f"--{name}={text}" for name, text in flags.items())]


def nearest(name: str, names: Collection[str]) -> str | None:
    """Return the valid name closest to a misspelt one; None when none is close."""
    started = [each for each in names if name and each.startswith(name)]
    close = started or difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    return close[0] if close else None


@dataclass(frozen=True)
class _GivenFlag:
    """Flag as the user gave it."""

    flag: Parameter
    text: str
    bare: bool = False  # no value was written


def _is_flag(word: str) -> bool:
    # The longer dashes come from flags pasted from a typeset page.
    return word.startswith(("-", "\u2013", "\u2014", "\u2212"))


def _read_flag(word: str, rest: deque[str], known: Sequence[Parameter]) -> _GivenFlag:
    """Return the flag that a word names with its value, which may be the first of ``rest``."""
    spelling, equals, text = word.partition("=")
    name = spelling.removeprefix("--").replace("-", "_")
    flags = {_flag_name(each): each for each in known}
    negations = {
        f"no{bar}{each.name}": each for each in flags.values() if each.switch for bar in ("", "_")
    }
    if name not in {*flags, *negations}:
        raise UsageError(_unknown_flag(spelling, known, [*flags, *negations]))
    if name not in flags:
        if equals:
            raise UsageError(f"{spelling} takes no value")
        return _GivenFlag(negations[name], "false", bare=True)
    flag = flags[name]
    if equals:
        return _GivenFlag(flag, text)
    if flag.switch:
        return _GivenFlag(flag, "true", bare=True)
    # A value may be a negative number, a list that starts with one, or a choice with a hyphen.
    known_value = rest and (re.match(r"-\.?[0-9]", rest[0]) or rest[0] in flag.type.choices)
    if not rest or (_is_flag(rest[0]) and not known_value):
        raise UsageError(f"{spelling} needs a value: {flag.type.meaning}")
    return _GivenFlag(flag, rest.popleft())


def _flag_name(parameter: Parameter) -> str:
    """Flag spelling of a positional parameter; a variadic one is singular (``--root``)."""
    return parameter.written.lower() if parameter.variadic else parameter.name


def _unknown_flag(spelling: str, known: Sequence[Parameter], names: Sequence[str]) -> str:
    name = re.sub(r"^\W+", "", spelling).replace("-", "_")
    for each in known:
        if each.flag and not each.switch and name in each.type.choices:
            return f"unknown flag {spelling}; did you mean {each.written} {name}?"
    guess = nearest(name, names)
    hint = f"did you mean --{guess}?" if guess else "--help lists the flags"
    return f"unknown flag {spelling}; {hint}"


def _checked(parameter: Parameter, text: str) -> str:
    if not _accepts(parameter.type, text):
        raise UsageError(f"{parameter.written} takes {parameter.type.meaning}, not '{text}'")
    return text


def _refuse_stray(word: str, before: _GivenFlag | None) -> None:
    """Refuse a word meant for the flag before it, even where it would fit as an argument."""
    if before is None:
        return
    flag = before.flag
    if before.bare and word.lower() in TRUTH:
        instead = f"{flag.written}={word}" + ("" if TRUTH[word.lower()] else f" or --no{flag.name}")
        raise UsageError(f"unexpected argument '{word}': write {instead}")
    if flag.type.item in (value_type(int), value_type(float)) and _accepts(flag.type, word):
        raise UsageError(_unexpected(word, before))


def _accepts(accepted: ValueType, text: str) -> bool:
    try:
        accepted.read(text)
    except ValueError:
        return False
    return True


def _unexpected(word: str, before: _GivenFlag | None) -> str:
    hint = ""
    if before is not None and before.flag.type.item is not None:
        hint = f": lists are written with commas, {before.flag.written} {before.text},{word}"
    return f"unexpected argument '{word}'{hint}"


def _positional(
    known: Sequence[Parameter], index: int, word: str, before: _GivenFlag | None
) -> Parameter:
    places = [each for each in known if not each.flag]
    if index < len(places):
        return places[index]
    if places and places[-1].variadic:
        return places[-1]
    message = _unexpected(word, before)
    if places and before is None:
        message += (
            f": only {' and '.join(each.written for each in places)} is written without a flag"
        )
    raise UsageError(message)


def _refuse_missing(known: Sequence[Parameter], placed: int, flags: Mapping[str, str]) -> None:
    places = [each for each in known if not each.flag]
    twice = [each for each in places[:placed] if each.name in flags]
    if twice:
        raise UsageError(
            f"{twice[0].written} is given twice, by position and as --{_flag_name(twice[0])}"
        )
    absent = [each for each in known if each.flag and each.required]
    missing = [each for each in [*places[placed:], *absent] if each.name not in flags]
    if missing:
        raise UsageError(f"missing {', '.join(each.written for each in missing)}")
