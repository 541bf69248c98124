from pathlib import Path

import pytest

import isoklx
from isoklx.cli.convert import convert
from isoklx.errors import UsageError


def test_it_says_what_it_wrote(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    convert(built, Path(tmp_path / "b.nc"))
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/b.nc (0.")
    assert isoklx.open_sweep(tmp_path / "b.nc").identical(isoklx.open_sweep(built))


def test_what_isoklx_did_not_write_is_replaced_by_force_only(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    (tmp_path / "thesis.nc").write_text("a thesis")
    with pytest.raises(UsageError, match="--force replaces it"):
        convert(built, tmp_path / "thesis.nc")
    assert (tmp_path / "thesis.nc").read_text() == "a thesis"
    convert(built, tmp_path / "thesis.nc", force=True)
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/thesis.nc (0.")
