"""Text on its way to a terminal: nothing in it may steer the terminal or break the encoding."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 on the null device where the process was started without them.

    Otherwise the next files to be opened get these numbers, and what a library writes to standard
    error goes into the data. Python has None for such a stream, which becomes one that can be used.

    Examples
    --------
    >>> open_standard_streams()
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free descriptor, which is this one. Child processes get it as well.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def on_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is shown on a terminal; one that is closed is not.

    Examples
    --------
    >>> on_terminal(None)
    False
    """
    return stream is not None and not stream.closed and stream.isatty()


def printable(text: object) -> str:
    r"""Escape whatever a terminal would obey rather than show.

    Names of files and values in JSON are other people's text. Control characters, line breaks, bidi
    overrides and undecodable bytes are written as escapes; letters of any script stay.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is taken.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> print(printable("größe\x1b[31m\n"))
    größe\x1b[31m\n
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)
    )


def never_fail_to_encode() -> None:
    r"""Let output write ``\xe9`` where the encoding of the terminal has no such letter.

    Examples
    --------
    >>> never_fail_to_encode()
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
