import pytest

from isoklx.errors import UsageError
from isoklx.store import formats
from isoklx.system import extras


def test_zarr_store_is_recognised_by_its_content(tmp_path):
    assert not formats.is_zarr(tmp_path)
    (tmp_path / ".zgroup").touch()
    assert formats.is_zarr(tmp_path)


def test_size_of_a_store_is_the_sum_of_its_files(tmp_path):
    (tmp_path / "kl").mkdir()
    (tmp_path / "kl" / "0.0").write_bytes(b"123")
    (tmp_path / ".zgroup").write_bytes(b"45")
    assert formats.size(tmp_path) == 5
    assert formats.size(tmp_path / "kl" / "0.0") == 3


def test_folder_that_is_not_a_store_is_never_replaced(tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    (tmp_path / "thesis.zarr").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        formats.check_target(tmp_path / "thesis.zarr")
    (tmp_path / "file.zarr").touch()
    with pytest.raises(UsageError, match="is a file"):
        formats.check_target(tmp_path / "file.zarr")


def test_zarr_without_the_extra_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs zarr: pip install 'isoklx\[zarr\]'"):
        formats.check_target(tmp_path / "a.zarr")
    formats.check_target(tmp_path / "a.nc")
