"""Cells that are complete are recognised by their files alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx import run
from isoklx.engine.completed import LARGE, requested
from isoklx.engine.plans import CellPlan
from isoklx.engine.settings import Settings
from isoklx.system.locks import claimed
from tests.conftest import PROJECT
from tests.engine.small_runs import contents, small, words
from tests.models.tiny_model import TINY

METHODS = ("mean_diff", "pca", "directional_ablation")
CELL = "tiny_mean_diff_s0_w8"

COMMAND = """
import sys
from isoklx.cli.main import main
status = main(sys.argv[1:])
print("with torch" if "torch" in sys.modules else "without torch")
sys.exit(status)
"""


def command(options: dict[str, Any], *more: str, model: Path = TINY) -> list[str]:
    return [sys.executable, "-c", COMMAND, "run", str(model), *words(options), *more]


def done(options: dict[str, Any], *more: str, model: Path = TINY) -> tuple[int, list[str], str]:
    """Return status, lines of standard output, and standard error."""
    found = subprocess.run(
        command(options, *more, model=model),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return found.returncode, found.stdout.splitlines(), found.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(str(TINY), **small(folder, method=METHODS))
    return folder


@pytest.fixture
def mine(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to change."""
    shutil.copytree(whole, tmp_path / "mine")
    return tmp_path / "mine"


def test_repeating_a_command_for_complete_cells_loads_and_changes_nothing(
    whole: Path,
) -> None:
    before = contents(whole)
    status, out, err = done(small(whole, method=METHODS))
    names = [f"tiny_{method}_s0_w8" for method in METHODS]
    assert status == 0
    assert out == [*(str(whole / "out" / name) for name in names), "without torch"]
    assert err.splitlines() == [f"{name}: complete" for name in names]
    assert contents(whole) == before


def test_a_subset_of_the_doses_of_a_complete_cell_is_complete(whole: Path) -> None:
    status, out, _ = done(small(whole, alphas=(0.0, 2.0)))
    assert (status, out[-1]) == (0, "without torch")


def test_an_estimate_of_complete_cells_loads_nothing(whole: Path) -> None:
    status, out, err = done(small(whole, method=METHODS), "--dry")
    assert status == 0
    assert out == [*(f"tiny_{method}_s0_w8: complete" for method in METHODS), "without torch"]
    assert err == ""


def test_a_vector_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    vector = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    np.save(tmp_path / "v.npy", vector)
    options = small(tmp_path, vector=tmp_path / "v.npy", layer=2, alphas=(1.0,))
    del options["pairs"]
    run(str(TINY), **options)
    assert done(options)[:2] == (0, [str(options["out"] / "tiny_v_s0_w8"), "without torch"])
    np.save(tmp_path / "v.npy", -vector)
    status, _, err = done(options)
    assert status == 2
    assert "measured_with.sha256.vector is '" in err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("target_kl", 2.0, "calib.json: target_kl is 1.0 in the file, but 2.0 now:"),
        ("statistic", "rms", "calib.json: target_stat is 'p95' in the file, but 'rms' now:"),
        ("batch", 2, "calib.json: measured_with.batch is 4 in the file, but 2 now:"),
        (
            "temperature",
            0.5,
            "calib.json: measured_with.temperature is 0.0 in the file, but 0.5 now:",
        ),
    ],
)
def test_a_complete_cell_with_other_settings_is_refused_without_a_model(
    whole: Path, option: str, value: object, message: str
) -> None:
    for dry in ([], ["--dry"]):
        status, out, err = done(small(whole, **{option: value}), *dry)
        assert (status, out) == (2, ["without torch"])
        (line,) = err.splitlines()
        assert message in line


