"""Every command gives the same result for a netCDF file, a Zarr store and a runs root."""

import re

import pytest

import isoklx
from isoklx.cli import main as cli
from tests.conftest import PROJECT

pytest.importorskip("zarr", reason="needs the extra zarr")

LINES = {
    "info": ["info", "{}"],
    "table": ["table", "{}", "--json"],
    "survival": ["survival", "{}", "--by", "method", "--json"],
    "calibration": ["calibration", "{}", "--json"],
    "figure": ["figure", "{}", "--out", "figs", "--by", "method"],
    "alive": ["alive", "{}", "--out", "figs", "--alphas", "1"],
    "verify": ["verify", "{}", "--root", str(PROJECT / "data" / "sample")],
    "convert": ["convert", "{}", "copy.nc"],
}


@pytest.fixture(scope="module")
def built(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    return {
        "root": sample,
        **{name: isoklx.build(sample, folder / f"sample.{name}").out for name in ("nc", "zarr")},
    }


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_does_the_same_on_every_format(built, line, tmp_path, monkeypatch, capsys):
    said, files = {}, {}
    for name, path in built.items():
        if name == "root" and line[0] in ("verify", "convert"):
            continue
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert cli.main([word.format(path) for word in line]) == 0, capsys.readouterr().err
        out = re.sub(r"(?m)^(file|history) .*(\n .*)*", "", capsys.readouterr().out)
        said[name] = out.replace(str(path), "FILE")
        files[name] = {
            each.relative_to(folder): each.read_bytes() if each.suffix == ".png" else b""
            for each in folder.rglob("*")
            if each.is_file()
        }
    assert len(set(said.values())) == 1, said
    assert all(each == files["nc"] for each in files.values())
