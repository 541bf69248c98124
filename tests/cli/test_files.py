import json
import shutil
from pathlib import Path

import pytest

import isoklx
from isoklx.cli.files import convert
from isoklx.cli.main import main
from isoklx.errors import DatasetError
from isoklx.sweeps import build


def test_convert_reports_the_file_written(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    convert(built, Path(tmp_path / "b.nc"))
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/b.nc (0.")
    assert isoklx.open_sweep(tmp_path / "b.nc").identical(isoklx.open_sweep(built))


def test_foreign_file_is_replaced_only_with_force(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    (tmp_path / "thesis.nc").write_text("a thesis")
    words = ["convert", str(built), str(tmp_path / "thesis.nc")]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("move it, or replace it with --force\n")
    assert (tmp_path / "thesis.nc").read_text() == "a thesis"
    assert main([*words, "--force"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/thesis.nc (0.")


def test_verify_checks_the_cells_of_a_runs_root(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample, "runs")
    assert main(["verify", "runs"]) == 0
    said = "no finding, no model was run: isoklx recheck CELL computes a cell's numbers again\n"
    assert capsys.readouterr().out == f"runs: {said}"
    name = "simulated-1B_pca_s0_w64"
    assert main(["verify", f"runs/{name}"]) == 0
    path = Path("runs", name, "gens.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["prompt"] = "Something else?"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    capsys.readouterr()
    assert main(["verify", "runs"]) == 1
    found, error = capsys.readouterr()
    assert found == (
        f"{name}: gens.jsonl: prompt 7 was given different texts at alpha 4 and at alpha "
        "0, 0.25, 0.5, 1, 2\n"
    )
    assert error == "isoklx verify: runs: 1 finding\n"
    assert main(["verify", "runs", "--root", "runs"]) == 2
    assert (
        "runs: expected a built file to compare with roots, got a folder" in capsys.readouterr().err
    )


def test_verify_names_the_built_file_in_a_folder_without_cells(
    sample, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample, "runs")
    assert main(["aggregate", "runs", "--kl_only"]) == 0
    capsys.readouterr()
    assert main(["verify", "figs"]) == 2
    hint = capsys.readouterr().err.rpartition("verify a built file instead: isoklx ")[2]
    assert hint == "verify figs/runs.nc\n"
    assert main(hint.split()) == 0


def test_a_folder_is_not_converted(sample):
    with pytest.raises(
        DatasetError, match="sample: is a folder, not a built file; build a runs root first"
    ):
        build.convert(sample, "a.nc")


def test_info_prints_one_json_document_on_request(sample, capsys):
    assert main(["info", str(sample), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 12
