"""``python -m isoklx``, and the program ``isoklx``."""

import signal
import sys

from isoklx.system.signals import end_on_interrupt
from isoklx.system.terminal import open_standard_streams


def main() -> int:
    """Run the command line of this process; from the first moment on Ctrl-C is one line."""
    open_standard_streams()
    end_on_interrupt()
    from isoklx.cli.main import main as run  # takes a while

    status = run()
    # The work is done and said: all that Ctrl-C could still do is end a process that is ending.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(main())
