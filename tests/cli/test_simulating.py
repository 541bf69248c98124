import pytest

import isoklx
from isoklx.cli.main import main


def test_simulate_reproduces_the_shipped_sample(sample, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "outputs")]) == 0
    assert capsys.readouterr().out == f"12 simulated cells in {tmp_path}/outputs\n"
    assert isoklx.open_sweep(tmp_path / "outputs").equals(isoklx.open_sweep(sample))


def test_size_can_be_selected(tmp_path):
    assert main(["simulate", str(tmp_path), "--window", "16", "--prompts", "3"]) == 0
    sizes = isoklx.open_sweep(tmp_path).sizes
    assert (sizes["cell"], sizes["prompt"], sizes["token"]) == (12, 3, 16)


def test_different_seeds_give_different_sweeps(tmp_path):
    for seed in ("1", "2"):
        assert main(["simulate", str(tmp_path / seed), "--window", "8", "--seed", seed]) == 0
    one, other = isoklx.open_sweep(tmp_path / "1"), isoklx.open_sweep(tmp_path / "2")
    assert not one.kl.equals(other.kl)


def test_existing_cell_is_unchanged(tmp_path, capsys):
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 2
    assert "simulated-1B_pca_s0_w8 already exists: remove it" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}


def test_simulated_cells_do_not_join_other_files(tmp_path, capsys):
    (tmp_path / "outputs" / "tiny_pca_s0_w48").mkdir(parents=True)
    assert main(["simulate", str(tmp_path / "outputs")]) == 2
    assert "outputs: contains tiny_pca_s0_w48; give a folder for" in capsys.readouterr().err
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["simulate", str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt: is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--window", "--prompts"])
def test_size_zero_is_refused(flag, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "outputs"), flag, "0"]) == 2
    assert "must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_hidden_files_of_a_file_manager_are_ignored(tmp_path):
    (tmp_path / ".directory").touch()
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 0
