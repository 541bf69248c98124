import gc
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import isoklx
from isoklx import schema
from isoklx.cells import layout
from isoklx.errors import BuildError, DatasetError
from isoklx.store.arrays_on_disk import SpooledArrays
from isoklx.sweeps import backend
from isoklx.sweeps.backend import SweepBackend
from tests.handmade import NAN, kl, make_cell


@pytest.fixture
def root(tmp_path):
    """Return cells of different shapes, padded in alpha, prompt, token and fork."""
    make_cell(tmp_path / "root", "a", trajectory=kl({"1": [[1, 2, 3, 4], [5]], "0.5": [[6]]}))
    make_cell(
        tmp_path / "root",
        "b",
        calib={"window": 2},
        trajectory=kl({"1": [[0.5]], "2": [[7, NAN]]}),
        pmass={"fork_points": [0, 2], "pmass_eval": {"1": [[0.5, NAN]]}},
    )
    make_cell(tmp_path / "root", "c")
    return tmp_path / "root"


@pytest.fixture
def reads(monkeypatch):
    """Record the measured arrays that are read."""
    names = []
    get = SpooledArrays.__getitem__

    def recording(self, name):
        if name in self.places:
            names.append(name)
        return get(self, name)

    monkeypatch.setattr(SpooledArrays, "__getitem__", recording)
    return names


def test_any_xarray_tool_can_open_a_runs_root(root):
    isoklx.build(root)
    from_engine = xr.open_dataset(root, engine="isoklx").load()
    from_file = isoklx.open_sweep(root.with_suffix(".nc")).load()
    for ds in (from_engine, from_file):
        del ds.attrs["history"], ds.attrs["date_created"]
    xr.testing.assert_identical(from_engine, from_file)
    assert {name: var.dtype for name, var in from_engine.variables.items()} == {
        name: var.dtype for name, var in from_file.variables.items()
    }


@pytest.mark.filterwarnings("ignore:.* fails while guessing:RuntimeWarning")  # other engines
def test_xarray_finds_the_engine_by_itself(root):
    with xr.open_dataset(str(root)) as ds:
        assert ds.sizes["cell"] == 3


@pytest.mark.parametrize("path", ["empty", "root/a", "sweep.zarr", "absent", "file"])
def test_other_paths_are_left_to_other_engines(root, tmp_path, path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "sweep.zarr" / "kl").mkdir(parents=True)
    assert SweepBackend().guess_can_open(root)
    assert not SweepBackend().guess_can_open(tmp_path / path)
    assert not SweepBackend().guess_can_open(b"bytes of a file")


def test_opening_parses_each_cell_once_and_reads_arrays_on_demand(root, reads, monkeypatch):
    parsed = []
    parse = layout.Sources.json
    monkeypatch.setattr(
        layout.Sources, "json", lambda self, file: parsed.append(file) or parse(self, file)
    )
    with xr.open_dataset(root, engine="isoklx") as ds:
        assert Counter(parsed) == dict.fromkeys(parsed, 3)
        shutil.rmtree(root)
        assert ds.kl.shape == (3, 3, 2, 4)
        assert ds.gen_len.sel(run_id="a", alpha=1).values.tolist() == [4, 1]
        assert reads == []
        assert ds.kl.sel(run_id="a", alpha=1, prompt=0).values.tolist() == [1, 2, 3, 4]
        assert reads == ["kl"]


def test_chunks_are_cells_and_align_across_variables(root, monkeypatch):
    with xr.open_dataset(root, engine="isoklx", chunks={}) as ds:
        assert ds.chunksizes["cell"] == (3,)
    monkeypatch.setattr(backend, "CHUNK", 1)
    with xr.open_dataset(root, engine="isoklx", chunks={}) as ds:
        assert ds.chunksizes["cell"] == (1, 1, 1)
        xr.testing.assert_equal(ds, isoklx.open_sweep(root))


def test_a_chunk_reads_only_its_own_cell(root, reads, monkeypatch):
    monkeypatch.setattr(backend, "CHUNK", 1)
    ds = isoklx.open_sweep(root, chunks={})
    assert ds.kl[1].max().compute() == 7
    assert reads == ["kl"]


KEYS = st.one_of(
    st.integers(-3, 2),
    st.slices(3).filter(
        lambda part: range(3)[part]
    ),  # xarray fails at empty slices with a negative step
    st.lists(st.integers(-3, 2), max_size=4).map(lambda items: np.array(items, dtype=int)),
)


@settings(max_examples=60)
@given(keys=st.tuples(KEYS, KEYS, KEYS, KEYS))
@example(keys=(0, 1, 2, 0))
def test_indexing_equals_numpy(memory_and_lazy, keys):
    memory, lazy = memory_and_lazy
    part = dict(zip(memory.kl.dims, keys, strict=True))
    xr.testing.assert_identical(lazy.kl.isel(part).load(), memory.kl.isel(part))


@pytest.fixture(scope="module")
def memory_and_lazy(sample):
    ds = xr.open_dataset(sample, engine="isoklx", cache=False).isel(
        dict.fromkeys(["cell", "alpha", "prompt", "token"], slice(3))
    )
    return ds.compute(), ds


def test_selecting_no_cells_gives_an_empty_array(memory_and_lazy):
    _, lazy = memory_and_lazy
    assert lazy.kl.isel(cell=[]).load().shape == (0, 3, 3, 3)


