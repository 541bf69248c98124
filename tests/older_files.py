"""Files as the first version of the schema had them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import netCDF4

LABELS = ("alpha", "prompt", "token", "fork", "question", "iteration", "seed", "layer", "window")
"""What had units then."""

NEW = ("target_stat", "measured_with", "repetition", "unpaired", "calib_newer")
"""What version 2 brought."""


def netcdf_of_version_1(built: Path, out: Path) -> Path:
    """Copy a built file without what version 2 brought; that must say nothing there."""
    with netCDF4.Dataset(built) as source, netCDF4.Dataset(out, "w") as target:
        _copy(source, target)
        target.schema_version = 1
        for name in LABELS:
            target[name].units = "1"
        _copy(source["build"], target.createGroup("build"))
        entries = target["build/manifest"]
        for index, line in enumerate(entries[:]):
            entry = json.loads(line)
            entry["shapes"] = {k: v for k, v in entry["shapes"].items() if k not in NEW}
            entries[index] = json.dumps(entry)
    return out


def _copy(source: netCDF4.Dataset, target: netCDF4.Dataset) -> None:
    source.set_auto_maskandscale(False)
    target.setncatts({name: source.getncattr(name) for name in source.ncattrs()})
    for name, dimension in source.dimensions.items():
        target.createDimension(name, len(dimension))
    for name, old in source.variables.items():
        if name in NEW:
            continue
        attributes = {key: old.getncattr(key) for key in old.ncattrs()}
        fill = attributes.pop("_FillValue", None)
        dtype = "int32" if name == "seed" else old.dtype
        new = target.createVariable(name, dtype, old.dimensions, fill_value=fill)
        new.set_auto_maskandscale(False)
        new.setncatts(attributes)
        new[:] = old[:]


def zarr_of_version_1(built: Path) -> Path:
    """Take from a Zarr store what version 2 brought."""
    for name in NEW:
        shutil.rmtree(built / name)
    (built / ".zmetadata").unlink(missing_ok=True)
    attributes = json.loads((built / ".zattrs").read_text())
    (built / ".zattrs").write_text(json.dumps({**attributes, "schema_version": 1}))
    return built
