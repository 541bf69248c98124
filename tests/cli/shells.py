"""Interactive shells that complete command lines."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

READY = "ready> "
LONG = 60
"""Timeout in seconds, long enough for a busy machine."""

SHOW = "isoklx() { printf 'GOT'; printf '[%s]' \"$@\"; printf 'END\\n'; }"

BASH = """
PS1='{ready}'
source {script}
{show}
"""

ZSH = """
PS1='{ready}'
autoload -Uz compinit && compinit -D
source {script}
{show}
zle -C every complete-word _generic
zstyle ':completion:every::::' completer _all_matches _complete
zstyle ':completion:every:*' insert yes
bindkey '^Xa' every
"""


ASK = 'source $argv[1]; complete -C "$argv[2]"'


class Terminal:
    """Interactive shell in which a key inserts all completions at the cursor."""

    def __init__(self, shell: str, script: Path, home: Path) -> None:
        rc, options, self.key = {
            "bash": (BASH, ["--norc", "--noprofile", "-i"], "\x1b*"),
            "zsh": (ZSH, ["-f", "-i"], "\x18a"),
        }[shell]
        start = home / f"start.{shell}"
        start.write_text(rc.format(script=script, show=SHOW, ready=READY))
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [shell, *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "LC_ALL": "C"},
            start_new_session=True,
        )
        os.close(slave)
        self._say(f"source ./{start.name}; printf 'started%s' END\r", "startedEND")

    def completed(self, line: str, key: str | None = None) -> list[str]:
        """Return the words of a command line after completing its end with a key."""
        output = self._say(line + (self.key if key is None else key) + "\r", "END")
        found = re.search(r"GOT(.*)END", output, re.DOTALL)
        assert found, output
        return re.findall(r"\[(.*?)\]", found[1], re.DOTALL)

    def run(self, line: str) -> None:
        """Run a command line and wait for its end."""
        self._say(line + "; printf 'done%s' END\r", "doneEND")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _say(self, text: str, until: str) -> str:
        os.write(self.master, text.encode())
        heard, give_up = "", time.monotonic() + LONG
        while until not in heard or not heard.endswith(READY):
            assert time.monotonic() < give_up, heard
            if select.select([self.master], [], [], 1)[0]:
                heard += os.read(self.master, 65536).decode(errors="replace")
                heard = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", heard)
        return heard


class Fish:
    """Fish, which lists its completions without a terminal."""

    def __init__(self, script: Path, home: Path) -> None:
        self.script, self.home = script, home

    def completed(self, line: str) -> list[str]:
        """Return the words of a command line with all completions of the last one."""
        done = subprocess.run(
            ["fish", "--no-config", "-c", ASK, str(self.script), line],
            capture_output=True,
            text=True,
            check=True,
            cwd=self.home,
        )
        assert done.stderr == ""
        found = [each.partition("\t")[0] for each in done.stdout.splitlines()]
        return [*line.split(" ")[1:-1], *found]

    def close(self) -> None: ...
