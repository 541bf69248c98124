"""What the help says of a command: its docstring, and of a parameter what is written elsewhere.

A command repeats no word of the function that it calls: `explained_by` names that function, and its
numpydoc docstring is read from the source, because importing it would take longer than all else.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import isoklx

SOURCES = "explained_by"
"""Attribute of a command: functions and classes whose docstrings explain its parameters."""

Explained = TypeVar("Explained", bound=Callable[..., Any])


@dataclass(frozen=True)
class Explanation:
    """What a docstring says.

    Parameters
    ----------
    summary : str
        Its first line.
    details : tuple of str
        The paragraphs after them.
    meanings : dict of str to str
        Each parameter's text by its name, on one line.
    examples : tuple of str
        The command lines among the examples; those of Python are for other readers.
    """

    summary: str
    details: tuple[str, ...]
    meanings: dict[str, str]
    examples: tuple[str, ...]


def explained_by(*sources: str | type) -> Callable[[Explained], Explained]:
    """Let parameters that a command's docstring leaves out be explained by others' docstrings.

    Parameters
    ----------
    *sources : str or class
        Functions, by their full names, or classes; where several explain a parameter, the first.

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> @explained_by("isoklx.sweeps.builder.build")
    ... def build(*roots: str, jobs: int) -> None:
    ...     '''Read every cell.'''
    >>> explanation(build).meanings["jobs"]
    'Processes that parse; by default one per core.'
    """

    def named(command: Explained) -> Explained:
        setattr(command, SOURCES, (*getattr(command, SOURCES, ()), *sources))
        return command

    return named


def explanation(command: Callable[..., Any]) -> Explanation:
    """Read what the help says of a command.

    Parameters
    ----------
    command : callable
        A function or class with a numpydoc docstring.

    Returns
    -------
    Explanation
    """
    read = explanation_of(command.__doc__)
    meanings: dict[str, str] = {}
    for source in getattr(command, SOURCES, ()):
        there = (
            explanation_of(_docstring(source)) if isinstance(source, str) else explanation(source)
        )
        meanings = there.meanings | meanings
    return Explanation(read.summary, read.details, meanings | read.meanings, read.examples)


def explanation_of(docstring: str | None) -> Explanation:
    """Read a numpydoc docstring."""
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
    """The docstring of a function of this package, without importing its module."""
    _, *rooms, function = name.split(".")
    file = Path(isoklx.__file__).parent.joinpath(*rooms).with_suffix(".py")
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_docstring(node)
    raise LookupError(f"no function {name}")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
