import hashlib
import os

import pytest

from isoklx.errors import CellError
from isoklx.sources import Sources


def test_an_absent_file_is_none(tmp_path):
    assert Sources(tmp_path).json("pmass.json") is None


def test_the_digest_is_over_name_size_and_bytes(tmp_path):
    (tmp_path / "calib.json").write_bytes(b"{}")
    sources = Sources(tmp_path)
    sources.json("calib.json")
    sources.json("pmass.json")
    assert sources.digest() == hashlib.sha256(b"calib.json\0002\000{}").hexdigest()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "calib.json")
    with pytest.raises(CellError, match="not a regular file"):
        Sources(tmp_path).bytes("calib.json")
