"""Content of the page, without a browser."""

import base64
import json
import re
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest

import isoklx
from isoklx.errors import UsageError
from isoklx.report import figures as page_figures
from isoklx.report import page as pages
from isoklx.report import write_report
from isoklx.report.parts import safe_dose_sentences
from isoklx.report.rollouts import pack_rollouts
from isoklx.simulation.sweep import grid, simulate
from isoklx.sweeps.build import convert
from tests.small_sweeps import small_sweep

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def without_dates(path):
    return DATE.sub("DATE", path.read_text())


def data_of(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    return json.loads(found[1])


def unpacked(rollouts, cell, alpha):
    """Read a pack with a plain loop."""
    start, length = rollouts.index["places"][f"{cell} {alpha}"]
    content = zlib.decompress(base64.b64decode(rollouts.packed[start : start + length]))
    head = int.from_bytes(content[:4], "little")
    rows, at = json.loads(content[4 : 4 + head]), 4 + head
    for row in rows:
        for name, dtype, count in (
            ("kl", "u1", row["n"]),
            ("line", "<u2", row["columns"]),
            ("chars", "<u2", row["n"] if row.get("divided") else 0),
        ):
            row[name] = np.frombuffer(content, dtype, count, at)
            at += row[name].nbytes
    assert at == len(content)
    return rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_is_the_same_from_netcdf_zarr_and_a_runs_root(sample, tmp_path):
    file = isoklx.build(sample, tmp_path / "sample.nc", texts=True).out
    made = []
    for source in (file, convert(file, tmp_path / "sample.zarr"), sample):
        with isoklx.open_sweep(source, texts=True) as ds:
            made.append(without_dates(write_report(ds, tmp_path / f"{len(made)}.html")))
    assert made[0] == made[1] == made[2]


@pytest.mark.slow
def test_the_page_is_reproducible(sample, tmp_path):
    with isoklx.open_sweep(sample, texts=True) as ds:
        first = write_report(ds, tmp_path / "a.html").read_text()
        assert write_report(ds, tmp_path / "b.html").read_text() == first


def test_figures_show_the_numbers_of_the_statistics(sample_page, sample_ds):
    figures = data_of(sample_page)["figures"]
    by = ["model_short", "method"]
    doses = isoklx.dose_response(sample_ds, by).isel(threshold=0)
    points = [each for each in figures["dose"][0][0]["series"] if each["kind"] == "points"]
    assert len(points) == 6
    for each in points:
        model, method = each["name"].split(", ")
        expected = doses["survival"].sel({"model_short": model, "method": method}).values
        np.testing.assert_allclose(each["y"], expected, rtol=1e-3)
    curves = isoklx.survival(sample_ds, by=by).isel(threshold=0)
    for column in figures["survival"]:
        lines = [each for each in column[0]["series"] if each["kind"] == "line"]
        expected = curves["survival"].sel(alpha=column[0]["alpha"])
        ends = sorted(each["y"][-1] for each in lines)
        np.testing.assert_allclose(ends, np.sort(expected.isel(fork=-1).values.ravel()), rtol=1e-3)


def test_a_survival_curve_ends_with_its_last_rollout_at_risk():
    whole, short = [[0.9, 0.9, 0.9]] * 2, [[0.9, 0.9, np.nan]] * 2
    lengths = [[[48, 48]], [[20, 20]]]
    ds = small_sweep(
        [[whole], [short]], fork=[0, 16, 48], gen_len=lengths, method=["mean_diff", "pca"]
    )
    curves = isoklx.survival(ds, by=["method"])
    (panel,) = page_figures.survival(curves, page_figures.groups_of(curves, ["method"]), ["method"])
    ends = [each["x"][-1] for each in panel["series"] if each["kind"] == "line"]
    assert ends == [48, 16]
    assert all(None not in each["y"] for each in panel["series"] if "y" in each)


def test_every_figure_of_groups_shows_the_number_of_distinct_rollouts(sample_page):
    figures = data_of(sample_page)["figures"]
    for name in ("figure1", "survival"):
        titles = {column[0]["title"].partition(", ")[2] for column in figures[name]}
        assert titles == {"n = 80 of 96"}
    legends = re.findall(r'aria-label="Groups">(.*?)</ul>', sample_page.read_text(), re.DOTALL)
    assert len(legends) == 2  # dose response and survival
    for legend in legends:
        sizes = re.findall(r'<bdi>(.*?)</bdi><span class="count">(.*?)</span>', legend)
        assert dict(sizes) == {
            f"{model}, {method}": "n = 8 of 16" if method == "pca" else "n = 16"
            for model in ("simulated-1B", "simulated-8B")
            for method in ("directional_ablation", "mean_diff", "pca")
        }


def test_methods_have_different_markers_in_the_calibration_figures(sample_page):
    for (figure,) in data_of(sample_page)["figures"]["calibration"]:
        points = [each for each in figure["series"] if each["kind"] == "points"]
        marks = {(each["colour"][0], each["marker"]) for each in points}
        assert {mark for _, mark in marks} == {"circle", "square", "diamond"}
        assert len(marks) == 3


@pytest.fixture
def texts(sample):
    with isoklx.open_sweep(sample, texts=True) as ds:
        yield ds.load()


def test_a_pack_holds_every_rollout_of_its_cell_and_dose(texts):
    rollouts = pack_rollouts(texts)
    assert (rollouts.n, rollouts.n_held, rollouts.texts) == (480, 480, True)
    least, ratio = rollouts.index["least"], rollouts.index["ratio"]
    for cell, alpha in ((0, 0), (5, 3), (11, 5)):
        for prompt, row in enumerate(unpacked(rollouts, cell, alpha)):
            one = texts.isel(cell=cell, alpha=alpha, prompt=prompt)
            n = int(one["gen_len"])
            assert row["text"] == one["gen_text"].item()
            assert row["chars"].tolist() == one["token_chars"].values[:n].tolist()
            shown = least * ratio ** (row["kl"].astype(float) - 1)
            expected = np.clip(one["kl"].values[:n], least, None)
            np.testing.assert_allclose(shown, expected, rtol=0.03)


def test_a_duplicate_is_stored_once(texts):
    places = pack_rollouts(texts).index["places"]
    names = texts["run_id"].values.tolist()
    first, again = (names.index(f"simulated-1B_pca_s{seed}_w64") for seed in (0, 1))
    assert places[f"{first} 3"] == places[f"{again} 3"]
    assert len({tuple(place) for place in places.values()}) == 60


def test_beyond_the_budget_every_cell_keeps_the_same_prompts(texts):
    whole = pack_rollouts(texts)
    part = pack_rollouts(texts, budget=len(whole.packed) // 2)
    assert len(part.packed) <= len(whole.packed) // 2
    assert 1 <= len(part.index["prompts"]) < 8
    assert part.n_held == 60 * len(part.index["prompts"])
    rows = unpacked(part, 3, 2)
    assert [row["text"] for row in rows] == [
        texts["gen_text"].isel(cell=3, alpha=2, prompt=prompt).item()
        for prompt in part.index["prompts"]
    ]


def test_packing_reads_lazy_arrays_cell_by_cell(sample, tmp_path):
    file = isoklx.build(sample, tmp_path / "sample.nc", texts=True).out
    with isoklx.open_sweep(file, chunks={}) as ds, isoklx.open_sweep(file) as held:
        assert pack_rollouts(ds).packed == pack_rollouts(held.load()).packed


@pytest.mark.parametrize("lacks", ["sweep", "kl", "pmass"])
def test_missing_data_is_listed_on_the_page(tmp_path, lacks):
    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], prompts=2, lacks=lacks))
    with isoklx.open_sweep(tmp_path / "runs", texts=True) as ds:
        text = write_report(ds, tmp_path / "page.html").read_text()
    assert "Missing sections" in text
    assert ('<h2 id="h-read">' in text) == (lacks != "sweep")


