"""Commands save figures and show none: hide what matplotlib says of backends and its cache."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "MPLBACKEND"


@contextmanager
def without_screen() -> Iterator[None]:
    """Have figures drawn without a screen, whatever the environment or a matplotlibrc says.

    A notebook gives what it starts a backend of its own, which matplotlib refuses elsewhere at its
    import. Afterwards the environment is as it was.

    Examples
    --------
    >>> import os
    >>> with without_screen():
    ...     os.environ["MPLBACKEND"]
    'agg'
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "agg"
    log = logging.getLogger("matplotlib")
    log.addFilter(_concerns_figures)
    try:
        if "matplotlib" in sys.modules:
            sys.modules["matplotlib"].use("agg")
        yield
    finally:
        log.removeFilter(_concerns_figures)
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def _concerns_figures(record: logging.LogRecord) -> bool:
    """Drop what is said of backends, and of the folder for fonts where there is no home."""
    text = record.getMessage()
    return "backend: " not in text and "temporary cache directory" not in text