def test_opening_a_root_warns_of_a_broken_cell(root):
    (root / "a" / "trajectory.json").write_text('{"per_prompt_per_t_kl": {"1": [[1, 2, "3"]]}}')
    with pytest.warns(
        UserWarning, match=r"skipped .*a/trajectory\.json: .*\[0\]\[2\] must be a number, got '3'"
    ):
        ds = xr.open_dataset(root, engine="isoklx")
    assert ds.run_id.values.tolist() == ["b", "c"]


def test_a_root_without_cells_is_one_line(tmp_path):
    with pytest.raises(BuildError, match="no cell here"):
        xr.open_dataset(tmp_path, engine="isoklx")


def test_variables_can_be_left_out(root):
    with xr.open_dataset(root, engine="isoklx", drop_variables="kl") as ds:
        assert "kl" not in ds
    with xr.open_dataset(root, engine="isoklx", drop_variables=["kl", "pmass"]) as ds:
        assert set(schema.VARIABLES) - set(ds.variables) == {"kl", "pmass"}


class TestSpool:
    """Arrays are in a temporary folder while the Dataset is in use."""

    @pytest.fixture(autouse=True)
    def temporary(self, tmp_path, monkeypatch):
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    def test_closing_removes_it(self, root, temporary):
        with isoklx.open_sweep(root):
            assert list(temporary.iterdir())
        assert not list(temporary.iterdir())

    @pytest.mark.slow
    def test_a_part_keeps_it_and_forgetting_the_last_part_removes_it(self, root, temporary):
        part = isoklx.open_sweep(root).kl.sel(alpha=1)
        gc.collect()
        assert list(temporary.iterdir())
        assert part.max() == 7 or part.max() == 5
        del part
        gc.collect()
        assert not list(temporary.iterdir())

    @pytest.mark.slow
    @pytest.mark.parametrize("chunks", [None, {}])
    def test_a_pickled_copy_outlives_the_original_and_leaves_no_files(
        self, root, temporary, chunks
    ):
        ds = isoklx.open_sweep(root, chunks=chunks)
        expected, pickled = ds.compute(), pickle.dumps(ds)
        assert len(pickled) < 10**6
        copy = pickle.loads(pickled)
        ds.close()
        del ds
        gc.collect()
        xr.testing.assert_identical(copy.compute(), expected)
        del copy
        gc.collect()
        assert not list(temporary.iterdir())

    @pytest.mark.slow
    @pytest.mark.parametrize("chunks", [None, {}])
    def test_another_process_loads_what_was_pickled(self, root, temporary, chunks):
        ds = isoklx.open_sweep(root, chunks=chunks)
        expected = float(ds.kl.sum())
        there = load_elsewhere(ds, "print(float(ds.kl.sum()))")
        assert (there.stdout.decode(), there.stderr) == (f"{expected}\n", b"")
        assert len(list(temporary.iterdir())) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("chunks", [None, {}])
    def test_unpickling_after_the_process_has_ended_is_one_line(self, root, temporary, chunks):
        code = f"import isoklx, pickle, sys; ds = isoklx.open_sweep({str(root)!r}, chunks={chunks})"
        code += "; sys.stdout.buffer.write(pickle.dumps(ds))"
        pickled = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(temporary)},
        ).stdout
        with pytest.raises(
            DatasetError, match=r"the pickled runs root was closed, and its arrays in .*load"
        ):
            pickle.loads(pickled)
        assert not list(temporary.iterdir())

    def test_files_are_copied_on_a_file_system_without_links(self, root, monkeypatch):
        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        ds = isoklx.open_sweep(root)
        monkeypatch.setattr(os, "link", refuse)
        xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)).load(), ds.load())

    def test_a_deep_copy_keeps_it(self, root, temporary):
        ds = isoklx.open_sweep(root)
        expected = ds.compute()
        copy = ds.copy(deep=True)
        del ds
        gc.collect()
        assert len(list(temporary.iterdir())) == 1
        xr.testing.assert_identical(copy.load(), expected)


def load_elsewhere(ds, then):
    """Unpickle a Dataset in another process."""
    code = f"import pickle, sys; ds = pickle.load(sys.stdin.buffer); {then}"
    return subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(ds),
        capture_output=True,
        check=True,
    )


def test_a_root_opens_after_the_temporary_folder_has_been_removed(root, tmp_path, monkeypatch):
    gone, other = tmp_path / "gone", tmp_path / "other"
    for folder in (gone, other):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(gone))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with isoklx.open_sweep(root) as ds:
        assert len(list(gone.iterdir())) == 1
        shutil.rmtree(gone)
        message = (
            rf"{gone}/isoklx-\w+: the temporary files of this runs root were deleted; open the"
        )
        with pytest.raises(DatasetError, match=message):
            ds.kl.load()
    monkeypatch.setenv("TMPDIR", str(other))
    with isoklx.open_sweep(root) as ds:
        assert len(list(other.iterdir())) == 1
        assert ds.kl.notnull().any()


def test_a_missing_temporary_folder_is_one_line(root, tmp_path, monkeypatch):
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    message = (
        "No usable temporary directory found in .*; set TMPDIR to a folder that can be written"
    )
    with pytest.raises(BuildError, match=message):
        isoklx.open_sweep(root)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    with pytest.raises(
        BuildError, match=r"cannot be created: No such file .*; set TMPDIR to another"
    ):
        isoklx.open_sweep(root)
