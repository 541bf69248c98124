import json
import shutil
from pathlib import Path

import pytest

import isoklx
from isoklx.cli.files import convert
from isoklx.cli.main import main
from isoklx.errors import DatasetError
from isoklx.sweeps import conversion, verification


def test_it_says_what_it_wrote(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    convert(built, Path(tmp_path / "b.nc"))
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/b.nc (0.")
    assert isoklx.open_sweep(tmp_path / "b.nc").identical(isoklx.open_sweep(built))


def test_what_isoklx_did_not_write_is_replaced_by_force_only(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    (tmp_path / "thesis.nc").write_text("a thesis")
    words = ["convert", str(built), str(tmp_path / "thesis.nc")]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("move it, or --force replaces it\n")
    assert (tmp_path / "thesis.nc").read_text() == "a thesis"
    assert main([*words, "--force"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/thesis.nc (0.")


def test_verify_says_what_to_give_it_instead_of_a_folder(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample, "runs")
    assert main(["build", "runs"]) == 0
    capsys.readouterr()
    assert main(["verify", "runs"]) == 2
    hint = capsys.readouterr().err.rpartition("give a built file: isoklx ")[2]
    assert hint == "verify runs.nc --root runs\n"
    assert main(hint.split()) == 0
    assert main(["aggregate", "runs", "--kl_only"]) == 0
    capsys.readouterr()
    assert main(["verify", "figs"]) == 2
    hint = capsys.readouterr().err.rpartition("give a built file: isoklx ")[2]
    assert hint == "verify figs/runs.nc\n"
    assert main(hint.split()) == 0


@pytest.mark.parametrize(
    "take", [verification.verify, lambda path: conversion.convert(path, "a.nc")]
)
def test_a_folder_is_no_built_file(sample, take):
    with pytest.raises(DatasetError, match="sample: is a folder, not a built file; build makes"):
        take(sample)


def test_info_is_one_json_document_where_it_is_asked_for(sample, capsys):
    assert main(["info", str(sample), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 12
