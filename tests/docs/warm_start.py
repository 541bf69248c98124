"""``isoklx`` for shells of a test, started from a process that has imported everything already.

Most of what a command takes is the import of matplotlib and xarray. The pages have some fifty
commands: each is a fork of one process here, with its own arguments, folder and streams.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMPORTED = [
    "bokeh.plotting",
    "fire",
    "isoklx.plot.figure1",
    "isoklx.sweeps.build",
    "matplotlib.backends.backend_pdf",
    "matplotlib.pyplot",
    "scipy.special",
]
"""What commands import late."""

MODELS = ["isoklx.engine.pipeline", "torch", "transformers.models.llama.modeling_llama"]
IMPORTED_FOR = {"run": MODELS, "recheck": MODELS, "--scheduler": ["distributed"]}
"""What takes seconds, and few pages need: before the first command that has the word."""

LIMIT = 240
"""Seconds after which a command, or a block of them, is ended: one that waits for Ctrl-C, or for
what does not come, would hold up all tests."""

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    socket.send_fds(line, [json.dumps([os.getcwd(), sys.argv]).encode()], [0, 1, 2])
    sys.exit(line.recv(1)[0])
"""


@contextmanager
def warm_isoklx(folder: Path) -> Iterator[Path]:
    """Give a folder for PATH with a program ``isoklx`` in it."""
    program, address = folder / "isoklx", folder / "socket"
    program.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    program.chmod(0o755)
    words = [sys.executable, "-m", "tests.docs.warm_start", str(address)]
    environment = os.environ | {"COLUMNS": "100"}  # of a terminal
    root = Path(__file__).parents[2]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=root, env=environment) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            yield folder
        finally:
            server.terminate()  # or leaving the block would wait for it


def serve(address: str) -> None:
    """Run what clients ask for, one after another, until this process is ended."""
    _import(IMPORTED)
    from isoklx.cli.commands import COMMANDS
    from isoklx.cli.main import main

    for command in COMMANDS:
        COMMANDS[command]
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(address)
        line.listen()
        print("ready", flush=True)
        while True:
            client, _ = line.accept()
            with client:
                said, streams, _, _ = socket.recv_fds(client, 2**16, 3)
                folder, words = json.loads(said)
                for word, modules in IMPORTED_FOR.items():
                    if word in words:
                        _import(modules)
                child = os.fork()
                if not child:
                    signal.alarm(LIMIT)  # the end of a process that does nothing else about it
                    _become(folder, words, streams)
                    os._exit(main())
                for stream in streams:
                    os.close(stream)
                _, status = os.waitpid(child, 0)
                client.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))


def _import(modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)


def _become(folder: str, words: list[str], streams: list[int]) -> None:
    """Take over what a client has."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
    sys.argv = words
    os.chdir(folder)


if __name__ == "__main__":
    serve(sys.argv[1])
