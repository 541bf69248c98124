"""Safe output to terminals: no control sequences and no encoding errors."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 on the null device where the process was started without them.

    Otherwise the next opened files would get these numbers, and a library's output to stderr would
    go into the data. Python's None for such a stream is replaced by a usable stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # This opens the lowest free descriptor, which is `number`. Child processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def on_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an open terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def printable(text: object) -> str:
    """Escape characters that a terminal would interpret instead of showing.

    File names and values in JSON are untrusted text. Control characters, line breaks, bidi
    overrides and undecodable bytes become escapes; letters of any script stay.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)
    )


def never_fail_to_encode() -> None:
    r"""Write escapes such as ``\xe9`` for letters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