def test_a_method_without_results_is_not_compared(tmp_path):
    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], prompts=2))
    simulate(tmp_path / "runs", grid(methods=["mean_diff"], seeds=[0], lacks="sweep"))
    with isoklx.open_sweep(tmp_path / "runs", texts=True) as ds:
        text = write_report(ds, tmp_path / "page.html").read_text()
    assert "table of differences between methods: no two groups to compare" in text


def test_a_selection_has_a_page(texts, tmp_path):
    part = isoklx.select(texts, method="pca", seed=0, alpha=[1.0, 2.0])
    data = data_of(write_report(part, tmp_path / "part.html"))
    assert data["rollouts"]["alphas"] == [1.0, 2.0]
    write_report(texts.isel(cell=0), tmp_path / "one.html")


def test_skipped_cells_are_named(tmp_path, sample):
    simulate(tmp_path / "runs", grid(methods=["pca"], seeds=[0], prompts=2))
    (tmp_path / "runs" / "bro<ken>").mkdir()
    (tmp_path / "runs" / "bro<ken>" / "calib.json").write_text("{")
    file = isoklx.build(tmp_path / "runs").out
    with isoklx.open_sweep(file) as ds:
        text = write_report(ds, tmp_path / "page.html").read_text()
    assert "bro&lt;ken&gt;/calib.json: not JSON, or half written" in text


