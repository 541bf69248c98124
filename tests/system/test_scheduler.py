import socket

import pytest

import isoklx
from isoklx.cli.main import main
from isoklx.errors import BuildError, UsageError
from isoklx.system import extras, scheduler
from isoklx.system.scheduler import connected

distributed = pytest.importorskip("distributed", reason="needs the extra distributed")


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(scheduler, "TIMEOUT", 0.3)


@pytest.mark.usefixtures("brief")
def test_an_unreachable_scheduler_is_a_one_line_error():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
        with (
            pytest.raises(BuildError, match=f"^{address}: no scheduler answers$"),
            connected(address),
        ):
            pass


@pytest.mark.parametrize("address", ["", "nonsense", "tcp://127.0.0.1:port", "ftp://127.0.0.1:1"])
def test_an_invalid_address_is_a_one_line_error(address):
    with pytest.raises(UsageError, match="must have the form tcp://HOST:PORT"), connected(address):
        pass


@pytest.mark.usefixtures("brief")
def test_a_scheduler_without_workers_is_a_one_line_error():
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(BuildError, match="the scheduler has no workers"),
        connected(cluster.scheduler_address),
    ):
        pass


@pytest.mark.usefixtures("brief")
def test_an_incompatible_scheduler_is_a_one_line_error():
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        # Version 2024.4 lacks n_workers, which later clients request.
        cluster.scheduler.handlers["identity"] = lambda: {}
        with (
            pytest.raises(BuildError, match=r"is incompatible with distributed .*n_workers"),
            connected(cluster.scheduler_address),
        ):
            pass


def test_a_missing_extra_is_a_one_line_error(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _: None)
    with (
        pytest.raises(UsageError, match=r"needs distributed: pip install 'isoklx\[distributed\]'"),
        connected("tcp://127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize("command", ["build", "survival"])
def test_a_command_with_a_wrong_address_prints_one_line(sample, tmp_path, capsys, command):
    file = isoklx.build(sample, tmp_path / "a.nc").out
    words = {"build": [sample, "--out", tmp_path / "b.nc"], "survival": [file]}[command]
    assert main([command, *map(str, words), "--scheduler", "nonsense"]) == 2
    assert capsys.readouterr().err == (
        f"isoklx {command}: scheduler address must have the form tcp://HOST:PORT, got 'nonsense'\n"
    )
    assert not (tmp_path / "b.nc").exists()
