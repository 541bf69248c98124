"""``python -m isoklx``."""

import sys

from isoklx.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