@pytest.mark.parametrize("name", ["pairs", "prompts", "calib_prompts", "questions"])
def test_a_complete_cell_with_other_inputs_is_refused_before_a_model_is_loaded(
    mine: Path, name: str
) -> None:
    options = small(mine)
    options[name].write_text("".join(options[name].read_text().splitlines(True)[:-1]))
    status, _, err = done(options)
    assert status == 2
    assert f"{name} differ from the ones that" in err
    assert "rows of a batch" not in err


@pytest.mark.parametrize("option", ["layer", "token", "dtype"])
def test_options_that_need_a_model_load_it(whole: Path, option: str) -> None:
    same = {"layer": 2, "token": "last", "dtype": "float32"}[option]
    status, out, err = done(small(whole, **{option: same}))
    # The tiny model has no chat template: the last token of a turn is that of its content.
    assert (status, out[-1]) == (0, "with torch"), err
    other = {"layer": 1, "token": None, "dtype": "bfloat16"}[option]
    if other is not None:
        status, _, err = done(small(whole, **{option: other}))
        assert status == 2
        assert f"{option} is " in err


def test_a_model_whose_files_have_changed_is_loaded(tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    shutil.copytree(TINY, model)
    options = small(tmp_path, alphas=(1.0,))
    run(str(model), **options)
    assert done(options, model=model)[1][-1] == "without torch"
    (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert done(options, model=model)[1][-1] == "with torch"


def test_large_files_are_sampled_and_small_ones_beside_them_hashed_whole(tmp_path: Path) -> None:
    weights, tokenizer = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    with weights.open("wb") as file:
        file.truncate(LARGE + 1)
    tokenizer.write_bytes(bytes(2**16))
    plan = CellPlan(str(tmp_path), "mean_diff", 0, "+", Settings())

    def changed(path: Path, place: int) -> bool:
        before = requested(plan)["model_files"]
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"1")
        return bool(requested(plan)["model_files"] != before)

    assert changed(tokenizer, 2**15)
    assert changed(weights, 2**20)
    assert changed(weights, LARGE)
    assert not changed(weights, 2**20 + 2**19)


def test_a_dose_missing_from_a_file_is_named(mine: Path) -> None:
    path = mine / "out" / CELL / "trajectory.json"
    content = json.loads(path.read_text())
    del content["per_prompt_per_t_kl"]["2.0"]
    path.write_text(json.dumps(content))
    status, out, err = done(small(mine))
    assert (status, out) == (1, ["without torch"])
    assert err.splitlines() == [
        f"isoklx run: {mine / 'out' / CELL}/trajectory.json: lacks alpha 2, which pmass.json "
        "lists as complete; remove the folder to make the cell again"
    ]


def test_cells_that_another_run_completes_are_complete(whole: Path, tmp_path: Path) -> None:
    options = small(tmp_path, method=METHODS[:2])
    options["out"].mkdir()
    folder = options["out"] / CELL
    with claimed(folder) as claim:
        assert claim
        process = subprocess.Popen(
            command(options), cwd=PROJECT, stdout=-1, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"{CELL}: another run is making it; trying the others\n"
        )
        shutil.copytree(whole / "out" / CELL, folder)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.splitlines()[:2] == [str(options["out"] / f"tiny_{m}_s0_w8") for m in METHODS[:2]]
    assert err.splitlines()[-1] == f"{CELL}: complete"


def test_only_cells_that_are_missing_in_the_end_are_named(mine: Path) -> None:
    # Of three cells one is complete, one is made by another run, and one is made now.
    root, (_, theirs, ours) = mine / "out", [f"tiny_{method}_s0_w8" for method in METHODS]
    for name in (theirs, ours):
        shutil.rmtree(root / name)
    with claimed(root / theirs):
        status, out, err = done(small(mine, method=METHODS))
    assert (status, out) == (1, ["with torch"])
    assert err.splitlines()[-1] == (
        f"isoklx run: 1 of 3 cells is not complete: {theirs} (another run is making it)"
    )
    assert sorted(path.name for path in root.iterdir()) == sorted([CELL, ours])
