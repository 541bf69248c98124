"""Cells as tasks of a dask.distributed scheduler."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")
distributed = pytest.importorskip("distributed", reason="needs the extra distributed")

from isoklx import run
from isoklx.engine import pipeline
from isoklx.errors import BuildError, MeasureError
from tests.engine.small_runs import contents, small
from tests.models.tiny_model import TINY

METHODS = ("mean_diff", "pca")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(str(TINY), **small(folder, method=METHODS))
    return folder


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A worker with two threads, as a worker has as many as there are cores unless it is told."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster


def test_cells_are_made_by_workers_as_they_are_here(
    whole: Path, tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = small(tmp_path, method=METHODS, scheduler=threads.scheduler_address)
    cells = run(str(TINY), **{**options, "out": Path("out")})
    assert [cell.name for cell in cells] == [f"tiny_{method}_s0_w8" for method in METHODS]
    # Two threads that steer one model at once would add both vectors.
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_what_workers_say_is_heard_here(
    tmp_path: Path, threads: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isoklx.engine")
    options = small(tmp_path, alphas=(1.0,), scheduler=threads.scheduler_address)
    run(str(TINY), **options)
    assert "tiny_mean_diff_s0_w8: complete" in caplog.messages
    until = time.monotonic() + 10
    while not any("c_star" in line for line in caplog.messages) and time.monotonic() < until:
        time.sleep(0.05)
    assert any("c_star" in line for line in caplog.messages)


def test_a_cell_that_fails_does_not_keep_the_others_from_being_made(
    tmp_path: Path,
    threads: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_cell = pipeline.make_cell

    def failing(cell: Any, *more: Any) -> None:
        if cell.plan.method == "pca":
            raise ZeroDivisionError("a worker's own")
        make_cell(cell, *more)

    monkeypatch.setattr(pipeline, "make_cell", failing)
    options = small(tmp_path, method=METHODS, scheduler=threads.scheduler_address, alphas=(1.0,))
    with pytest.raises(MeasureError, match="1 of 2 cells is not complete: tiny_pca_s0_w8"):
        run(str(TINY), **options)
    assert "tiny_pca_s0_w8: its worker failed: a worker's own" in caplog.messages
    assert [path.name for path in options["out"].iterdir()] == ["tiny_mean_diff_s0_w8"]


def test_a_scheduler_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isoklx.system.scheduler.TIMEOUT", 0.2)
    with pytest.raises(BuildError, match=r"tcp://127\.0\.0\.1:1: no scheduler answers"):
        run(str(TINY), **small(tmp_path, scheduler="tcp://127.0.0.1:1"))
    assert not (tmp_path / "out").exists()


def test_a_worker_that_dies_costs_no_cell(whole: Path, tmp_path: Path) -> None:
    def die_in_the_third_batch() -> None:
        from isoklx.engine import pipeline

        roll_out, count = pipeline.roll_out, 0

        def deadly(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return roll_out(*arguments, **options)

        pipeline.roll_out = deadly

    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", local_directory=str(tmp_path)
    ) as cluster:
        with distributed.Client(cluster) as client:
            client.run(die_in_the_third_batch)  # whoever replaces it will not
            pids = client.run(os.getpid)
        options = small(tmp_path, method=METHODS, scheduler=cluster.scheduler_address)
        run(str(TINY), **options)
        with distributed.Client(cluster) as client:
            assert set(client.run(os.getpid).values()).isdisjoint(pids.values())
    found, expected = contents(options["out"]), contents(whole / "out")
    assert found.keys() == expected.keys()
    # All but rounding: a worker computes with another number of threads.
    for method in METHODS:
        for file in ("calib.json", "gens.jsonl", "vector.safetensors"):
            assert found[f"tiny_{method}_s0_w8/{file}"] == expected[f"tiny_{method}_s0_w8/{file}"]
        kl = [
            np.array(
                json.loads(each[f"tiny_{method}_s0_w8/trajectory.json"])["per_t_p95_kl"]["1.0"]
            )
            for each in (found, expected)
        ]
        np.testing.assert_allclose(*kl, atol=1e-5)
