import io

import pytest

from isoklx.system.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_bar_that_is_erased(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress("abc", 3, "cells")) == ["a", "b", "c"]
    assert "] 1/3 cells" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K")


def test_nothing_is_drawn_in_a_pipe(capsys):
    assert list(progress("abc", 3, "cells")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_the_bar_is_cleared_when_the_loop_is_interrupted(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    bar = progress("abc", 3, "cells")
    next(bar)
    with pytest.raises(KeyboardInterrupt):
        bar.throw(KeyboardInterrupt)
    assert terminal.getvalue().endswith("\r\033[K")
