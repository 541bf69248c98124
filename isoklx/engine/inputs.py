"""The files of a run: pairs, prompts and questions, read before any model is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from isoklx.engine.settings import Settings
from isoklx.errors import UsageError

DEFAULTS = Path(__file__).parent / "defaults"
"""Folder of the sets that are used where none is named; they can be copied and changed."""

PAIRS = DEFAULTS / "pairs.jsonl"
"""Answers that agree with a claim, whatever it says, and answers that doubt it."""

PROMPTS = DEFAULTS / "prompts.jsonl"
CALIB_PROMPTS = DEFAULTS / "calib_prompts.jsonl"
QUESTIONS = DEFAULTS / "questions.jsonl"

JSONL = (".jsonl", ".ndjson", ".json")
"""Suffixes of files that hold a JSON object a line, whatever their first line looks like."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class Pair:
    """Two answers that differ in what is steered, or two plain texts that do.

    Parameters
    ----------
    prompt : str or None
        What the user says; None where the two are plain texts.
    positive, negative : str
        What the assistant answers, towards and away from what is steered.
    """

    prompt: str | None
    positive: str
    negative: str


@dataclass(frozen=True)
class Question:
    """A question whose right answer is known.

    Parameters
    ----------
    prompt : str
        What the user asks.
    answer : bool
        The right answer.
    """

    prompt: str
    answer: bool


@dataclass(frozen=True)
class InputFile(Generic[Row]):
    """A file of pairs, prompts or questions.

    Parameters
    ----------
    path : Path
        Where it was read.
    rows : tuple
        What it holds, in its order.
    lines : tuple of int
        The line of each row, from 1.
    sha256 : str
        Of the file's bytes, in hexadecimal.
    """

    path: Path
    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    sha256: str


def read_pairs(path: str | Path = PAIRS) -> InputFile[Pair]:
    """Read pairs: JSON objects with ``positive`` and ``negative``, with or without ``prompt``.

    Parameters
    ----------
    path : str or Path
        A file with one JSON object a line; empty lines are passed over.

    Returns
    -------
    InputFile of Pair
        At least one.

    Raises
    ------
    UsageError
        Naming file and line: where there is no pair, one has a single side or two equal ones, or a
        line is no such object.

    Examples
    --------
    >>> read_pairs().rows[0].negative
    'I doubt it: the bite needs rest and soap and water, and coins have no power to draw venom.'
    """
    return _read(path, "pairs", _pair, text=False)


def read_prompts(path: str | Path = PROMPTS) -> InputFile[str]:
    """Read prompts: JSON objects with ``prompt``, or a text file of one prompt a line.

    Parameters
    ----------
    path : str or Path
        JSONL where it is called so or begins with a JSON object, else text; empty lines are passed
        over.

    Returns
    -------
    InputFile of str
        At least one, no two of them the same: greedy decoding would count them twice.

    Raises
    ------
    UsageError
        Naming file and line: where there is no prompt, or one is empty, repeated or no text.

    Examples
    --------
    >>> len(read_prompts().rows), len(read_prompts(CALIB_PROMPTS).rows)
    (32, 12)
    """
    read = _read(path, "prompts", _prompt, text=True)
    _refuse_repeats(read, read.rows)
    return read


def read_questions(path: str | Path = QUESTIONS) -> InputFile[Question]:
    """Read questions: JSON objects with ``prompt`` and ``answer``, which is true or false.

    Parameters
    ----------
    path : str or Path
        A file with one JSON object a line; empty lines are passed over.

    Returns
    -------
    InputFile of Question
        None of them where the file is empty: then none is asked.

    Raises
    ------
    UsageError
        Naming file and line: where a question is empty or repeated, or a line is no such object.

    Examples
    --------
    >>> read_questions().rows[0]
    Question(prompt='Is the Pacific the largest ocean on Earth?', answer=True)
    """
    read = _read(path, "questions", _question, text=False, empty=True)
    _refuse_repeats(read, tuple(row.prompt for row in read.rows))
    return read


def _pair(fields: dict[str, object]) -> Pair:
    positive, negative = _text(fields, "positive"), _text(fields, "negative")
    if positive.strip() == negative.strip():
        raise ValueError("'positive' and 'negative' are the same, and nothing is to be steered")
    if "prompt" in fields:
        return Pair(_text(fields, "prompt"), positive, negative)
    # A misspelt "prompt" would turn a pair of answers into a pair of plain texts.
    others = sorted(set(fields) - {"positive", "negative"})
    if others:
        raise ValueError(f"has no 'prompt', which {others[0]!r} may be meant to be")
    return Pair(None, positive, negative)


def _prompt(fields: dict[str, object]) -> str:
    return _text(fields, "prompt")


def _question(fields: dict[str, object]) -> Question:
    prompt = _text(fields, "prompt")
    if "answer" not in fields:
        raise ValueError(_without(fields, "answer"))
    answer = fields["answer"]
    if not isinstance(answer, bool):
        raise ValueError(f"'answer' is {_brief(answer)}, neither true nor false")
    return Question(prompt, answer)


def _text(fields: dict[str, object], key: str) -> str:
    """A text that must be there."""
    if key not in fields:
        raise ValueError(_without(fields, key))
    value = fields[key]
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is {_brief(value)}, not text")
    if not value.strip():
        raise ValueError(f"{key!r} is empty")
    return value


