"""Every command on sweeps that lack a part: it works, or says in one line what is missing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import isoklx
from isoklx.cli import main as cli
from isoklx.simulation.sweep import grid, simulate
from isoklx.sweeps.build import convert

Change = Callable[[Path], object]

SMALL: dict[str, Any] = {
    "methods": ("pca", "mean_diff"),
    "seeds": (0,),
    "windows": (12,),
    "prompts": 4,
    "questions": 2,
    "alphas": (0.0, 1.0, 2.0),
    "texts": True,
}
RECORDED_OF_PROMPTS = ("pmass_eval", "gen_lens_eval", "repetition_eval")


def simulated(**fields: Any) -> Change:
    return lambda root: simulate(root, grid(**{**SMALL, **fields}))


def then(*steps: Change) -> Change:
    def make(root: Path) -> None:
        for step in steps:
            step(root)

    return make


def without_file(*names: str) -> Change:
    def remove(root: Path) -> None:
        for name in names:
            for file in root.glob(f"*/{name}"):
                file.unlink()

    return remove


def without_key(*keys: str) -> Change:
    def remove(root: Path) -> None:
        for file in root.glob("*/pmass.json"):
            kept = json.loads(file.read_text())
            file.write_text(json.dumps({key: kept[key] for key in kept if key not in keys}))

    return remove


def without_values(root: Path) -> None:
    for file in root.glob("*/pmass.json"):
        content = json.loads(file.read_text())
        for key in ("pmass_eval", "pmass", "p_true"):
            for rows in content[key].values():
                rows[:] = [[None] * len(row) for row in rows]
        file.write_text(json.dumps(content))


SWEEPS: dict[str, Change] = {
    "whole": simulated(),
    "KL alone": then(simulated(), without_file("pmass.json")),
    "pmass not computed": simulated(lacks="pmass"),
    "no KL": simulated(lacks="kl"),
    "no trajectory": then(simulated(), without_file("trajectory.json")),
    "no pmass_eval": then(simulated(), without_key(*RECORDED_OF_PROMPTS)),
    "no questions": simulated(questions=0),
    "no pmass of questions": then(simulated(), without_key("pmass", "gen_lens_qa")),
    "questions alone": then(
        simulated(), without_file("trajectory.json"), without_key(*RECORDED_OF_PROMPTS)
    ),
    "no p_true": then(simulated(), without_key("p_true")),
    "no lengths": then(simulated(), without_key("gen_lens_eval", "gen_lens_qa")),
    "no repetition": then(simulated(), without_key("repetition_eval")),
    "no value of pmass": then(simulated(), without_values),
    "no history": then(simulated(), without_file("history.json")),
    "no results": then(simulated(), without_file("results.csv")),
    "no texts": simulated(texts=False),
    "calibrated only": simulated(lacks="sweep"),
    "no doses": simulated(alphas=()),
    "one dose": simulated(alphas=(1.0,)),
    "alpha 0 only": simulated(alphas=(0.0,)),
    "no alpha 0": simulated(alphas=(1.0, 2.0)),
    "negative doses": simulated(alphas=(-2.0, -1.0)),
    "one prompt": simulated(prompts=1),
    "one cell": simulated(methods=("pca",)),
    "one token": simulated(windows=(1,)),
    "one fork": simulated(forks=(0,)),
    "no forks": simulated(forks=()),
    "forks from 3": simulated(forks=(3, 6)),
    "some swept": then(simulated(methods=("pca",)), simulated(methods=("pca_2",), lacks="sweep")),
    "some with KL": then(
        simulated(methods=("pca",), lacks="kl"), simulated(methods=("pca_2",), lacks="pmass")
    ),
    "no dose in common": then(
        simulated(methods=("pca",), alphas=(0.0, 1.0)), simulated(methods=("pca_2",), alphas=(2.0,))
    ),
}

OF_KL = "--metric kl --threshold 1.5"

NUMBERS = (
    "info FILE",
    "table FILE --json",
    "calibration FILE",
    "survival FILE",
    "survival FILE --metric pmass --interval greenwood --ended alive --by method",
    f"survival FILE {OF_KL}",
    "contrast FILE",
    "contrast FILE --metric pmass --by alpha",
    f"contrast FILE {OF_KL}",
    "dose FILE",
    "dose FILE --metric pmass",
    f"dose FILE {OF_KL}",
    "compare FILE WHOLE",
    f"compare WHOLE FILE {OF_KL}",
)

STORED = ("verify FILE", "convert FILE copy.nc", "convert FILE copy.zarr")

FIGURES = (
    "figure FILE --out f/ --format svg",
    "figure FILE --out f/ --format svg --kind spaghetti --by method --color_by_pmass",
    "figure FILE --out f/ --format svg --kind fan --pmass pmass_eval --hue method",
    "figure FILE --out f/ --format svg --kl_only",
    "alive FILE --out f/ --format svg",
    "alive FILE --out f/ --format svg --nonormalize",
    "survival FILE --out f/ --format svg",
    f"survival FILE --out f/ --format svg --width column {OF_KL}",
    "dose FILE --out f/ --format svg",
    f"dose FILE --out f/ --format svg {OF_KL}",
    "calibration FILE --out f/ --format svg",
    "report FILE --out r.html --against WHOLE",
)

ROOTS = (
    "build FILE --out b.nc --dtype float64",
    "watch FILE --once --out w.html",
    "aggregate FILE --out all --format svg --report",
    "verify BUILT --root FILE",
)


SOME = (
    "KL alone",
    "no KL",
    "no pmass_eval",
    "no questions",
    "calibrated only",
    "one prompt",
    "no dose in common",
)
"""Sweeps for which the quick tests, and the slowest ones, are enough."""

REST = [sweep for sweep in SWEEPS if sweep not in SOME]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Path]]:
    """Make a sweep as a runs root, as netCDF and as Zarr; each once."""
    folder = tmp_path_factory.mktemp("matrix")
    made: dict[str, dict[str, Path]] = {}

    def source(name: str) -> dict[str, Path]:
        if name not in made:
            root = folder / name.replace(" ", "_")
            SWEEPS[name](root)
            made[name] = {"root": root, "nc": isoklx.build(root, texts=True).out}
        return made[name]

    return source


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # A warning reaches the user as a line, and here the check below.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def check(line: str, capsys: pytest.CaptureFixture[str], **places: Path) -> None:
    """Run a command: it works and says nothing on standard error, or says one line there."""
    words = [str(places.get(word, word)) for word in line.split()]
    status = cli.main(words)
    out, err = capsys.readouterr()
    said = f"{line}: exit status {status}: {err}"
    assert "bug in isoklx" not in err, said
    assert "Traceback" not in err, said
    if status == 0:
        assert err == "", said
        assert out != "", said
    else:
        assert status in (1, 2), said
        assert len(err.splitlines()) == 1, said


@pytest.mark.parametrize("sweep", [*SOME, *(pytest.param(s, marks=pytest.mark.slow) for s in REST)])
def test_every_table_works_or_says_what_is_missing(sources, sweep, capsys):
    file = sources(sweep)["nc"]
    for line in NUMBERS:
        check(line, capsys, FILE=file, WHOLE=sources("whole")["nc"])
    check("verify FILE", capsys, FILE=file)


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SOME)
def test_every_format_works_or_says_what_is_missing(sources, sweep, capsys, tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    files = sources(sweep)
    zarr = convert(files["nc"], tmp_path / "sweep.zarr")
    for file in (files["root"], zarr):
        for line in (*NUMBERS, *STORED):
            check(line, capsys, FILE=file, WHOLE=sources("whole")["root"])


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [*SOME, "alpha 0 only"])
def test_every_figure_and_page_works_or_says_what_is_missing(sources, sweep, capsys):
    pytest.importorskip("bokeh", reason="needs the extra report")
    files = sources(sweep)
    places = {"BUILT": files["nc"], "WHOLE": sources("whole")["root"]}
    for line in (*FIGURES, *ROOTS):
        check(line, capsys, FILE=files["root"], **places)


def test_dose_response_by_kl_needs_no_pmass(sources, capsys):
    file = sources("KL alone")["nc"]
    check(f"dose FILE --out f/ --format svg {OF_KL}", capsys, FILE=file)
    with isoklx.open_sweep(file) as ds:
        response = isoklx.dose_response(ds, metric="kl", threshold=1.5)
    assert response["pmass_end"].isnull().all()
    # The unsteered model has a KL of 0, and is alive.
    assert (response["survival"].sel(alpha=0) == 1).all()
