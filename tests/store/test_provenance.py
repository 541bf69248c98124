import re
from pathlib import Path

import isoklx
from isoklx.cells.reading import read_cell
from isoklx.store.provenance import global_attributes


def test_global_attributes_describe_the_file(sample):
    cells = [read_cell(folder) for folder in sample.iterdir()]
    attrs = global_attributes(cells, [Path("runs/first"), Path("second")])
    assert attrs["Conventions"] == "CF-1.11, ACDD-1.3"
    assert all(method in str(attrs["title"]) for method in ("mean_diff", "pca", "simulated-1B"))
    assert attrs["source"] == f"JSON of {len(cells)} runs under first second"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(attrs["date_created"]))
    assert str(attrs["history"]).endswith(f"isoklx {isoklx.__version__}: build first second")
    assert attrs["creation_library_version"] == isoklx.__version__
    assert attrs["schema_version"] == 3