@pytest.mark.parametrize(
    ("survive", "verdict", "says"),
    [
        (0.6, "safe to alpha", "with 95% confidence at least"),
        (
            0.9,
            "no dose shown safe",
            "too few prompts: 8, some ended early, give 0.65; 34 such would do.",
        ),
    ],
)
def test_each_group_has_a_sentence_on_its_safe_dose(sample_ds, survive, verdict, says):
    table = isoklx.safe_dose(sample_ds, "method", survive)
    sentences = safe_dose_sentences(table, ["method"], survive, 0.95)
    assert [each["group"] for each in sentences] == table["method"].tolist()
    assert all(each["sentence"].endswith(".") for each in sentences)
    assert sentences[-1]["verdict"].startswith(verdict)
    assert says in sentences[-1]["sentence"]


def test_negative_doses_have_a_sentence_of_their_own():
    down = {"toward": "-", "safe_dose": -1.0, "lower": 0.93, "coeff": "-2", "next_dose": -2.0}
    down |= {"reason": "9 of 40 died", "observed_dose": -2.0, "observed_coeff": "-4"}
    (said,) = safe_dose_sentences(pd.DataFrame([down | {"method": "pca"}]), ["method"], 0.9, 0.95)
    assert said["group"] == "pca, negative doses"
    assert said["verdict"] == "safe to alpha -1"
    assert "Doses down to alpha -1 (coefficient -2) are safe" in said["sentence"]
    assert said["sentence"].endswith("No rollout died down to alpha -2 (coefficient -4).")


def test_a_missing_extra_is_one_line(monkeypatch, sample_ds, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs jinja2: pip install 'isoklx\[report\]'"):
        write_report(sample_ds, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "isoklx", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_the_page_to_out(sample, tmp_path):
    done = run("report", sample, "--out", tmp_path / "new" / "page.html", "--alphas", "1,2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wrote {tmp_path}/new/page.html\n"
    assert data_of(tmp_path / "new" / "page.html")["rollouts"]["alphas"] == [1.0, 2.0]
    wrong = run("report", sample, "--out", tmp_path / "page.pdf")
    assert wrong.returncode == 2
    assert "file name ending in .html" in wrong.stderr


@pytest.mark.slow
def test_aggregate_writes_the_page_too(sample, tmp_path):
    done = run("aggregate", sample, "--out", tmp_path / "figs", "--report")
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path}/figs/report.html" in done.stdout
    with isoklx.open_sweep(sample, texts=True) as ds:
        alone = write_report(ds, tmp_path / "alone.html")
    assert without_dates(alone) == without_dates(tmp_path / "figs" / "report.html")


def test_a_failed_write_keeps_the_old_page(sample_ds, tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("before")
    monkeypatch.setattr(pages, "_render", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(sample_ds, tmp_path / "page.html")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "before"


def test_the_dose_axis_equals_that_of_the_paper_figure(sample, tmp_path):
    with isoklx.open_sweep(sample) as ds:
        page = write_report(ds, tmp_path / "page.html")
        doses = ds["alpha"].values
    for (panel,) in data_of(page)["figures"]["dose"]:
        ticks = {text: at for at, text in panel["x"]["ticks"]}
        assert ticks == pytest.approx({f"{dose:g}": np.arcsinh(4 * dose) for dose in doses})
        for series in panel["series"]:
            if series["kind"] == "points" and series["marker"] != "inverted_triangle":
                near = np.abs(np.subtract.outer(series["x"], np.arcsinh(4 * doses))).min(axis=1)
                assert near.max() < 0.25 * np.diff(np.arcsinh(4 * doses)).min()


def test_the_kl_axis_is_logarithmic_and_marks_values_below_it(sample, tmp_path):
    with isoklx.open_sweep(sample) as ds:
        page = write_report(ds, tmp_path / "page.html")
    (kl,) = (each for (each,) in data_of(page)["figures"]["dose"] if "p95" in each["y"]["label"])
    assert kl["y"]["log"]
    assert kl["y"]["lo"] >= 1e-4
    assert {"kind": "rule", "y": 1.0} in kl["series"]
    below = [each for each in kl["series"] if each.get("marker") == "inverted_triangle"]
    assert len(below) == 6
    assert all(x == pytest.approx(0, abs=0.2) for each in below for x in each["x"])
    assert "below 0.0001 nats" in kl["title"]


def test_the_page_draws_some_of_many_doses_and_says_so(tmp_path):
    alphas = tuple(round(0.1 * i, 1) for i in range(41))
    simulate(tmp_path / "runs", grid(["m"], ["pca"], [0], [8], prompts=2, alphas=alphas))
    with isoklx.open_sweep(tmp_path / "runs") as ds:
        page = write_report(ds, tmp_path / "page.html")
    drawn = data_of(page)["figures"]
    shown = [stack[0]["alpha"] for stack in drawn["figure1"]]
    assert shown == [stack[0]["alpha"] for stack in drawn["survival"]]
    assert {0, 1, 4} <= set(shown)
    assert len(shown) <= 12
    assert page.read_text().count(f"{len(shown)} of 41 doses are drawn") == 2
