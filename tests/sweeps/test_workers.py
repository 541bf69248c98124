import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

from isoklx.cells.reading import EVERY, Cell
from isoklx.errors import CellError
from isoklx.sweeps.workers import Task, _Worker, perform, perform_all
from tests.conftest import PROJECT
from tests.handmade import kl, make_cell


@pytest.fixture
def task(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1": [[0.5]]}))
    (tmp_path / "_spool").mkdir()
    return Task(folder, "float32", EVERY, "", tmp_path / "_spool")


def test_a_dead_worker_loses_only_its_cell(task):
    worker = _Worker()
    try:
        os.kill(worker.pid, signal.SIGKILL)
        first, *others = worker.perform([task, task, task])
        assert isinstance(first, CellError)
        assert "the process that read it exited (-9)" in str(first)
        assert [type(outcome) for outcome in others] == [Cell, Cell]
    finally:
        worker.kill()
        worker.close()


@pytest.mark.parametrize("size", [1, 10**9], ids=["small cells", "large cells"])
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_outcomes_are_in_the_order_of_the_tasks(task, tmp_path, size, jobs):
    folders = [make_cell(tmp_path, f"c{i}") for i in range(9)]
    tasks = [Task(folder, "float32", EVERY, "", task.spool) for folder in folders]
    assert [outcome.folder for outcome in perform_all(tasks, jobs, size)] == folders


def test_no_tasks_give_no_outcomes():
    assert list(perform_all([], 1, 0)) == []


def test_an_internal_error_is_raised_with_its_outcome(task, monkeypatch):
    for name in ("read_cell", "_Worker.perform"):
        monkeypatch.setattr(f"isoklx.sweeps.workers.{name}", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(perform_all([task] * 3, 2, size=1))


def test_an_interrupted_build_leaves_no_processes(task, monkeypatch):
    start, started = subprocess.Popen, []

    def record(*words, **options):
        started.append(start(*words, **options))
        return started[-1]

    monkeypatch.setattr("isoklx.sweeps.workers.subprocess.Popen", record)
    outcomes = perform_all([task] * 4, 2, size=10**9)
    next(outcomes)
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


def test_a_worker_of_a_killed_build_exits_silently(task):
    worker = subprocess.Popen(
        [sys.executable, "-c", "from isoklx.sweeps.workers import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    worker.stdout.close()
    _, said = worker.communicate(pickle.dumps([task]))
    assert said == b""


def test_a_script_without_a_main_guard_can_build_beside_its_own_modules(tmp_path):
    for i in range(4):
        make_cell(tmp_path / "runs", f"c{i}", trajectory=kl({"1": [[0.5]]}))
    (tmp_path / "pickle.py").write_text("raise SystemExit('this module is somebody else\\'s')")
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "script.py"
    project = str(PROJECT)  # known only to this script
    script.write_text(
        f"import sys; sys.path.append({project!r})\n"
        "import isoklx; print(isoklx.build('runs', jobs=3).read)"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("('c0', 'c1', 'c2', 'c3')\n", "")


def test_workers_ignore_ctrl_c_from_the_start():
    for moment in (0, 0.02, 0.1, 0.3):
        worker = _Worker()
        time.sleep(moment)
        os.kill(worker.pid, signal.SIGINT)
        worker._process.stdin.close()
        assert worker._process.wait() == 0
        worker.close()


def test_a_cell_too_large_for_memory_is_an_error_of_that_cell(task, monkeypatch):
    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr("isoklx.sweeps.workers.read_cell", exhaust)
    assert "too large for the memory" in str(perform(task))
