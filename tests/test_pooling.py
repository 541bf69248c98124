"""What `run` makes a cell of its own is a label, and is pooled as its declaration says.

Two cells that differ in one label alone: no rollout of the first collapses, 8 of 100 of the second.
What pools them says 8 of 200, what tells them apart 0 of 100 and 8 of 100.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import beta

import isoklx
from isoklx import schema
from isoklx.cli.main import main
from isoklx.errors import UsageError
from isoklx.plot.survival import survival as survival_figure
from isoklx.report.page import write_report
from isoklx.report.parts import safe_dose_sentences
from isoklx.stats.deduplication import count_cells
from isoklx.tables import captioned
from isoklx.tables.describe import describe

N, DEAD = 100, 8

MADE_OF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "model": ({"model": "org/one"}, {"model": "org/two"}),
    "method": ({"method": "mean_diff"}, {"method": "pca"}),
    "seed": ({"seed": 0}, {"seed": 1}),
    "window": ({"window": 8}, {"window": 16}),
    "sign": ({"c_star": 2.0}, {"c_star": -2.0}),
    "temperature": (
        {"measured_with": {"temperature": 0.0}},
        {"measured_with": {"temperature": 0.7}},
    ),
}
"""How calib.json of two cells differs that differ in a label alone."""

POOLED = ("model", "method", "seed", "window")
SPLIT = ("sign", "temperature")

every_label = pytest.mark.parametrize("label", MADE_OF)


def write(root: Path, name: str, dead: int, level: float = 0.5, **calib: Any) -> None:
    made = {"c_star": 2.0, "target_kl": 1.0, "window": 8, "method": "mean_diff", "seed": 0}
    made |= {"model": "org/one", "layer": 3, **calib}
    pmass = np.full((2, N, 2), 0.95)
    pmass[1, :dead, 1] = 0.1
    kl = np.full((2, N, made["window"]), 0.01)
    kl[1] = level
    isoklx.write_cell(root / name, made, alphas=[0, 1], kl=kl, forks=[0, 8], pmass_eval=pmass)


def sweep(root: Path, label: str) -> xr.Dataset:
    first, second = MADE_OF[label]
    write(root, "a", 0, 0.5, **first)
    write(root, "b", DEAD, 2.0, **second)
    return isoklx.open_sweep(root)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def apart(label: str) -> bool:
    return schema.COORDINATES[label].split


def test_every_label_that_run_makes_a_cell_of_is_declared():
    # run_id names a cell, model_short a model; `run` has no list of layers yet.
    assert set(schema.CELL_LABELS) - {"run_id", "model_short", "layer"} == set(MADE_OF)
    assert {name for name in MADE_OF if schema.COORDINATES[name].split} == set(SPLIT)
    assert set(POOLED) | set(SPLIT) == set(MADE_OF)
    assert set(schema.SPLIT) == set(SPLIT)


@every_label
def test_the_two_cells_differ_in_that_label_alone(tmp_path, label):
    ds = sweep(tmp_path, label)
    names = [name for name in schema.CELL_LABELS if name not in ("run_id", "model_short")]
    differ = [name for name in names if len({str(v) for v in ds[name].values.tolist()}) > 1]
    assert differ == [label]


def deaths(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Of each group at alpha 1."""
    rows = table[table["alpha"] == 1]
    return sorted(zip(rows["died"].tolist(), rows["n"].tolist(), strict=True))


@every_label
@pytest.mark.parametrize("by", [None, "layer", ["layer", "run_id"]])
def test_survival(tmp_path, label, by):
    ds = sweep(tmp_path, label)
    summary = isoklx.survival_summary(ds, by=by)
    told = apart(label) or (by is not None and "run_id" in by)
    assert deaths(summary) == ([(0, N), (DEAD, N)] if told else [(DEAD, 2 * N)])
    assert (label in summary.columns) == apart(label) * (by is None or "run_id" not in by)
    curves = isoklx.survival(ds, by=by)
    assert (label in curves.dims) == (label in summary.columns)
    table = captioned.survival(ds, by=[by] if isinstance(by, str) else by)
    pd.testing.assert_frame_equal(table.frame, summary)
    assert table.keys == tuple(summary.columns[: summary.columns.get_loc("n")])


@every_label
def test_survival_by_the_label_itself(tmp_path, label):
    summary = isoklx.survival_summary(sweep(tmp_path, label), by=label)
    assert deaths(summary) == [(0, N), (DEAD, N)]
    assert summary.columns.tolist().count(label) == 1


