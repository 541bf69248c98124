from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr
from matplotlib.figure import Figure

import isoklx
from isoklx.cli.main import main
from isoklx.plot.saving import save, style
from isoklx.sweeps.backend import SweepBackend
from isoklx.sweeps.build import convert
from isoklx.sweeps.verification import verify
from isoklx.system.paths import as_path, as_paths
from isoklx.tables.describe import describe


@pytest.fixture
def home(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a home folder with runs, and a different, empty working folder."""
    folder, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    shutil.copytree(sample, folder / "runs")
    isoklx.build(folder / "runs", folder / "x.nc")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_a_tilde_is_expanded_as_in_a_shell(home: Path) -> None:
    assert as_path("~") == home
    assert as_path(Path("~/a b")) == home / "a b"
    for text in ("a/~/b", "~nobody-of-that-name/x", "./~", "~~"):
        assert as_path(text) == Path(text)
    assert as_paths("~/a") == as_paths(["~/a"]) == [home / "a"]


def test_every_function_with_a_path_expands_the_tilde(home: Path) -> None:
    report = isoklx.build("~/runs", "~/y.nc")
    assert report.out == home / "y.nc"
    assert isoklx.build(["~/runs"]).out == home / "runs.nc"
    cells = isoklx.open_sweep("~/x.nc").sizes["cell"]
    assert isoklx.open_sweep(Path("~/runs")).sizes["cell"] == cells
    assert xr.open_dataset("~/runs", engine=SweepBackend).sizes["cell"] == cells
    assert SweepBackend().guess_can_open("~/runs")
    assert f"{cells} cells" in describe("~/x.nc")
    assert verify("~/x.nc", "~/runs") == []
    assert convert("~/x.nc", "~/z.nc") == home / "z.nc"
    assert isoklx.simulate("~/more")[0].parent == home / "more"
    assert save(Figure(), "~/figs", "empty") == [home / "figs" / "empty.png"]
    (home / "wide.mplstyle").write_text("lines.linewidth: 7\n")
    with style(Path("~/wide.mplstyle")):
        pass
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "build ~/runs --out=~/b.nc",
        "build ~/runs",
        "info ~/x.nc",
        "table ~/x.nc --out=~/figs",
        "survival ~/x.nc --alphas 1 --out=~/figs",
        "figure --file=~/x.nc --alphas 1 --out=~/figs",
        "verify ~/x.nc --root=~/runs",
        "verify ~/x.nc --root=~/runs,~/runs2",
        "convert ~/x.nc ~/z.nc",
    ],
)
def test_every_command_expands_the_tilde(home: Path, line: str) -> None:
    (home / "runs2").mkdir()
    assert main(line.split()) == (1 if "runs2" in line else 0)
    assert list(Path.cwd().iterdir()) == []
