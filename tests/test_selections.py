"""A selection, saved by xarray and opened again, works like the selection in memory."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import xarray as xr

import isoklx
from isoklx.cli import main as cli
from isoklx.errors import DatasetError, IsoklxError
from isoklx.sweeps.verification import verify

RUN_ID = "simulated-1B_pca_s0_w64"

SELECTIONS = {
    "chunks": lambda ds: ds.chunk(cell=5),
    "selected": lambda ds: isoklx.select(ds, method="pca"),
    "joined": lambda ds: xr.concat(
        [ds.isel(cell=slice(0, 3)), ds.isel(cell=slice(6, 9))],
        "cell",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
    ),
    "one cell": lambda ds: ds.sel(run_id=RUN_ID),
    "one dose": lambda ds: ds.sel(alpha=1.0),
    "one prompt": lambda ds: ds.isel(prompt=3),
    "one trajectory": lambda ds: ds.sel(run_id=RUN_ID, alpha=2.0, prompt=0),
    "a slice": lambda ds: ds.isel(
        cell=slice(2, 7), alpha=slice(1, 4), token=slice(0, 40), fork=slice(0, 9)
    ),
    "a query": lambda ds: ds.query(cell="method == 'pca' and seed == 0"),
    "other order": lambda ds: ds.transpose("token", "prompt", "alpha", "cell", ...),
    "without pmass": lambda ds: ds.drop_vars("pmass"),
    "KL alone": lambda ds: ds[["kl", "gen_len", "target_kl", "has_kl"]],
    "less": lambda ds: ds[["c_star"]],
    "own label": lambda ds: ds.assign_coords(
        family=("cell", ["old", "new"] * 6), strength=("cell", [0.5] * 12)
    ).isel(cell=5),
}

FUNCTIONS = {
    "bands": lambda ds: isoklx.bands(ds, roll=9),
    "crossed": isoklx.crossed,
    "normalise_kl": isoklx.normalise_kl,
    "pmass_on_tokens": isoklx.pmass_on_tokens,
    "survival": isoklx.survival,
    "survival_summary": lambda ds: isoklx.survival_summary(ds, by="method"),
    "survival_contrast": lambda ds: isoklx.survival_contrast(ds, by="alpha"),
    "dose_response": isoklx.dose_response,
    "safe_dose": isoklx.safe_dose,
    "share_above": isoklx.share_above,
    "repeats": isoklx.repeats,
    "headline_table": isoklx.headline_table,
    "calibration_table": isoklx.calibration_table,
    "figure1": isoklx.plot.figure1,
    "alive": isoklx.plot.alive,
    "survival figure": isoklx.plot.survival,
    "calibration figure": isoklx.plot.calibration,
}


@pytest.fixture(scope="module", params=["nc", "zarr", "root"])
def whole(request, sample, tmp_path_factory):
    if request.param == "root":
        return isoklx.open_sweep(sample)
    if request.param == "zarr":
        pytest.importorskip("zarr", reason="needs the extra zarr")
    out = tmp_path_factory.mktemp("whole") / f"sample.{request.param}"
    return isoklx.open_sweep(isoklx.build(sample, out).out)


def save(ds, folder, suffix):
    path = folder / f"one.{suffix[:4]}"
    if suffix == "nc":
        ds.to_netcdf(path)
    else:
        pytest.importorskip("zarr", reason="needs the extra zarr")
        ds.to_zarr(path, zarr_format=int(suffix.removeprefix("zarr") or 2))
    return path


def said(function, ds):
    """What a function gives, in a form that can be compared; or what it says is missing."""
    mpl.use("agg")
    try:
        result = function(ds)
    except IsoklxError as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(result, xr.plot.FacetGrid):
        result = (result.fig.get_suptitle(), [ax.get_title() for ax in result.axs.flat])
    elif isinstance(result, plt.Figure):
        result = (result.get_suptitle(), [ax.get_title(loc="left") for ax in result.axes])
    plt.close("all")
    return result


def compare(found, expected):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, xr.Dataset | xr.DataArray):
        # Sums over other chunks may differ in the last bit.
        xr.testing.assert_allclose(found, expected, rtol=1e-12)
    else:
        assert found == expected


@pytest.mark.filterwarnings("ignore:.*Zarr (V3|format 3) specification")
@pytest.mark.parametrize("suffix", ["nc", "zarr2", "zarr3"])
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_a_saved_selection_opens_as_it_was(whole, selection, suffix, tmp_path):
    chosen = selection(whole)
    with isoklx.open_sweep(save(chosen.copy(), tmp_path, suffix)) as opened:
        xr.testing.assert_equal(opened, chosen)
        assert set(opened.coords) == set(chosen.coords)
        assert ("run_id" in opened.xindexes) == ("cell" in chosen.dims)


@pytest.mark.slow
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_every_function_works_on_a_saved_selection_as_in_memory(sample_ds, selection, tmp_path):
    chosen = selection(sample_ds)
    with isoklx.open_sweep(save(chosen, tmp_path, "nc")) as opened:
        for function in FUNCTIONS.values():
            compare(said(function, opened), said(function, chosen))


COMMANDS = (
    *("info", "table", "figure", "alive", "survival", "contrast", "dose", "calibration"),
    *("verify", "convert"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "suffix"),
    [*zip(SELECTIONS.values(), ["nc", "zarr"] * len(SELECTIONS), strict=False)],
    ids=SELECTIONS,
)
def test_no_command_fails_on_a_saved_selection_without_saying_why(
    sample_ds, selection, suffix, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save(selection(sample_ds), tmp_path, suffix)
    for command in COMMANDS:
        words = [command, f"one.{suffix}", *(["two.nc"] if command == "convert" else [])]
        status = cli.main(words)
        err = capsys.readouterr().err
        assert "bug" not in err, words
        assert (status == 0) == (err == ""), words
        assert err.count("\n") <= 1, words


def test_verify_names_what_a_selection_lacks(sample_ds, tmp_path):
    one = sample_ds.sel(run_id=RUN_ID).drop_vars("layer")
    findings = verify(save(one, tmp_path, "nc"))
    assert "layer is missing" in findings
    assert "kl must have dimensions (" in "".join(findings)


MISFITS = {
    "averaged": (lambda ds: ds.mean("prompt"), "(kl|pmass_eval) has no dimension prompt"),
    "stacked": (
        lambda ds: ds.stack(sample=["cell", "prompt"]),
        "(kl|run_id) has the dimension sample",
    ),
    "renamed": (
        lambda ds: ds.rename(alpha="dose"),
        "it has no alpha|(kl|pmass_eval) has the dimension dose",
    ),
    "dropped": (lambda ds: ds.drop_vars("kl"), "it has no kl"),
}


@pytest.mark.parametrize(("spoil", "lacks"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("name", ["figure1", "alive", "repeats", "calibration_table"])
def test_what_fits_no_sweep_is_told_what_it_lacks(sample_ds, spoil, lacks, name):
    with pytest.raises(DatasetError, match=f"^not an isoklx sweep: ({lacks})"):
        FUNCTIONS[name](spoil(sample_ds))


def test_a_function_asks_for_no_more_than_it_needs(sample_ds):
    grid = isoklx.plot.figure1(sample_ds.drop_vars("pmass"))
    words = [each.get_text() for each in grid.figlegend.get_texts()]
    assert "answers at the 8 prompts" in words
    bare = sample_ds.drop_vars(["pmass", "pmass_eval", "fork", "layer", "p_true", "c_star"])
    assert isoklx.plot.figure1(bare).axs.shape[0] == 1
    assert len(isoklx.headline_table(sample_ds.mean("prompt"))) == 6
    assert isoklx.survival(sample_ds.drop_vars(["layer", "seed"])).sizes["alpha"] == 6
    assert isoklx.bands(bare).sizes["alpha"] == 6
    steps = [name for name in sample_ds if name.startswith("calib_")]
    assert len(isoklx.headline_table(sample_ds.drop_vars(steps))) == 6
    table = isoklx.calibration_table(sample_ds.drop_vars(["pmass", "pmass_eval"]))
    assert table.pmass_eval_alpha0.isna().all()
    plt.close("all")
