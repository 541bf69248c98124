from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

import isoklx.plot
from isoklx.cli.main import main, without_screen

INLINE = "module://matplotlib_inline.backend_inline"


def run(sample: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ["survival", str(sample), "--alphas", "1", "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-m", "isoklx", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", [INLINE, "nonsense", "module://nowhere", "TkAgg", ""])
def test_command_ignores_the_backend_of_the_environment(
    sample: Path, tmp_path: Path, backend: str
) -> None:
    done = run(sample, tmp_path / "figs", MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "figs" / "survival.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("backend", [INLINE, "nonsense", "TkAgg"])
def test_command_ignores_the_backend_of_a_matplotlibrc(
    sample: Path, tmp_path: Path, backend: str
) -> None:
    (tmp_path / "matplotlibrc").write_text(f"backend: {backend}\n")
    done = run(sample, tmp_path / "figs", MATPLOTLIBRC=str(tmp_path), MPLBACKEND="")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "figs" / "survival.png").is_file()


def test_other_errors_in_a_matplotlibrc_are_reported(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: broad\n")
    done = run(sample, tmp_path / "figs", MATPLOTLIBRC=str(tmp_path))
    assert "lines.linewidth" in done.stderr


@pytest.mark.parametrize("before", [None, "svg"])
def test_environment_is_restored(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)
    if before:
        monkeypatch.setenv("MPLBACKEND", before)
    assert main(["figure", str(sample), "--alphas", "1", "--out", str(tmp_path)]) == 0
    with pytest.raises(ZeroDivisionError), without_screen():
        raise ZeroDivisionError
    assert os.environ.get("MPLBACKEND") == before


def test_functions_keep_the_backend_of_the_caller(sample_ds) -> None:
    mpl.use("svg")
    try:
        isoklx.plot.figure1(sample_ds, alphas=[1])
        isoklx.plot.survival(sample_ds, alphas=[1])
        isoklx.plot.calibration(sample_ds)
        isoklx.plot.alive(sample_ds, alphas=[1])
        assert mpl.get_backend() == "svg"
    finally:
        mpl.pyplot.close("all")
        mpl.use("agg")
