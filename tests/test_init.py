import subprocess
import sys

import pytest

import isoklx


@pytest.mark.parametrize("name", isoklx.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(isoklx, name).__doc__
    assert name in dir(isoklx)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = isoklx.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = "import isoklx, sys; print({'numpy', 'xarray', 'matplotlib', 'dask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
