"""Builds on a local scheduler with two worker processes."""

import os
import shutil
import signal
from concurrent.futures import CancelledError

import pandas as pd
import pytest
import xarray as xr

import isoklx
import isoklx.sweeps.opening
from isoklx.cells.layout import CALIBRATION
from isoklx.cells.reading import EVERY
from isoklx.errors import BuildError, UsageError
from isoklx.store.provenance import DATED
from isoklx.sweeps.workers import Task
from tests.handmade import make_cell

distributed = pytest.importorskip("distributed", reason="needs the extra distributed")
pytest.importorskip("zarr", reason="needs the extra zarr")

from isoklx.store import zarr as zarr_store
from isoklx.sweeps.distributed import perform_on, write_on


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(sample, tmp_path_factory):
    return opened(isoklx.build(sample, tmp_path_factory.mktemp("serial") / "a.nc", jobs=1).out)


def opened(path):
    ds = isoklx.open_sweep(path).load()
    for name in DATED:
        del ds.attrs[name]
    return ds


def die_in(owner, name):
    """Make this process kill itself at its second call of a method."""
    calls = []
    method = getattr(owner, name)

    def deadly(*args, **options):
        calls.append(name)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **options)

    setattr(owner, name, deadly)


def make_one_worker_mortal(cluster, stage):
    """Let one worker die in the middle of a stage, and not its replacement."""

    def prepare():
        from isoklx.store import zarr as zarr_store
        from isoklx.sweeps import distributed

        owners = {"perform": distributed, "write": zarr_store.Block}
        die_in(owners[stage], stage)

    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        victim = next(iter(client.scheduler_info()["workers"]))
        client.run(prepare, workers=[victim])
        return client.run(os.getpid, workers=[victim])[victim]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["perform", "write"])
def test_the_task_of_a_dead_worker_is_retried(
    cluster, sample, expected, tmp_path, monkeypatch, stage
):
    monkeypatch.setattr(zarr_store, "CHUNK", 1)  # one block per cell
    pid = make_one_worker_mortal(cluster, stage)
    report = isoklx.build(sample, tmp_path / "a.zarr", scheduler=cluster.scheduler_address)
    assert report.skipped == ()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    xr.testing.assert_identical(opened(report.out), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_second_build_parses_changed_cells_and_reports_broken_ones(cluster, sample, tmp_path):
    root = shutil.copytree(sample, tmp_path / "sample")
    first, second, *_ = sorted(root.iterdir())
    isoklx.build(root, tmp_path / "a.zarr")
    (first / CALIBRATION).write_text("[")
    shutil.rmtree(second)
    report = isoklx.build(root, tmp_path / "a.zarr", scheduler=cluster.scheduler_address)
    assert len(report.unchanged) == len(report.read) == 10
    assert [error.folder for error in report.skipped] == [first]
    scratch = isoklx.build(root, tmp_path / "b.zarr").out
    xr.testing.assert_identical(opened(report.out), opened(scratch))


def test_a_netcdf_file_is_parsed_by_workers_and_written_locally(
    cluster, sample, expected, tmp_path
):
    out = isoklx.build(sample, tmp_path / "a.nc", scheduler=cluster.scheduler_address).out
    xr.testing.assert_identical(opened(out), expected)


def test_statistics_are_computed_by_workers(cluster, sample, tmp_path):
    out = isoklx.build(sample, tmp_path / "a.nc").out
    here = isoklx.survival_summary(isoklx.open_sweep(out))
    with isoklx.sweeps.opening.opened(out, cluster.scheduler_address) as ds:
        assert ds.kl.chunks is not None
        pd.testing.assert_frame_equal(isoklx.survival_summary(ds), here)


def test_a_runs_root_cannot_be_computed_by_workers(sample):
    with (
        pytest.raises(UsageError, match="needs a built file, not a runs root"),
        isoklx.sweeps.opening.opened(sample, "tcp://127.0.0.1:1"),
    ):
        pass


def test_storage_that_a_worker_does_not_see_is_one_line(cluster, sample, tmp_path):
    task = Task(next(sample.iterdir()), "float32", EVERY, "", tmp_path / "absent")
    with distributed.Client(cluster) as client:
        (outcome,) = perform_on(client, [task])
    assert isinstance(outcome, BuildError)
    assert "put roots and output on storage that all workers see" in str(outcome)


class DeadlyClient:
    """Start a scheduler whose workers all die, or that is lost itself."""

    def __init__(self, error):
        self.error = error

    def map(self, _, items, **__):
        return [self for _ in items]

    def result(self):
        raise self.error

    def cancel(self, _):
        pass


def test_a_cell_that_kills_every_worker_is_an_error(tmp_path):
    make_cell(tmp_path, "a")
    task = Task(tmp_path / "a", "float32", EVERY, "", tmp_path)
    killed = distributed.KilledWorker("task", None, 3)
    (outcome,) = perform_on(DeadlyClient(killed), [task])
    assert str(outcome) == f"{tmp_path}/a: every worker that read it died"
    block = zarr_store.Block(tmp_path / "a.zarr", None, "kl", 0, [])
    with pytest.raises(BuildError, match="every worker that wrote to kl died"):
        write_on(DeadlyClient(killed), [block])


def test_a_lost_scheduler_is_one_line(tmp_path):
    task = Task(tmp_path / "a", "float32", EVERY, "", tmp_path)
    with pytest.raises(BuildError, match="the scheduler was lost"):
        list(perform_on(DeadlyClient(CancelledError()), [task]))


def test_jobs_and_a_scheduler_exclude_each_other(sample):
    with pytest.raises(UsageError, match="jobs and scheduler cannot be combined"):
        isoklx.build(sample, jobs=2, scheduler="tcp://127.0.0.1:1")