@every_label
def test_dose_response(tmp_path, label):
    found = isoklx.dose_response(sweep(tmp_path, label), by=None).sel(alpha=1)
    alive = np.sort(found["survival"].values.ravel())
    kl = np.sort(found["kl_p95"].values.ravel())
    if apart(label):
        assert found["n"].values.tolist() == [N, N]
        np.testing.assert_allclose(alive, [1 - DEAD / N, 1])
        np.testing.assert_allclose(kl, [0.5, 2])
    else:
        assert found["n"].values.tolist() == 2 * N
        np.testing.assert_allclose(alive, [1 - DEAD / (2 * N)])


@every_label
def test_safe_dose(tmp_path, label):
    ds = sweep(tmp_path, label)
    table = isoklx.safe_dose(ds, by=None)
    if apart(label):
        assert table[label].tolist() == ds[label].values.tolist()
        assert table["safe_dose"].tolist() == [1, 0]
        assert table["reason"].tolist() == ["no larger dose was tested", "8 of 100 died"]
        # Clopper and Pearson, one-sided.
        assert table["next_lower"].iloc[1] == pytest.approx(beta.ppf(0.05, N - DEAD, DEAD + 1))
    else:
        assert len(table) == 1
        assert label not in table


@every_label
def test_contrast_of_doses(tmp_path, label):
    table = isoklx.survival_contrast(sweep(tmp_path, label), by="alpha")
    ends = sorted(table["end_difference"].round(6).tolist())
    assert ends == ([0, DEAD / N] if apart(label) else [DEAD / (2 * N)])
    assert (label in table) == apart(label)


@every_label
def test_contrast_by_the_label_compares_the_two_cells(tmp_path, label):
    table = isoklx.survival_contrast(sweep(tmp_path, label), by=label)
    at_one = table[table["alpha"] == 1]
    assert len(at_one) == 1
    assert abs(at_one["end_difference"].item()) == pytest.approx(DEAD / N)


@every_label
def test_bands(tmp_path, label):
    ds = sweep(tmp_path, label)
    for whole in (ds, ds["kl"]):
        median = isoklx.bands(whole, 0.5, roll=1).sel(alpha=1, token=0)
        expected = [0.5, 2.0] if apart(label) else [1.25]
        np.testing.assert_allclose(np.sort(median.values.ravel()), expected)


@every_label
def test_repeats(tmp_path, label):
    first, second = MADE_OF[label]
    write(tmp_path, "a", 3, **first)
    write(tmp_path, "b", 3, **second)
    ds = isoklx.open_sweep(tmp_path)
    same = label == "seed"  # greedy decoding makes seeds repeat each other
    assert (isoklx.repeats(ds).values != "").any() == same
    assert isoklx.distinct(ds).sizes["cell"] == (1 if same else 2)
    assert count_cells(ds) == (2, 1 if same else 2)


@every_label
def test_headline(tmp_path, label):
    table = isoklx.headline_table(sweep(tmp_path, label))
    # Its rows are of a model, method and window; seeds are what it is over.
    assert len(table) == (1 if label == "seed" else 2)
    assert (label in table) == (label in ("method", "window", *SPLIT))


@every_label
def test_figure1_and_alive(tmp_path, label):
    ds = sweep(tmp_path, label)
    options: dict[str, Any] = {"alphas": 1, "roll": 1}
    if label == "window":
        with pytest.raises(UsageError, match="set window to one of 8, 16"):
            isoklx.plot.figure1(ds, **options)
        return
    lines = isoklx.plot.figure1(ds, kind="spaghetti", **options).data
    data = isoklx.plot.figure1(ds, **options).data
    alive = isoklx.plot.alive(ds, normalize=False, **options).data
    for n in (data["n"], lines["n"], alive["n"]):
        assert n.values.ravel().tolist() == ([N, N] if apart(label) else [2 * N])
    assert sorted(alive["n_died"].values.ravel().tolist()) == (
        [0, DEAD] if apart(label) else [DEAD]
    )
    median = np.sort(data["kl"].sel(quantile=0.5).isel(token=0).values.ravel())
    np.testing.assert_allclose(median, [0.5, 2] if apart(label) else [1.25])