def _without(fields: dict[str, object], key: str) -> str:
    return f"has no {key!r}, only {', '.join(map(repr, fields)) or 'an empty object'}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(
    path: str | Path,
    what: str,
    row: Callable[[dict[str, object]], Row],
    *,
    text: bool,
    empty: bool = False,
) -> InputFile[Row]:
    """Read a file line by line, and say in which line something is wrong."""
    path = Path(path)
    content = _content(path, what)
    rows, lines = [], []
    plain = text and not _is_jsonl(path, content)
    for number, line in _lines(path, content):
        try:
            rows.append(row({"prompt": line} if plain else _fields(line)))
        except ValueError as error:
            raise UsageError(f"{path}: line {number}: {error}") from error
        lines.append(number)
    if not rows and not empty:
        raise UsageError(f"{path}: holds no {what}")
    return InputFile(path, tuple(rows), tuple(lines), hashlib.sha256(content).hexdigest())


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {what} cannot be read: {error.strerror}") from error


def _lines(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    # Not splitlines, which would end a line at characters that JSON may hold.
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            decoded = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: line {number}: is no UTF-8 text: {error.reason}") from error
        if decoded:
            yield number, decoded


def _is_jsonl(path: Path, content: bytes) -> bool:
    import jiter  # late, for the command line shall start at once

    if path.suffix.lower() in JSONL:
        return True
    first = next((line for _, line in _lines(path, content)), "")
    try:
        return isinstance(jiter.from_json(first.encode()), dict)
    except ValueError:
        return False


def _fields(line: str) -> dict[str, object]:
    import jiter

    try:
        parsed: object = jiter.from_json(line.encode(), catch_duplicate_keys=True)
    except ValueError as error:
        raise ValueError(f"is not JSON: {_brief_error(error)}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"is {_brief(parsed)}, not a JSON object")
    return parsed


def _brief_error(error: ValueError) -> str:
    # Each line is parsed by itself, so that the parser's "line 1" would mislead.
    return str(error).replace(" at line 1 column ", " at column ")


def _refuse_repeats(read: InputFile[Row], prompts: tuple[str, ...]) -> None:
    first: dict[str, int] = {}
    for prompt, line in zip(prompts, read.lines, strict=True):
        if prompt in first:
            raise UsageError(f"{read.path}: line {line}: repeats line {first[prompt]}")
        first[prompt] = line


TRIES = 5
"""Coefficients that a calibration tries as a rule; what a run is expected to take counts on it."""


@dataclass(frozen=True)
class Inputs:
    """The files of a run, read once for all of its models.

    Parameters
    ----------
    pairs : InputFile of Pair, optional
        None where the direction is in a file.
    prompts, calib_prompts : InputFile of str
        Held out, and for the calibration.
    questions : InputFile of Question, optional
        None where none is asked.
    """

    pairs: InputFile[Pair] | None
    prompts: InputFile[str]
    calib_prompts: InputFile[str]
    questions: InputFile[Question] | None

    @property
    def files(self) -> dict[str, InputFile[Any]]:
        """Those that there are, by what they hold."""
        files = {
            "pairs": self.pairs,
            "prompts": self.prompts,
            "calib_prompts": self.calib_prompts,
            "questions": self.questions,
        }
        return {name: file for name, file in files.items() if file is not None}

    @property
    def sha256(self) -> dict[str, str]:
        """Of each file of prompts, by what it holds."""
        return {name: file.sha256 for name, file in self.files.items() if name != "pairs"}


def read_inputs(settings: Settings) -> Inputs:
    """Read the files of a run; the package's own where none is named.

    Raises
    ------
    UsageError
        Naming file and line of what is wrong, as of a prompt that the calibration has as well.
    """
    questions = None
    if settings.ask:
        read = read_questions(settings.questions or QUESTIONS)
        questions = read if read.rows else None
    pairs = None
    if settings.vector is None:
        pairs = read_pairs(settings.pairs or PAIRS)
    held_out = read_prompts(settings.prompts or PROMPTS)
    calib_prompts = read_prompts(settings.calib_prompts or CALIB_PROMPTS)
    _refuse_shared(held_out, calib_prompts)
    return Inputs(pairs, held_out, calib_prompts, questions)


def expected_tokens(
    inputs: Inputs, settings: Settings, *, doses: int | None = None, tries: int = TRIES
) -> int:
    """Tokens that a cell decodes at most: so many of its doses, all by default, and tries."""
    held_out = len(inputs.prompts.rows)
    asked = 0 if inputs.questions is None else len(inputs.questions.rows)
    doses = len(settings.alphas) if doses is None else doses
    rollouts = (held_out + asked) * doses + len(inputs.calib_prompts.rows) * tries
    return rollouts * settings.window


def _refuse_shared(held_out: InputFile[str], calib_prompts: InputFile[str]) -> None:
    """Refuse a prompt of both: what c_star was fitted to says nothing of how it carries over."""
    used = dict(zip(calib_prompts.rows, calib_prompts.lines, strict=True))
    for prompt, line in zip(held_out.rows, held_out.lines, strict=True):
        if prompt in used:
            raise UsageError(
                f"{held_out.path}: line {line}: is line {used[prompt]} of {calib_prompts.path} as "
                "well: calibration prompts must be others than those that are held out"
            )
