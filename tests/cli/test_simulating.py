import pytest

import isoklx
from isoklx.cli.main import main


def test_it_makes_the_sample_that_the_project_ships(sample, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "outputs")]) == 0
    assert capsys.readouterr().out == f"12 simulated cells in {tmp_path}/outputs\n"
    assert isoklx.open_sweep(tmp_path / "outputs").equals(isoklx.open_sweep(sample))


def test_its_size_can_be_chosen(tmp_path):
    assert main(["simulate", str(tmp_path), "--window", "16", "--prompts", "3"]) == 0
    sizes = isoklx.open_sweep(tmp_path).sizes
    assert (sizes["cell"], sizes["prompt"], sizes["token"]) == (12, 3, 16)


def test_another_seed_is_another_sweep(tmp_path):
    for seed in ("1", "2"):
        assert main(["simulate", str(tmp_path / seed), "--window", "8", "--seed", seed]) == 0
    one, other = isoklx.open_sweep(tmp_path / "1"), isoklx.open_sweep(tmp_path / "2")
    assert not one.kl.equals(other.kl)


def test_a_cell_that_is_there_is_left_alone(tmp_path, capsys):
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 2
    assert "simulated-1B_pca_s0_w8 already exists: remove it" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}


def test_simulated_cells_do_not_join_what_is_there(tmp_path, capsys):
    (tmp_path / "outputs" / "tiny_pca_s0_w48").mkdir(parents=True)
    assert main(["simulate", str(tmp_path / "outputs")]) == 2
    assert "outputs: has tiny_pca_s0_w48 in it; give a folder for" in capsys.readouterr().err
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["simulate", str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt: is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--window", "--prompts"])
def test_a_size_of_nothing_is_refused(flag, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "outputs"), flag, "0"]) == 2
    assert "must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_what_a_file_manager_leaves_in_a_folder_is_no_cell(tmp_path):
    (tmp_path / ".directory").touch()
    assert main(["simulate", str(tmp_path), "--window", "8"]) == 0