@every_label
def test_figures_of_survival_and_doses(tmp_path, label):
    ds = sweep(tmp_path, label)
    curves = survival_figure(ds).data
    doses = isoklx.plot.dose_response(ds, by=None)
    drawn = doses.data.sel(alpha=1)
    for n in (curves["n"].sel(alpha=1), drawn["n"]):
        assert n.values.ravel().tolist() == ([N, N] if apart(label) else [2 * N])
    safe = drawn["safe_dose"].values.ravel().tolist()
    assert sorted(safe) == ([0, 1] if apart(label) else [1])
    legend = [text.get_text() for text in doses.fig.legends[0].get_texts()]
    named = [text for text in legend if text.startswith(("side", "temperature"))]
    assert len(named) == (2 if apart(label) else 0)


@every_label
def test_the_page(tmp_path, label):
    pytest.importorskip("bokeh", reason="needs the extra report")
    ds = sweep(tmp_path / "runs", label)
    text = write_report(ds, tmp_path / "page.html").read_text()
    verdicts = text.count('"safe to alpha') + text.count(">safe to alpha")
    # The page tells models and methods apart as well; seeds and windows it pools.
    told = label in ("model", "method", *SPLIT)
    assert verdicts == (2 if told else 1)


@every_label
def test_what_a_sweep_holds(tmp_path, label):
    sweep(tmp_path, label)
    rows = describe(tmp_path).splitlines()[3:6]
    assert len([row for row in rows if "org/" in row]) == (1 if label == "seed" else 2)


