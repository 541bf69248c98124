import ast
import subprocess
import sys
from pathlib import Path

import pytest

import isoklx


@pytest.mark.parametrize("name", isoklx.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(isoklx, name).__doc__
    assert name in dir(isoklx)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = isoklx.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = "import isoklx, sys; print({'numpy', 'xarray', 'matplotlib', 'dask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_listing_of_the_package_is_its_public_names():
    assert dir(isoklx) == sorted(isoklx.__all__)
    assert {"IsoklxError", "errors", "open_sweep"} <= set(isoklx.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(isoklx.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.asname for each in block.body for alias in each.names]
    assert sorted(seen) == sorted(isoklx.__all__)


def test_every_error_derives_from_the_one_that_is_public():
    kinds = [each for each in vars(isoklx.errors).values() if isinstance(each, type)]
    own = [each for each in kinds if each.__module__ == "isoklx.errors"]
    assert all(issubclass(each, isoklx.IsoklxError) for each in own)
    assert {each.__name__ for each in own} <= set(dir(isoklx))


def test_a_wrong_argument_is_a_value_error_as_well():
    with pytest.raises(ValueError, match="got 3"):
        isoklx.survival(isoklx.open_sweep("data/sample"), threshold=3)
    assert not issubclass(isoklx.DatasetError, ValueError)
