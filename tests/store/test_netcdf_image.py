import subprocess
import sys

import netCDF4
import numpy as np
import pytest

from isoklx.store.netcdf import open_in_memory

SEVERAL_TIMES = """
import sys
import isoklx

root, file = sys.argv[1:]
isoklx.build(root, file)
ds = isoklx.open_sweep(file)
for _ in range(6):
    assert not isoklx.build(root, file).written
    with isoklx.open_sweep(file) as again:
        again.load()
print(ds.sizes["cell"])
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "texts.nc"
    with netCDF4.Dataset(path, "w") as dataset:
        dataset.createDimension("x", 3)
        dataset.createVariable("text", str, ("x",))[:] = np.array(["a", "bc", ""], object)
    return path


def test_memory_image_has_the_content_of_the_file(file):
    with open_in_memory(file) as dataset:
        assert dataset["text"][:].tolist() == ["a", "bc", ""]


def test_memory_image_survives_replacement_of_the_file(file, tmp_path):
    with open_in_memory(file) as dataset:
        other = tmp_path / "other.nc"
        netCDF4.Dataset(other, "w").close()
        other.replace(file)
        assert dataset["text"][:].tolist() == ["a", "bc", ""]


@pytest.mark.parametrize("content", [b"", b"CDF", b"\x89HDF\r\n\x1a\n" + bytes(100), b"text" * 99])
def test_file_that_is_not_netcdf_is_an_error(file, content):
    file.write_bytes(content)
    with pytest.raises((OSError, ValueError)), open_in_memory(file):
        pass


def test_process_with_an_open_file_can_rebuild_and_reopen_it(sample, tmp_path):
    # Overwrite freed memory, which otherwise often still holds the strings.
    command = [sys.executable, "-c", SEVERAL_TIMES, str(sample), str(tmp_path / "sample.nc")]
    environment = {"MALLOC_PERTURB_": "165"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "12\n"
