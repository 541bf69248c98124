from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import xarray as xr

import isoklx
from isoklx.plot import page
from isoklx.plot.page import ShownOnce

CELLS = """
from IPython.core.interactiveshell import InteractiveShell

InteractiveShell.enable_gui = lambda self, gui=None: None
shell, shown = InteractiveShell.instance(), []
shell.display_pub.publish = lambda data, **_: shown.append(data)
shell.displayhook.write_output_prompt = lambda: None
shell.displayhook.write_format_data = lambda data, *_: shown.append(data)
shell.run_cell("%matplotlib inline")
shell.run_cell("import isoklx; ds = isoklx.open_sweep('data/sample')")
for cell in ("isoklx.plot.calibration(ds)", "figure = isoklx.plot.calibration(ds)", "figure"):
    shown.clear()
    shell.run_cell(cell, store_history=True)
    shell.events.trigger("post_execute")
    print(cell, sum("image/png" in data for data in shown), sep=": ")
"""


def test_a_notebook_shows_the_calibration_once(sample: Path) -> None:
    pytest.importorskip("IPython", reason="shows it in a real shell")
    pytest.importorskip("matplotlib_inline", reason="shows it in a real shell")
    shown = subprocess.run(
        [sys.executable, "-c", CELLS],
        cwd=sample.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.splitlines()[-3:] == [
        "isoklx.plot.calibration(ds): 1",
        "figure = isoklx.plot.calibration(ds): 1",
        "figure: 1",
    ], shown.stderr


def test_displaying_it_closes_it_in_pyplot(
    sample_ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = isoklx.plot.calibration(sample_ds)
    assert isinstance(figure, ShownOnce)
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert plt.get_fignums()  # a window stays open
    inline = SimpleNamespace(get_backend=lambda: "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr(page, "mpl", inline)
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert not plt.get_fignums()
