import isoklx
from scripts import large_file


def test_cells_are_tiled_and_all_distinct(tmp_path, monkeypatch):
    monkeypatch.setattr(large_file, "PROMPTS", 2)
    monkeypatch.setattr(large_file, "WINDOW", 16)
    size = 9 * 8 * 2 * 16 * 4
    assert large_file.make_large_file(tmp_path / "large.nc", 3 * size / 1e9) == 27
    with isoklx.open_sweep(tmp_path / "large.nc") as ds:
        assert ds.kl.nbytes == 3 * size
        assert len(set(ds.run_id.values)) == 27
        assert isoklx.distinct(ds).sizes["cell"] == 27