class TestBothSides:
    """One method, both sides: 0 of 100 dead on +, 8 of 100 on -."""

    @pytest.fixture
    def ds(self, tmp_path: Path) -> xr.Dataset:
        return sweep(tmp_path, "sign")

    def test_each_side_has_its_safe_dose(self, ds):
        table = isoklx.safe_dose(ds)
        assert table[["method", "sign", "safe_dose"]].values.tolist() == [
            ["mean_diff", "+", 1.0],
            ["mean_diff", "-", 0.0],
        ]
        assert table["coeff"].tolist() == ["2", "0"]

    def test_the_sentences_say_the_side(self, ds):
        table = isoklx.safe_dose(ds, by=("sign", "method"))
        said = safe_dose_sentences(table, ("sign", "method"), 0.9, 0.95)
        assert [each["group"] for each in said] == ["mean_diff (+)", "mean_diff (-)"]

    def test_one_side_is_selected(self, ds):
        one = isoklx.select(ds, sign="-")
        assert isoklx.safe_dose(one).columns.tolist()[:2] == ["threshold", "method"]
        with pytest.raises(UsageError, match=r"sign 'x' not found; available: \+, -"):
            isoklx.select(ds, sign="x")

    def test_figures_name_rows_after_the_side(self, ds):
        grid = isoklx.plot.figure1(ds, by="method")
        assert grid.data["group"].values.tolist() == ["mean_diff (+)", "mean_diff (-)"]
        rows = {name["row"] for name in grid.name_dicts.flat}
        assert rows >= {"kl of mean_diff (+)", "kl of mean_diff (-)"}
        again = isoklx.plot.redraw(grid.data)
        assert again.name_dicts.shape == grid.name_dicts.shape
        assert {name["row"] for name in isoklx.plot.alive(ds).name_dicts.flat} == {
            "kl of side +",
            "kl of side -",
        }
        assert "side +, side -" in grid.fig.get_suptitle()

    def test_a_side_may_be_a_colour(self, ds):
        grid = isoklx.plot.figure1(ds, hue="sign")
        assert grid.data["sign"].values.tolist() == ["+", "-"]
        assert not grid.data.attrs["by"]

    def test_survival_has_a_panel_for_each_side_at_each_threshold(self, ds):
        grid = isoklx.plot.survival(ds, by="method", threshold=[0.5, 0.75])
        assert grid.axs.shape == (2, 2)

    @pytest.mark.parametrize(
        "command",
        [
            ["dose", "--json"],
            ["dose", "--by", "method,sign", "--json"],
            ["survival", "--by", "sign", "--alphas", "1", "--json"],
        ],
    )
    def test_commands_tell_sides_apart(self, ds, tmp_path, capsys, command):
        name, *options = command
        assert main([name, str(tmp_path), *options]) == 0
        rows = json.loads(capsys.readouterr().out)
        rows = rows["safe_dose"] if isinstance(rows, dict) else rows
        assert sorted(row["sign"] for row in rows) == ["+", "-"]

    def test_a_command_takes_one_side(self, ds, tmp_path, capsys):
        assert main(["survival", str(tmp_path), "--sign", "-", "--alphas", "1", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["died"], row["n"]) == (DEAD, N)


class TestMethodsOnBothSides:
    """Contrasts of methods hold the side fixed."""

    @pytest.fixture
    def ds(self, tmp_path: Path) -> xr.Dataset:
        for method, fates in (("mean_diff", (0, 8)), ("pca", (4, 20))):
            for sign, dead in zip((1.0, -1.0), fates, strict=True):
                write(tmp_path, f"{method}{sign}", dead, method=method, c_star=2 * sign)
        return isoklx.open_sweep(tmp_path)

    def test_methods_are_compared_side_by_side(self, ds):
        table = isoklx.survival_contrast(ds)
        table = table[table["alpha"] == 1]
        found = dict(zip(table["sign"], table["end_difference"].round(6), strict=True))
        assert found == {"+": 0.04, "-": 0.12}
        assert captioned.contrast(ds).keys == ("threshold", "alpha", "sign", "first", "second")
        for sign, difference in found.items():
            alone = isoklx.survival_contrast(isoklx.select(ds, sign=sign))
            assert alone[alone["alpha"] == 1]["end_difference"].item() == pytest.approx(difference)

    def test_sides_are_compared_when_asked(self, ds):
        table = isoklx.survival_contrast(ds, by="sign")
        table = table[table["alpha"] == 1]
        assert table[["first", "second"]].values.tolist() == [["+", "-"]]
        assert table["end_difference"].item() == pytest.approx((20 + 8 - 4) / 200)

    def test_a_method_on_one_side_is_compared_on_that_side_alone(self, ds):
        some = ds.isel(cell=[name != "pca-1.0" for name in ds.run_id.values.tolist()])
        assert isoklx.survival_contrast(some)["sign"].tolist() == ["+", "+"]


class TestTemperatures:
    """A temperature that is not recorded is a label like another."""

    @pytest.fixture
    def ds(self, tmp_path: Path) -> xr.Dataset:
        fates = {None: 8, 0.0: 0, 0.7: 20}
        for i, (temperature, dead) in enumerate(fates.items()):
            for seed in (0, 1):
                write(
                    tmp_path,
                    f"{i}{seed}",
                    dead,
                    0.5 + seed,
                    seed=seed,
                    measured_with={"temperature": temperature},
                )
        return isoklx.open_sweep(tmp_path)

    @pytest.mark.parametrize(
        "function",
        [
            lambda ds: isoklx.safe_dose(ds)["temperature"],
            lambda ds: isoklx.headline_table(ds)["temperature"],
            lambda ds: isoklx.plot.dose_response(ds).data["temperature"],
            lambda ds: isoklx.bands(ds, 0.5)["temperature"],
        ],
    )
    def test_cells_without_one_are_a_group(self, ds, function: Callable[[xr.Dataset], Any]):
        np.testing.assert_equal(np.asarray(function(ds)), [0.0, 0.7, np.nan])

    def test_each_has_its_own_numbers(self, ds):
        table = isoklx.safe_dose(ds)
        assert table["observed_dose"].tolist() == [1, 0, 0]
        assert table["reason"].str.contains("of 200 died").tolist() == [False, True, True]
        drawn = isoklx.plot.dose_response(ds).data
        np.testing.assert_equal(drawn["safe_dose"].values.ravel(), table["safe_dose"].to_numpy())
        died = isoklx.survival_summary(ds)
        died = died[died["alpha"] == 1]
        assert died["died"].tolist() == [0, 40, 16]
        np.testing.assert_equal(died["temperature"].to_numpy(), [0, 0.7, np.nan])

    def test_figures_have_a_row_for_each(self, ds):
        for kind in ("band", "spaghetti"):
            grid = isoklx.plot.figure1(ds, kind=kind, alphas=1)
            assert {name["row"] for name in grid.name_dicts.flat} >= {
                "kl of temperature 0",
                "kl of temperature 0.7",
                "kl of temperature not recorded",
            }
        data = isoklx.plot.alive(ds, normalize=False, alphas=1).data
        assert data["n_died"].values.ravel().tolist() == [0, 40, 16]

    def test_cells_without_one_are_selected(self, ds):
        assert isoklx.select(ds, temperature=np.nan).sizes["cell"] == 2
        assert isoklx.select(ds, temperature=0).sizes["cell"] == 2

    def test_cells_without_one_repeat_each_other(self, tmp_path):
        write(tmp_path, "a", 3)
        write(tmp_path, "b", 3, seed=1)
        assert isoklx.distinct(isoklx.open_sweep(tmp_path)).sizes["cell"] == 1
