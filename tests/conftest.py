"""Fixtures: the sweep that was measured, the sample that was simulated, and opened Datasets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import xarray as xr
from hypothesis import settings

import isoklx

# Ignored and blocked signals are inherited: a shell starts background jobs with SIGINT ignored, and
# service managers may ignore or block others. SIGHUP stays as nohup sets it, so that the tests
# survive a logout; tests that send it restore it in their own child processes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())

# What is slow on a machine that does other things as well is no failure.
settings.register_profile("isoklx", deadline=None)
settings.load_profile("isoklx")

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared"
SWEEP = "qwen35_w512"

# Before anything reads them: no test asks a hub, and threads would wait for each other in models
# as small as those of the tests.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.is_dir():
        pytest.skip(f"needs the measured sweep, and there is no ../shared/{'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Nine cells measured on a real model."""
    return shared("sweeps", SWEEP)


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Numbers computed from those cells by other means."""
    return shared("oracle", SWEEP)


@pytest.fixture(scope="session")
def sample() -> Path:
    """The simulated runs root that the project ships."""
    return PROJECT / "data" / "sample"


@pytest.fixture
def real(real_root: Path) -> xr.Dataset:
    return isoklx.open_sweep(real_root)


@pytest.fixture
def sample_ds(sample: Path) -> xr.Dataset:
    return isoklx.open_sweep(sample)
