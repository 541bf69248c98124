"""The reference of the commands, from the commands: what they are called with is what it says."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import getdoc
from textwrap import dedent

from extensions.markdown import code, plain, table
from isoklx.cli import main
from isoklx.cli.commands import COMMANDS
from isoklx.cli.help import SOURCES, command_help, default, explanation, spelling
from isoklx.cli.parsing import Command, Parameter, parameters

OWN = "Options"
"""Heading of the options that a command shares with no other."""


def commands() -> str:
    """Return a section for each command, in the order of the help."""
    return "\n".join(_section(name, COMMANDS[name]) for name in COMMANDS)


def exit_codes() -> str:
    """Each exit status and what it says, as `isoklx.cli.main` has them."""
    _, said = (getdoc(main.main) or "").split("Exit status:")
    rows = re.findall(r"(\d+) ([^,.]+)", " ".join(said.split()))
    return table(("status", "meaning"), rows)


def _section(name: str, command: Command) -> str:
    about = explanation(command)
    known = parameters(command)
    places = [each for each in known if not each.flag]
    blocks = [
        f"## {name}",
        *map(plain, (about.summary, *about.details)),
        _text("\n".join(about.examples)),
        f"```{{program}} isoklx {name}\n```",
        _text(_usage(name, command)),
        *_options("Arguments", places, about.meanings),
    ]
    for title, flags in _groups(command, [each for each in known if each.flag]).items():
        blocks += _options(title, flags, about.meanings)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _text(lines: str) -> str:
    return f"```text\n{lines}\n```" if lines else ""


def _usage(name: str, command: Command) -> str:
    usage, *_ = command_help(name, command).split("\n\n")
    return dedent(f"       {usage.removeprefix('usage: ')}")


def _groups(command: Command, flags: list[Parameter]) -> dict[str, list[Parameter]]:
    """Group the flags by the option group that brings them, the command's own first."""
    groups: dict[str, list[Parameter]] = {OWN: []}
    sources = [each for each in getattr(command, SOURCES, ()) if isinstance(each, type)]
    for flag in flags:
        of = (each for each in sources if flag.name in {own.name for own in fields(each)})
        group = next(of, None)
        title = OWN if group is None else explanation(group).summary.rstrip(".")
        groups.setdefault(title, []).append(flag)
    return groups


def _options(title: str, known: list[Parameter], meanings: dict[str, str]) -> list[str]:
    if not known:
        return []
    return [f"```{{rubric}} {title}\n```", *(_option(each, meanings) for each in known)]


def _option(parameter: Parameter, meanings: dict[str, str]) -> str:
    written = spelling(parameter) if parameter.flag else parameter.written
    said = default(parameter) if parameter.flag else ""
    end = f" Default: {code(said)}." if said else ""
    needed = " Required." if parameter.flag and parameter.required else ""
    meaning = plain(meanings.get(parameter.name, ""))
    return f":::{{option}} {written}\n{meaning}{end}{needed}\n:::"
