"""Help for the terminal, made from the commands' signatures and numpydoc docstrings."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence

from isoklx.cli.arguments import Command, Parameter, parameters


def overview(commands: Mapping[str, Command], doc: str | None) -> str:
    """Write the help of the program: what it is for, its commands and a few examples.

    Parameters
    ----------
    commands : mapping of str to callable
        The commands by name.
    doc : str or None
        A numpydoc docstring whose first lines and Examples section speak for them all.

    Returns
    -------
    str
        Lines that fit the terminal.

    Examples
    --------
    >>> def build(*roots: str) -> None:
    ...     '''Read every cell under ROOT.'''
    >>> print(overview({"build": build}, "Sweeps as labelled arrays."))
    Sweeps as labelled arrays.
    <BLANKLINE>
    usage: isoklx COMMAND ...
    <BLANKLINE>
    commands:
      build  Read every cell under ROOT.
    <BLANKLINE>
    "isoklx COMMAND --help" explains a command, "isoklx --version" prints the version.
    """
    sections = _sections(doc)
    summaries = [
        (name, _sections(each.__doc__)[""].split("\n\n")[0]) for name, each in commands.items()
    ]
    return _page(
        _paragraphs(sections[""]),
        "usage: isoklx COMMAND ...",
        _table("commands", summaries, _column(summaries)),
        _examples(sections),
        _fill('"isoklx COMMAND --help" explains a command, "isoklx --version" prints the version.'),
    )


def command_help(name: str, command: Command) -> str:
    """Write the help of one command: its usage, what it does, its arguments and examples.

    Parameters
    ----------
    name : str
        The command's name.
    command : callable
        The command; its docstring explains every parameter.

    Returns
    -------
    str
        Lines that fit the terminal.

    Examples
    --------
    >>> def info(file: str, *, strict: bool = False) -> None:
    ...     '''Say what a file holds.
    ...
    ...     Parameters
    ...     ----------
    ...     file : str
    ...         The file.
    ...     strict : bool
    ...         Refuse a file that breaks the conventions.
    ...     '''
    >>> print(command_help("info", info))
    usage: isoklx info FILE [--strict]
    <BLANKLINE>
    Say what a file holds.
    <BLANKLINE>
    arguments:
      FILE      The file.
    <BLANKLINE>
    options:
      --strict  Refuse a file that breaks the conventions.
    """
    sections = _sections(command.__doc__)
    meanings = _meanings(sections.get("Parameters", ""))
    known = parameters(command)
    arguments = [(each.written, meanings.get(each.name, "")) for each in known if not each.flag]
    options = [
        (_spelling(each), f"{meanings.get(each.name, '')} {_default(each)}".strip())
        for each in known
        if each.flag
    ]
    column = _column([*arguments, *options])
    return _page(
        _usage(name, known),
        _paragraphs(sections[""]),
        _table("arguments", arguments, column),
        _table("options", options, column),
        _examples(sections),
    )


def _usage(name: str, known: Sequence[Parameter]) -> str:
    start = f"usage: isoklx {name} "
    # A no-break space keeps a flag and its value on one line.
    groups = [_group(each).replace(" ", "\N{NO-BREAK SPACE}") for each in known]
    filled = _fill(start + " ".join(groups), hanging=" " * len(start))
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def _group(parameter: Parameter) -> str:
    if parameter.variadic:
        return f"{parameter.written} [{parameter.written} ...]"
    spelling = _spelling(parameter) if parameter.flag else parameter.written
    return spelling if parameter.required else f"[{spelling}]"


def _spelling(flag: Parameter) -> str:
    if not flag.switch:
        return f"{flag.written} {flag.type.metavar}"
    return f"--no{flag.name}" if flag.default else flag.written


def _default(flag: Parameter) -> str:
    if flag.required:
        return "[required]"
    if flag.switch or flag.default in (None, ""):
        return ""
    values = flag.default if isinstance(flag.default, tuple) else (flag.default,)
    return f"[default: {','.join(str(value) for value in values)}]"


def _sections(doc: str | None) -> dict[str, str]:
    """Split a numpydoc docstring into its sections by title; what precedes them is ``""``."""
    plain = inspect.cleandoc(doc or "").replace("`", "")
    first, *rest = re.split(r"^(\w[\w ]*)\n-{3,}\n", plain, flags=re.MULTILINE)
    return {"": first.strip(), **dict(zip(rest[::2], rest[1::2], strict=True))}


def _meanings(section: str) -> dict[str, str]:
    """Read a Parameters section: each name with its text, on one line."""
    entries = re.split(r"^\*?(\w+) ?:.*\n", section, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)
    }


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


def _paragraphs(text: str) -> str:
    return "\n\n".join(_fill(each) for each in text.split("\n\n"))


def _column(rows: Sequence[tuple[str, str]]) -> int:
    """Return where the texts beside the names start: past the longest name that is not too long."""
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


def _examples(sections: Mapping[str, str]) -> str:
    """Show the Examples section's command lines; those of Python are for other readers."""
    lines = [
        f"  {line.removeprefix('$ ')}"
        for line in sections.get("Examples", "").splitlines()
        if line.startswith("$ ")
    ]
    return "\n".join(["examples:", *lines]) if lines else ""


def _page(*blocks: str) -> str:
    return "\n\n".join(block for block in blocks if block)
