"""Entry point of ``python -m isoklx`` and of the program ``isoklx``."""

import signal
import sys

from isoklx.system.signals import end_on_interrupt
from isoklx.system.terminal import open_standard_streams


def main() -> int:
    """Run the command line of this process; Ctrl-C prints one line from the first moment on."""
    open_standard_streams()
    end_on_interrupt()
    from isoklx.cli.main import main as run  # slow import

    status = run()
    # The work is finished and reported; Ctrl-C could only spoil the exit status now.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(main())
