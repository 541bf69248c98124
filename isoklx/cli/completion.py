"""Print the shell script that completes commands, flags and their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from isoklx.cli.completion_scripts import Flag, Usage, Value
from isoklx.cli.help import explanation
from isoklx.cli.parsing import Command, Parameter, parameters

HELP = "Explain the command"


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a shell script that completes commands, flags and their values.

    The script matches this version of isoklx and starts no Python process when a key is pressed.
    Its first lines say where to save it.

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
    """List the usage of every command and of ``help``."""
    helps = Usage("help", "Explain a command", (), (Value("command", tuple(commands)),))
    return [*(_usage(name, commands[name]) for name in commands), helps]


def _usage(name: str, command: Command) -> Usage:
    about = explanation(command)
    known = parameters(command)
    flags = [
        Flag(_flag_text(each), _sentence(about.meanings.get(each.name, "")), _value(each))
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


def _flag_text(flag: Parameter) -> str:
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
    """Return the first sentence; completion shows one line for each word."""
    return text.partition(". ")[0].removesuffix(".")
