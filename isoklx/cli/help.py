"""Help for the terminal, made from the commands' signatures and numpydoc docstrings."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from isoklx.cli.parsing import Command, Parameter, parameters

SOURCES = "explained_by"
"""Command attribute: full names of functions, or classes, whose docstrings explain parameters.

Where several explain a parameter, the first one counts.
"""

Explained = TypeVar("Explained", bound=Callable[..., Any])


@dataclass(frozen=True)
class Explanation:
    """Parsed numpydoc docstring, each text on one line."""

    summary: str
    details: tuple[str, ...]  # paragraphs after the summary
    meanings: dict[str, str]  # by parameter
    examples: tuple[str, ...]  # command lines only; Python examples address other readers


def explained_by(*sources: str | type) -> Callable[[Explained], Explained]:
    """Let the docstrings of `sources` explain parameters that a command's docstring leaves out."""

    def named(command: Explained) -> Explained:
        setattr(command, SOURCES, (*getattr(command, SOURCES, ()), *sources))
        return command

    return named


def explanation(command: Callable[..., Any]) -> Explanation:
    """Return the explanation of a command, with the parameters that its sources explain."""
    read = parse_docstring(command.__doc__)
    meanings: dict[str, str] = {}
    for source in getattr(command, SOURCES, ()):
        there = (
            parse_docstring(_docstring(source)) if isinstance(source, str) else explanation(source)
        )
        meanings = there.meanings | meanings
    return Explanation(read.summary, read.details, meanings | read.meanings, read.examples)


def parse_docstring(docstring: str | None) -> Explanation:
    """Parse a numpydoc docstring."""
    from docstring_parser.numpydoc import NumpydocParser

    parsed = NumpydocParser().parse(inspect.cleandoc(docstring or "").replace("`", ""))
    examples = "\n".join(each.description or "" for each in parsed.examples)
    return Explanation(
        _one_line(parsed.short_description),
        tuple(map(_one_line, (parsed.long_description or "").split("\n\n"))),
        {
            name.strip("* "): _one_line(each.description)
            for each in parsed.params
            for name in each.arg_name.split(",")
        },
        tuple(line[2:] for line in examples.splitlines() if line.startswith("$ ")),
    )


def _docstring(name: str) -> str | None:
    """Return the docstring of a function of this package, without importing its module."""
    _, *rooms, function = name.split(".")
    file = Path(__file__).parents[1].joinpath(*rooms).with_suffix(".py")
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_docstring(node)
    raise LookupError(f"function {name} not found")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def overview(
    commands: Mapping[str, Command],
    doc: str | None,
    topics: Mapping[str, Collection[str]] | None = None,
) -> str:
    """Return the help of the program: its purpose, commands by topic, and examples."""
    about = parse_docstring(doc)
    summaries = [(name, parse_docstring(each.__doc__).summary) for name, each in commands.items()]
    return _page(
        *_paragraphs(about),
        "usage: isoklx COMMAND ...",
        *_tables_by_topic(topics or {}, summaries, "commands", _column(summaries)),
        _examples(about),
        _fill('"isoklx COMMAND --help" explains a command, "isoklx --version" prints the version.'),
    )


def command_help(name: str, command: Command) -> str:
    """Return the help of one command: usage, description, arguments, options and examples."""
    about = explanation(command)
    meanings = about.meanings
    known = parameters(command)
    arguments = [(each.written, meanings.get(each.name, "")) for each in known if not each.flag]
    options = [
        (spelling(each), f"{meanings.get(each.name, '')} {_bracketed(each)}".strip())
        for each in known
        if each.flag
    ]
    flags = {each.name: spelling(each) for each in known if each.flag}
    topics = {
        topic: [flags[name] for name in names]
        for topic, names in getattr(command, "topics", {}).items()
    }
    column = _column([*arguments, *options])
    return _page(
        _usage(name, known),
        *_paragraphs(about),
        _table("arguments", arguments, column),
        *_tables_by_topic(topics, options, "options", column),
        _examples(about),
    )


def spelling(flag: Parameter) -> str:
    """Return a flag with the name of its value; a switch that is on by default is negated."""
    if not flag.switch:
        return f"{flag.written} {flag.type.metavar}"
    return f"--no{flag.name}" if flag.default else flag.written


def default(flag: Parameter) -> str:
    """Return the default of a flag as a user would write it; empty for a switch or None."""
    if flag.required or flag.switch or flag.default in (None, ""):
        return ""
    values = flag.default if isinstance(flag.default, tuple) else (flag.default,)
    return ",".join(str(value) for value in values)


def _usage(name: str, known: Sequence[Parameter]) -> str:
    start = f"usage: isoklx {name} "
    # A no-break space keeps a flag and its value on the same line.
    groups = [_group(each).replace(" ", "\N{NO-BREAK SPACE}") for each in known]
    filled = _fill(start + " ".join(groups), hanging=" " * len(start))
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def _group(parameter: Parameter) -> str:
    if parameter.variadic:
        return f"{parameter.written} [{parameter.written} ...]"
    written = spelling(parameter) if parameter.flag else parameter.written
    return written if parameter.required else f"[{written}]"


def _bracketed(flag: Parameter) -> str:
    if flag.required:
        return "[required]"
    value = default(flag)
    return f"[default: {value}]" if value else ""


def _width() -> int:
    return max(40, min(100, shutil.get_terminal_size().columns))


def _fill(text: str, indent: str = "", hanging: str | None = None) -> str:
    return textwrap.fill(
        text,
        width=_width(),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paragraphs(about: Explanation) -> list[str]:
    return [_fill(each) for each in (about.summary, *about.details) if each]


def _column(rows: Sequence[tuple[str, str]]) -> int:
    """Return where descriptions start: past the longest name that fits into 2/5 of the width."""
    limit = _width() * 2 // 5
    return 4 + max((len(name) for name, _ in rows if len(name) + 4 <= limit), default=0)


def _table(title: str, rows: Sequence[tuple[str, str]], column: int) -> str:
    lines = []
    for name, text in rows:
        beside = len(name) + 4 <= column
        start = f"  {name}".ljust(column) if beside else " " * column
        lines += [] if beside else [f"  {name}"]
        lines += [_fill(text, start, " " * column)] if text else [start.rstrip()]
    return "\n".join([f"{title}:", *lines]) if rows else ""


def _tables_by_topic(
    topics: Mapping[str, Collection[str]],
    rows: Sequence[tuple[str, str]],
    others: str,
    column: int,
) -> list[str]:
    """Return a table per topic, in the order of its names, and one of the rows without a topic."""
    texts = dict(rows)
    grouped = {name for names in topics.values() for name in names}
    return [
        *(
            _table(topic, [(name, texts[name]) for name in names if name in texts], column)
            for topic, names in topics.items()
        ),
        _table(others, [(name, text) for name, text in rows if name not in grouped], column),
    ]


def _examples(about: Explanation) -> str:
    return "\n".join(
        ["examples:", *(f"  {line}" for line in about.examples)] * bool(about.examples)
    )


def _page(*blocks: str) -> str:
    return "\n\n".join(block for block in blocks if block)
