import os
import signal

import pytest

from isoklx.cells import EVERY, Cell
from isoklx.errors import CellError
from isoklx.workers import Task, _Worker, perform, perform_all
from tests.handmade import kl, make_cell


@pytest.fixture
def task(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1": [[0.5]]}))
    (tmp_path / "_spool").mkdir()
    return Task(folder, "float32", EVERY, "", tmp_path / "_spool")


def test_a_worker_that_dies_costs_its_cell_and_not_the_build(task):
    worker = _Worker()
    try:
        os.kill(worker._process.pid, signal.SIGKILL)
        outcome = worker.perform(task)
        assert isinstance(outcome, CellError)
        assert "the process that read it ended (-9)" in str(outcome)
        assert isinstance(worker.perform(task), Cell)
    finally:
        worker.kill()
        worker.close()


def test_outcomes_come_in_the_order_of_the_tasks(task, tmp_path):
    folders = [make_cell(tmp_path, f"c{i}") for i in range(9)]
    tasks = [Task(folder, "float32", EVERY, "", task.spool) for folder in folders]
    assert [outcome.folder for outcome in perform_all(tasks, jobs=3)] == folders


def test_no_process_outlives_an_interrupted_build(task):
    outcomes = perform_all([task] * 4, jobs=2)
    next(outcomes)
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_cell_too_large_for_memory_is_an_error_of_that_cell(task, monkeypatch):
    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr("isoklx.workers.read_cell", exhaust)
    assert "too large for the memory" in str(perform(task))
