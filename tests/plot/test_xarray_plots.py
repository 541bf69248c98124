"""xarray's own plots of a sweep, which take their words from the labels' attributes."""

from __future__ import annotations

import xarray as xr


def test_axes_are_labelled_without_units_of_one(sample_ds: xr.Dataset) -> None:
    (line, *_) = sample_ds.kl.sel(alpha=1.0).isel(cell=0, prompt=0).plot()
    assert line.axes.get_xlabel() == "generated token"
    mesh = sample_ds.pmass_eval.isel(cell=0, prompt=0).plot()
    assert "[1]" not in mesh.axes.get_xlabel() + mesh.axes.get_ylabel()


def test_panels_are_named_after_the_runs(sample_ds: xr.Dataset) -> None:
    kl = sample_ds.kl.sel(alpha=1.0).mean("prompt")
    grid = kl.plot.line(x="token", col="run_id", col_wrap=4)
    grid.set_titles("{value}", maxchar=60)
    assert [ax.get_title() for ax in grid.axs.flat] == sample_ds.run_id.values.tolist()
