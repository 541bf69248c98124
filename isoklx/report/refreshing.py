"""A page that reads itself anew while its sweep is watched."""

from __future__ import annotations

import json
from importlib import resources

END = "</body>"


def refreshing(page: str, every: float, says: str) -> str:
    """Add to a page what has the browser read it anew, and a bar that says so and can stop it.

    The page is left alone while its reader is busy: for a minute after a key, a click or a turn of
    the wheel, and while text is selected. What was chosen, sorted, opened and scrolled to is so
    again afterwards.

    Parameters
    ----------
    page : str
        What `isoklx.report.write_report` wrote.
    every : float
        Seconds between two readings, at least.
    says : str
        What the bar says of the sweep.

    Returns
    -------
    str

    Examples
    --------
    >>> refreshing("<body><p>text</p></body>", 30, "1 of 2 cells done")[:22]
    '<body><p>text</p><scri'
    """
    script = (resources.files("isoklx.report") / "assets" / "refresh.js").read_text("utf-8")
    # In JSON a letter of a tag is the same letter, and no tag.
    given = json.dumps({"every": every, "says": says}).replace("<", "\\u003c")
    before, end, after = page.rpartition(END)
    return f"{before}<script>const watched = {given};\n{script}</script>\n{end}{after}"
