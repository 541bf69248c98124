from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.sweeps.combining import combine
from tests.handmade import kl, make_cell

DATES = ("date_created", "history")


def without_dates(ds):
    return ds.assign_attrs(dict.fromkeys(DATES, ""))


@pytest.fixture(scope="module")
def lazy(tmp_path_factory):
    """Write cells with different windows, prompts and doses."""
    root = tmp_path_factory.mktemp("combining") / "runs"
    shape = {"window": 8, "prompts": 2, "questions": 2}
    specs = [
        CellSpec(**shape, seed=0, ends_early=0.9),
        CellSpec(method="mean_diff", window=16, prompts=3, alphas=(0.3, 1.0)),
        CellSpec(**shape, seed=1, lacks="sweep"),
    ]
    simulate(root, specs)
    return isoklx.open_sweep(root, chunks={})


@pytest.mark.parametrize("suffix", ["nc", "zarr", "root"])
def test_a_sweep_in_two_files_is_the_sweep(sample, tmp_path, suffix):
    if suffix == "zarr":
        pytest.importorskip("zarr", reason="needs the extra zarr")
    whole = isoklx.open_sweep(sample)
    roots = [tmp_path / "a", tmp_path / "b"]
    for i, folder in enumerate(sorted(sample.iterdir())):
        roots[i % 2].mkdir(exist_ok=True)
        (roots[i % 2] / folder.name).symlink_to(folder)
    files = [isoklx.build(root, f"{root}.{suffix}").out for root in roots if suffix != "root"]
    both = isoklx.open_sweep(files or roots)
    xr.testing.assert_equal(both, whole)
    assert {name: both[name].dtype for name in both.variables} == {
        name: whole[name].dtype for name in whole.variables
    }
    assert both.attrs["title"] == whole.attrs["title"]
    assert both.kl.chunks is None
    mixed = isoklx.open_sweep([str(roots[1]), *files[:1]] if files else roots[::-1])
    xr.testing.assert_equal(mixed, whole)


@pytest.mark.slow
@settings(max_examples=25)
@given(data=st.data())
def test_any_parts_join_to_the_whole(lazy, data):
    dim = data.draw(st.sampled_from(["cell", "alpha", "prompt", "token", "fork", "question"]))
    n = lazy.sizes[dim]
    of_part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    parts = [lazy.isel({dim: np.flatnonzero(of_part == part)}) for part in np.unique(of_part)]
    paths = [f"part{i}.nc" for i in range(len(parts))]
    both = combine({Path(p): ds for p, ds in zip(paths, parts, strict=True)})
    assert both.kl.chunks is not None
    xr.testing.assert_identical(without_dates(both.compute()), without_dates(lazy.compute()))


@pytest.mark.slow
def test_saved_selections_can_be_joined(sample_ds, tmp_path):
    for alpha in sample_ds.alpha.values:
        sample_ds.sel(alpha=alpha).to_netcdf(tmp_path / f"{alpha}.nc")
    files = sorted(tmp_path.iterdir())
    xr.testing.assert_equal(isoklx.open_sweep(files), sample_ds)


def test_different_cells_of_one_name_stay_separate(tmp_path):
    make_cell(tmp_path / "coarse", "a", trajectory=kl({"0.3": [[1]], "1": [[2]]}))
    make_cell(tmp_path / "dense", "a", trajectory=kl({"0.30000000000000004": [[1]], "2": [[3]]}))
    make_cell(tmp_path / "dense", "b", trajectory=kl({"4": [[5, 6]]}))
    ds = isoklx.open_sweep([tmp_path / "dense", tmp_path / "coarse"])
    assert ds.run_id.values.tolist() == ["b", "coarse/a", "dense/a"]
    assert ds.alpha.values.tolist() == [0.3, 1, 2, 4]
    assert ds.kl.sel(run_id="coarse/a").squeeze().values[:, 0].tolist()[:2] == [1, 2]
    np.testing.assert_array_equal(
        ds.kl.sel(run_id="dense/a").values[:, 0, 0], [1, np.nan, 3, np.nan]
    )


def test_sweeps_of_one_name_are_named_by_their_folders(tmp_path):
    for i, folder in enumerate(("x", "y")):
        make_cell(tmp_path / folder / "runs", "a", trajectory=kl({"1": [[i]]}))
    ds = isoklx.open_sweep([tmp_path / "x" / "runs", tmp_path / "y" / "runs"])
    assert ds.run_id.values.tolist() == ["x/runs/a", "y/runs/a"]


def test_one_sweep_twice_is_the_sweep(sample, tmp_path):
    file = isoklx.build(sample, tmp_path / "sample.nc").out
    both = isoklx.open_sweep([file, sample])
    xr.testing.assert_equal(both, isoklx.open_sweep(sample))
    xr.testing.assert_equal(isoklx.open_sweep([file]), isoklx.open_sweep(file))


def test_variables_that_one_sweep_lacks_are_missing_there(sample_ds, tmp_path):
    sample_ds.isel(cell=[0]).drop_vars("pmass").to_netcdf(tmp_path / "a.nc")
    sample_ds.isel(cell=[1]).to_netcdf(tmp_path / "b.nc")
    ds = isoklx.open_sweep([tmp_path / "a.nc", tmp_path / "b.nc"])
    assert ds.pmass.isel(cell=0).isnull().all()
    xr.testing.assert_equal(ds.pmass.isel(cell=1), sample_ds.pmass.isel(cell=1))


def test_large_or_chunked_sweeps_stay_lazy(sample, tmp_path, monkeypatch):
    files = [isoklx.build(sample, tmp_path / f"{name}.nc").out for name in "ab"]
    assert isoklx.open_sweep(files, chunks={"cell": 5}).kl.chunks[0] == (5, 5, 2)
    monkeypatch.setattr("isoklx.store.opening.LARGE", 7)
    with isoklx.open_sweep(files) as ds:
        assert ds.kl.chunks is not None


def test_an_empty_list_is_one_line():
    with pytest.raises(UsageError, match="at least one file or runs root"):
        isoklx.open_sweep([])


def test_an_error_of_alignment_names_the_file(sample_ds, tmp_path):
    sample_ds.isel(cell=[0]).to_netcdf(tmp_path / "a.nc")
    sample_ds.mean("prompt").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DatasetError, match=r"b\.nc: not an isoklx sweep: .* has no dim.* prompt"):
        isoklx.open_sweep([tmp_path / "a.nc", tmp_path / "b.nc"])
