from pathlib import Path

import isoklx
from isoklx.cli.files import convert


def test_it_says_what_it_wrote(sample, tmp_path, capsys):
    built = isoklx.build(sample, tmp_path / "a.nc").out
    convert(built, Path(tmp_path / "b.nc"))
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/b.nc (0.")
    assert isoklx.open_sweep(tmp_path / "b.nc").identical(isoklx.open_sweep(built))
