"""The program: parse a command line, run the command, and map errors to exit statuses.

Fire finds the command and calls it, after `isoklx.cli.parsing` has checked every word. Fire's own
guessing of values, late errors, paged help and shell cannot occur, because the words it receives
are unambiguous and its parsing of values is replaced.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from isoklx._version import __version__
from isoklx.cli import commands
from isoklx.cli.commands import COMMANDS, TOPICS
from isoklx.cli.help import command_help, overview
from isoklx.cli.parsing import canonical_words, nearest, parameters
from isoklx.errors import IsoklxError, UsageError
from isoklx.system.terminal import never_fail_to_encode, printable

VARIABLE = "MPLBACKEND"


@contextmanager
def without_screen() -> Iterator[None]:
    """Force matplotlib's Agg backend and restore the environment afterwards.

    A notebook sets MPLBACKEND for its child processes, to a backend that matplotlib cannot import
    outside of it.
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "agg"
    log = logging.getLogger("matplotlib")
    log.addFilter(_is_relevant)
    try:
        if "matplotlib" in sys.modules:
            sys.modules["matplotlib"].use("agg")
        yield
    finally:
        log.removeFilter(_is_relevant)
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def _is_relevant(record: logging.LogRecord) -> bool:
    """Drop messages about backends and about the font cache folder."""
    text = record.getMessage()
    return "backend: " not in text and "temporary cache directory" not in text


DONE, FAILED, WRONG_USE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit statuses; the last two are what a shell reports after SIGINT and SIGPIPE."""

HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 success, 1 the work failed, 2 wrong usage, 130 interrupted, 141 the reader of
        standard output closed it.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    never_fail_to_encode()
    status = _status(words)
    _flush_output()
    return status


def _status(words: Sequence[str]) -> int:
    try:
        _run(words)
        _flush(sys.stdout)
    except IsoklxError as error:
        return _fail(words, WRONG_USE if isinstance(error, UsageError) else FAILED, error)
    except BrokenPipeError:
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _fail(words, INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001  # last resort: any error is one line
        return _fail(words, FAILED, _explanation(error))
    return DONE


def _run(words: Sequence[str]) -> None:
    if not words:
        names = ", ".join(COMMANDS)
        raise UsageError(f"usage: isoklx COMMAND ..., one of {names}; isoklx --help explains them")
    first, *rest = words
    if first == "help" or not set(words).isdisjoint(HELP):
        print(_help([word for word in words if word not in ("help", *HELP)]))
    elif first == "--version":
        if rest:
            raise UsageError(f"unexpected argument '{rest[0]}'")
        print(f"isoklx {__version__}")
    else:
        _call(_command_name(first), rest)


def _help(subject: Sequence[str]) -> str:
    if not subject or subject[0].startswith("-"):
        return overview(COMMANDS, commands.__doc__, TOPICS)
    return command_help(subject[0], COMMANDS[_command_name(subject[0])])


def _command_name(name: str) -> str:
    if name in COMMANDS:
        return name
    guess = nearest(name, [*COMMANDS, "--help", "--version"])
    hint = f"did you mean {guess}?" if guess else f"commands: {', '.join(COMMANDS)}"
    raise UsageError(f"unknown command '{name}'; {hint}")


def _call(name: str, words: Sequence[str]) -> None:
    """Let Fire find the command and call it with the checked values."""
    command = COMMANDS[name]
    understood = canonical_words(command, words)

    import fire
    from fire.decorators import SetParseFn

    from isoklx.cli.main import without_screen

    for each in parameters(command):
        # SetParseFn without a name sets the parser of *roots.
        SetParseFn(each.type.read, *([] if each.variadic else [each.name]))(command)
    with without_screen(), warnings.catch_warnings():
        warnings.showwarning = _print_warning
        fire.Fire({name: command}, command=[name, *understood], name="isoklx")


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning, such as one about a skipped cell, as one line."""
    with contextlib.suppress(OSError):  # a closed stderr does not stop the work
        print(f"isoklx: {printable(message)}", file=sys.stderr)


def _flush_output() -> None:
    """Flush the streams, or redirect them where the interpreter would fail to flush at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _flush(stream: TextIO | None) -> None:
    if stream is not None:  # None where the process was started with it closed
        stream.flush()


def _fail(words: Sequence[str], status: int, message: object) -> int:
    name = f"isoklx {words[0]}" if words and words[0] in COMMANDS else "isoklx"
    with contextlib.suppress(OSError):
        print(f"{name}: {printable(message)}", file=sys.stderr)
    return status


def _explanation(error: Exception) -> str:
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return reason if error.filename is None else f"{error.filename}: {reason}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": ")
    if isinstance(error, RuntimeError) and str(error).startswith("NetCDF: "):
        return f"the file is damaged: {error}"
    bug = f"this is a bug in isoklx: {type(error).__name__}: {error}"
    if os.environ.get("ISOKLX_TRACEBACK"):
        traceback.print_exception(error)
        return bug
    return f"{bug} (set ISOKLX_TRACEBACK=1 to see where)"
