"""Input files of a run (pairs, prompts, questions), read before any model is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from isoklx.engine.settings import Settings
from isoklx.errors import UsageError

DEFAULTS = Path(__file__).parent / "defaults"
"""Folder of the default sets; users can copy and change them."""

PAIRS = DEFAULTS / "pairs.jsonl"
"""Answers that agree with a claim, true or not, and answers that doubt it."""

PROMPTS = DEFAULTS / "prompts.jsonl"
CALIB_PROMPTS = DEFAULTS / "calib_prompts.jsonl"
QUESTIONS = DEFAULTS / "questions.jsonl"

JSONL = (".jsonl", ".ndjson", ".json")
"""Suffixes of files read as one JSON object a line, regardless of their first line."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class Pair:
    """Two answers, or two plain texts, that differ in the steered trait."""

    prompt: str | None  # None: plain texts, not answers of the assistant
    positive: str
    negative: str


@dataclass(frozen=True)
class Question:
    """A question with its right answer."""

    prompt: str
    answer: bool


@dataclass(frozen=True)
class InputFile(Generic[Row]):
    """Rows of a file of pairs, prompts or questions, in file order."""

    path: Path
    rows: tuple[Row, ...]
    lines: tuple[int, ...]  # line number of each row, from 1
    sha256: str  # of the file's bytes, hexadecimal


def read_pairs(path: str | Path = PAIRS) -> InputFile[Pair]:
    """Read one or more pairs: JSONL of ``positive``, ``negative`` and optionally ``prompt``."""
    return _read(path, "pairs", _pair, text=False)


def read_prompts(path: str | Path = PROMPTS) -> InputFile[str]:
    """Read one or more distinct prompts: JSONL of ``prompt``, or text of one a line."""
    read = _read(path, "prompts", _prompt, text=True)
    _refuse_duplicates(read, read.rows)
    return read


def read_questions(path: str | Path = QUESTIONS) -> InputFile[Question]:
    """Read distinct questions, if any: JSONL of ``prompt`` and ``answer`` (true or false)."""
    read = _read(path, "questions", _question, text=False, empty=True)
    _refuse_duplicates(read, tuple(row.prompt for row in read.rows))
    return read


def _pair(fields: dict[str, object]) -> Pair:
    positive, negative = _required_text(fields, "positive"), _required_text(fields, "negative")
    if positive.strip() == negative.strip():
        raise ValueError("'positive' and 'negative' must differ, got the same text twice")
    if "prompt" in fields:
        return Pair(_required_text(fields, "prompt"), positive, negative)
    # A misspelt "prompt" would turn a pair of answers into a pair of plain texts.
    others = sorted(set(fields) - {"positive", "negative"})
    if others:
        raise ValueError(f"lacks 'prompt' but has {others[0]!r}: rename or remove that key")
    return Pair(None, positive, negative)


def _prompt(fields: dict[str, object]) -> str:
    return _required_text(fields, "prompt")


def _question(fields: dict[str, object]) -> Question:
    prompt = _required_text(fields, "prompt")
    if "answer" not in fields:
        raise ValueError(_missing_key(fields, "answer"))
    answer = fields["answer"]
    if not isinstance(answer, bool):
        raise ValueError(f"'answer' must be true or false, got {_shorten(answer)}")
    return Question(prompt, answer)


def _required_text(fields: dict[str, object], key: str) -> str:
    if key not in fields:
        raise ValueError(_missing_key(fields, key))
    value = fields[key]
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be text, got {_shorten(value)}")
    if not value.strip():
        raise ValueError(f"{key!r} must not be empty")
    return value


