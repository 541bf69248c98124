"""The command that prints what a shell completes: commands, their flags, and what these take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from isoklx.cli.completion_scripts import Flag, Usage, Value
from isoklx.cli.help import explanation
from isoklx.cli.parsing import Command, Parameter, parameters

HELP = "Explain the command"


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a shell script that completes commands, flags and their values.

    The script is of this version's commands, and starts no Python when a key is pressed. Its first
    lines say where to keep it.

    Parameters
    ----------
    shell : {"bash", "zsh", "fish"}
        bash, zsh or fish.

    Examples
    --------
    $ isoklx completion bash
    $ isoklx completion fish
    """
    from isoklx.cli import completion_scripts
    from isoklx.cli.commands import COMMANDS

    write = {
        "bash": completion_scripts.bash,
        "zsh": completion_scripts.zsh,
        "fish": completion_scripts.fish,
    }[shell]
    print(write(usages(COMMANDS)), end="")


def usages(commands: Mapping[str, Command]) -> list[Usage]:
    """List what can be written on a command line.

    Parameters
    ----------
    commands : mapping of str to callable
        The commands by name.

    Returns
    -------
    list of Usage
        One for each command, and one for ``help``.

    Examples
    --------
    >>> def info(file: str, *, strict: bool = False) -> None:
    ...     '''Say what a file holds.'''
    >>> [(each.name, [flag.written for flag in each.flags]) for each in usages({"info": info})]
    [('info', ['--strict', '--help']), ('help', [])]
    """
    helps = Usage("help", "Explain a command", (), (Value("command", tuple(commands)),))
    return [*(_usage(name, commands[name]) for name in commands), helps]


def _usage(name: str, command: Command) -> Usage:
    about = explanation(command)
    known = parameters(command)
    flags = [
        Flag(_written(each), _sentence(about.meanings.get(each.name, "")), _value(each))
        for each in known
        if each.flag
    ]
    places = [each for each in known if not each.flag]
    return Usage(
        name,
        _sentence(about.summary),
        (*flags, Flag("--help", HELP)),
        tuple(value for each in places if (value := _value(each)) is not None),
        variadic=any(each.variadic for each in places),
    )


def _written(flag: Parameter) -> str:
    return f"--no{flag.name}" if flag.switch and flag.default else flag.written


def _value(parameter: Parameter) -> Value | None:
    if parameter.switch:
        return None
    accepted = parameter.type
    number = (accepted.item or accepted).metavar in ("INT", "NUMBER")
    return Value(
        parameter.written.removeprefix("--").lower(),
        accepted.choices,
        several=accepted.item is not None,
        files=not accepted.choices and not number,
    )


def _sentence(text: str) -> str:
    """The first one, for there is a line for each."""
    return text.partition(". ")[0].removesuffix(".")
