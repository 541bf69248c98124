"""Text on its way to a terminal: nothing in it may steer the terminal or break the encoding."""

from __future__ import annotations

import io
import sys


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