def _missing_key(fields: dict[str, object], key: str) -> str:
    return f"lacks {key!r}; found: {', '.join(map(repr, fields)) or 'an empty object'}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(
    path: str | Path,
    role: str,
    row: Callable[[dict[str, object]], Row],
    *,
    text: bool,
    empty: bool = False,
) -> InputFile[Row]:
    """Read a file line by line; errors name file and line."""
    path = Path(path)
    content = _read_bytes(path, role)
    rows, lines = [], []
    plain = text and not _is_jsonl(path, content)
    for number, line in _nonempty_lines(path, content):
        try:
            rows.append(row({"prompt": line} if plain else _parse_object(line)))
        except ValueError as error:
            raise UsageError(f"{path}: line {number}: {error}") from error
        lines.append(number)
    if not rows and not empty:
        raise UsageError(f"{path}: must contain {role}, got an empty file")
    return InputFile(path, tuple(rows), tuple(lines), hashlib.sha256(content).hexdigest())


def _read_bytes(path: Path, role: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {role} cannot be read: {error.strerror}") from error


def _nonempty_lines(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """Yield non-empty lines with their numbers, from 1."""
    # Not splitlines, which also splits at characters that JSON strings may contain.
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            decoded = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: line {number}: is not UTF-8 text: {error.reason}") from error
        if decoded:
            yield number, decoded


def _is_jsonl(path: Path, content: bytes) -> bool:
    import jiter  # imported late, so that the command line starts fast

    if path.suffix.lower() in JSONL:
        return True
    first = next((line for _, line in _nonempty_lines(path, content)), "")
    try:
        return isinstance(jiter.from_json(first.encode()), dict)
    except ValueError:
        return False


def _parse_object(line: str) -> dict[str, object]:
    import jiter

    try:
        parsed: object = jiter.from_json(line.encode(), catch_duplicate_keys=True)
    except ValueError as error:
        raise ValueError(f"is not JSON: {_parse_error(error)}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"must be a JSON object, got {_shorten(parsed)}")
    return parsed


def _parse_error(error: ValueError) -> str:
    # Each line is parsed by itself: the parser's "line 1" would mislead.
    return str(error).replace(" at line 1 column ", " at column ")


def _refuse_duplicates(read: InputFile[Row], prompts: tuple[str, ...]) -> None:
    first: dict[str, int] = {}
    for prompt, line in zip(prompts, read.lines, strict=True):
        if prompt in first:
            raise UsageError(f"{read.path}: line {line}: repeats line {first[prompt]}")
        first[prompt] = line


TRIES = 5
"""Typical number of coefficients that a calibration tries; progress and estimates assume it."""


@dataclass(frozen=True)
class Inputs:
    """The files of a run, read once for all of its models."""

    pairs: InputFile[Pair] | None  # None: the direction comes from a file
    prompts: InputFile[str]
    calib_prompts: InputFile[str]
    questions: InputFile[Question] | None  # None: no questions are asked

    @property
    def files(self) -> dict[str, InputFile[Any]]:
        """Files in use, by role."""
        files = {
            "pairs": self.pairs,
            "prompts": self.prompts,
            "calib_prompts": self.calib_prompts,
            "questions": self.questions,
        }
        return {name: file for name, file in files.items() if file is not None}

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of each file but the pairs, by role."""
        return {name: file.sha256 for name, file in self.files.items() if name != "pairs"}


def read_inputs(settings: Settings) -> Inputs:
    """Read the files of a run, by default the package's own; refuse shared prompts."""
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
    """Return the maximum number of tokens that the doses (default: all) and tries decode."""
    held_out = len(inputs.prompts.rows)
    asked = 0 if inputs.questions is None else len(inputs.questions.rows)
    doses = len(settings.alphas) if doses is None else doses
    rollouts = (held_out + asked) * doses + len(inputs.calib_prompts.rows) * tries
    return rollouts * settings.window


def _refuse_shared(held_out: InputFile[str], calib_prompts: InputFile[str]) -> None:
    """Refuse a prompt in both files: held-out KL must not come from prompts of the calibration."""
    used = dict(zip(calib_prompts.rows, calib_prompts.lines, strict=True))
    for prompt, line in zip(held_out.rows, held_out.lines, strict=True):
        if prompt in used:
            raise UsageError(
                f"{held_out.path}: line {line}: repeats line {used[prompt]} of"
                f" {calib_prompts.path}: held-out and calibration prompts must differ"
            )
