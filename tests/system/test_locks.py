from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from isoklx.errors import BuildError
from isoklx.system.locks import claimed

PROCESSES = multiprocessing.get_context("forkserver")


def hold(folder: Path, ready: str, stay: bool) -> None:
    with claimed(folder) as mine:
        Path(ready).write_text(str(mine))
        if stay:
            signal.pause()


def in_another_process(folder: Path, stay: bool = False) -> tuple[bool, object]:
    """Return whether another process gets the claim, and that process."""
    ready = folder.parent / f"ready{os.urandom(4).hex()}"
    process = PROCESSES.Process(target=hold, args=(folder, str(ready), stay))
    process.start()
    if stay:
        while not (ready.exists() and ready.read_text()):
            assert process.is_alive()
    else:
        process.join()
    return ready.read_text() == "True", process


@pytest.mark.slow
def test_one_process_at_a_time_has_a_cell(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with claimed(folder) as mine:
        assert mine
        assert in_another_process(folder)[0] is False
        assert in_another_process(tmp_path / "b")[0] is True
    assert in_another_process(folder)[0] is True
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_end_of_a_process_releases_its_claim(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    _, process = in_another_process(folder, stay=True)
    with claimed(folder) as mine:
        assert not mine
    process.kill()
    process.join()
    with claimed(folder) as mine:
        assert mine
    assert not (tmp_path / ".a.claim").exists()


def test_nested_claims_share_the_lock(tmp_path: Path) -> None:
    with claimed(tmp_path / "a"):
        with claimed(tmp_path / "a") as again:
            assert again
        assert in_another_process(tmp_path / "a")[0] is False


def test_another_thread_does_not_share_the_claim(tmp_path: Path) -> None:
    seen = []

    def take() -> None:
        with claimed(tmp_path / "a") as mine:
            seen.append(mine)

    with claimed(tmp_path / "a"):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert seen == [False]


def test_a_failure_releases_the_claim(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "a"):
        raise KeyboardInterrupt
    assert in_another_process(tmp_path / "a")[0] is True


def test_only_one_of_many_threads_has_the_claim(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    granted: list[int] = []

    def take() -> None:
        for _ in range(200):
            with claimed(tmp_path / "a") as mine:
                if mine:
                    inside.append(1)
                    most.append(len(inside))
                    granted.append(1)
                    inside.pop()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted
    assert max(most) == 1


def test_an_impossible_claim_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError) as error, claimed(tmp_path / "file" / "a"):
        pass
    assert str(error.value) == f"{tmp_path / 'file' / 'a'}: cannot be claimed: Not a directory"
