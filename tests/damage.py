"""A built file whose bytes have changed, and what the commands make of it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from random import Random

from isoklx.cli import main as cli

COMMANDS = ("info", "table", "survival", "calibration", "verify")


def damaged(whole: bytes, rng: Random) -> bytes:
    """Flip a bit, overwrite a stretch, or cut the end off."""
    at = rng.randrange(len(whole))
    kind = rng.choice(["bit", "bit", "zeros", "noise", "cut"])
    if kind == "cut":
        return whole[:at]
    length = 1 if kind == "bit" else min(rng.choice([8, 512, 4096]), len(whole) - at)
    instead = {
        "bit": bytes([whole[at] ^ 1 << rng.randrange(8)]),
        "zeros": bytes(length),
        "noise": rng.randbytes(length),
    }[kind]
    return whole[:at] + instead + whole[at + length :]


def outcome(command: str, file: Path, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([command, str(file), *words])
    return status, out.getvalue(), err.getvalue()
