"""Cells of many architectures are recomputed by a plain loop, and wrong ones are caught."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from safetensors.torch import load_file, save_file

import isoklx
from isoklx import recheck, run
from isoklx.cli.main import main
from isoklx.engine.recheck import LARGEST
from isoklx.errors import CellError, UsageError
from tests.engine.small_runs import small
from tests.engine.tokenizers_of_characters import CHATML
from tests.models.random_models import CONFIGS
from tests.models.saved_models import saved_model

NAMES = [name for name in CONFIGS if name not in ("qwen3_next", "bloom", "gpt_neox")]
"""Eight architectures; each one left out has a similar one among them."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell of each architecture, made by one call."""
    folder = tmp_path_factory.mktemp("architectures")
    # Mamba reads the suffix token by token; without a chat template it is short.
    templates = {name: None if name == "mamba" else CHATML for name in NAMES}
    models = [str(saved_model(name, folder / "models", templates[name])) for name in NAMES]
    options = small(folder, window=6, alphas=(0.0, 1.0), forks=3, target_kl=0.03)
    made = run(*models, **options)
    assert [cell.name for cell in made] == [f"{name}_mean_diff_s0_w6" for name in NAMES]
    return options["out"]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_cell_is_reproduced(root: Path, name: str) -> None:
    found = recheck(root / f"{name}_mean_diff_s0_w6", samples=4)
    assert found.kind.tolist() == ["eval"] * 4 + ["qa"] * 4
    assert set(found.alpha) == {0.0, 1.0}
    for column in LARGEST:
        assert found[column].max() < 1e-4
    assert found.kl.notna().tolist() == [True] * 4 + [False] * 4
    assert found.pmass.notna().all()


def test_the_cells_build_and_verify_without_messages(root: Path, tmp_path: Path) -> None:
    report = isoklx.build(root, tmp_path / "a.nc")
    assert (report.notes, report.skipped) == ((), ())
    assert len(report.read) == len(NAMES)
    assert main(["verify", str(tmp_path / "a.nc"), "--root", str(root)]) == 0
    table = isoklx.calibration_table(isoklx.open_sweep(root))
    assert len(table) == len(NAMES)
    assert not any(path.name.startswith((".", "_")) for path in root.iterdir())


@pytest.fixture
def cell(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root / "llama_mean_diff_s0_w6", tmp_path / "llama_mean_diff_s0_w6")


def changed(cell: Path, file: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = cell / file
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            change(line)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    else:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


def setting(*places: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        *way, last = places
        for place in way:
            content = content[place]
        content[last] = to

    return change


def other_token(line: dict[str, Any]) -> None:
    line["token_ids"][2] = (line["token_ids"][2] + 1) % 90


KL, FIRST = "per_prompt_per_t_kl", ("0.0", 0)


@pytest.mark.parametrize(
    ("file", "change", "column"),
    [
        ("trajectory.json", setting(KL, *FIRST, 2, to=0.01), "kl"),
        ("trajectory.json", setting(KL, *FIRST, 2, to=math.nan), "kl"),
        ("trajectory.json", setting(KL, *FIRST, to=[]), "kl"),
        ("trajectory.json", setting(KL, "0.0", to=[]), "kl"),
        ("trajectory.json", setting(KL, to={}), "kl"),
        ("pmass.json", setting("pmass_eval", *FIRST, 1, to=0.5), "pmass"),
        ("pmass.json", setting("pmass_eval", *FIRST, 1, to=None), "pmass"),
        ("pmass.json", setting("pmass", *FIRST, 0, to=0.5), "pmass"),
        ("pmass.json", setting("p_true", *FIRST, 0, to=0.99), "p_true"),
        ("gens.jsonl", other_token, "kl"),
        ("calib.json", setting("measured_with", "true_ids", to=[10]), "pmass"),
    ],
)
def test_a_wrong_number_is_caught(
    cell: Path,
    file: str,
    change: Callable[[dict[str, Any]], object],
    column: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed(cell, file, change)
    assert recheck(cell)[column].max() > 1e-3
    assert main(["recheck", str(cell)]) == 1
    said = capsys.readouterr()
    assert "largest difference: " in said.out
    assert said.err == f"isoklx recheck: {cell}: does not agree with its recomputation\n"


def test_another_vector_is_caught_and_named(
    cell: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "vector.safetensors"
    shutil.copyfile(root / "mixtral_mean_diff_s0_w6" / name, cell / name)
    assert recheck(cell).kl.max() > 1e-3
    assert main(["recheck", str(cell)]) == 1
    cause = r"recomputation: it was computed with a different vector \(then \w{12}, now \w{12}\)\n$"
    assert re.search(cause, capsys.readouterr().err)


def test_other_weights_are_named_as_the_cause_where_numbers_differ(
    cell: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(root.parent / "models" / "llama", tmp_path / "llama")
    words = ["recheck", str(cell), "--samples", "1", "--model", str(model)]
    assert main(words) == 0
    assert "agree, though" not in capsys.readouterr().out
    path = model / "model.safetensors"
    weights = load_file(path)
    save_file(weights, path, {"format": "pt", "of": "a later version"})
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "the numbers agree, though computed with other weights (then sha256:" in said
    save_file({name: 2 * each for name, each in weights.items()}, path, {"format": "pt"})
    assert main(words) == 1
    assert re.search(
        r"does not agree with its recomputation: it was computed with other weights "
        r"\(then sha256:\w{16}, now sha256:\w{16}\)\n$",
        capsys.readouterr().err,
    )


def without_identities(calib: dict[str, Any]) -> None:
    del calib["measured_with"]["identity"], calib["measured_with"]["end_ids"]


def test_doses_of_two_kinds_of_prompt_are_caught_with_and_without_identities(cell: Path) -> None:
    def other_prompt(line: dict[str, Any]) -> None:
        if line["alpha"] == 1 and line["kind"] == "eval":
            line["prompt_ids"] = line["prompt_ids"][1:]

    assert recheck(cell).attrs["other"] == ""
    changed(cell, "calib.json", without_identities)
    assert recheck(cell).attrs["other"] == ""
    changed(cell, "gens.jsonl", other_prompt)
    message = (
        r"gens\.jsonl: alpha 1 was measured with other token ids of its prompts \(then sha256:"
    )
    with pytest.raises(CellError, match=message):
        recheck(cell)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("gens.jsonl", setting("coeff", to=3.0), "line 1: coefficient must be 0 (alpha 0 times"),
        ("gens.jsonl", lambda line: line.pop("token_ids"), "line 1: 'token_ids' is missing"),
        ("gens.jsonl", setting("prompt_idx", to=1), "alpha 0 was measured with other token ids of"),
        ("calib.json", lambda calib: calib.pop("measured_with"), "was not made by isoklx run"),
    ],
)
def test_an_incomplete_cell_is_an_error(
    cell: Path, file: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    changed(cell, file, change)
    with pytest.raises(CellError) as error:
        recheck(cell)
    assert str(error.value).startswith(f"{cell / file}: {message}")


@pytest.mark.parametrize("file", ["calib.json", "trajectory.json", "pmass.json", "gens.jsonl"])
def test_a_missing_or_broken_file_is_an_error(cell: Path, file: str) -> None:
    (cell / file).write_text('{"a": ')
    with pytest.raises(CellError, match=file):
        recheck(cell)
    (cell / file).unlink()
    with pytest.raises(CellError, match=f"{file}: not found"):
        recheck(cell)


def test_a_cell_without_rollouts_is_an_error(cell: Path) -> None:
    (cell / "gens.jsonl").write_text("")
    with pytest.raises(CellError, match=r"gens.jsonl: contains no rollouts"):
        recheck(cell)


def test_wrong_arguments_are_an_error(cell: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="samples must be at least 1, got 0"):
        recheck(cell, samples=0)
    with pytest.raises(
        UsageError, match=": expected a cell, got a runs root; name a cell in it, such as "
    ):
        recheck(root)
    with pytest.raises(UsageError, match="absent: not found"):
        recheck(cell.with_name("absent"))


def test_a_moved_model_is_loaded_from_the_given_location(cell: Path) -> None:
    model = json.loads((cell / "calib.json").read_text())["model"]
    changed(cell, "calib.json", setting("model", to="/gone"))
    with pytest.raises(UsageError) as error:
        recheck(cell)
    assert str(error.value) == (
        f"{cell}: cannot load its model; give its location with --model: /gone: folder not found"
    )
    with pytest.raises(UsageError, match=r"^/gone/too: folder not found"):
        recheck(cell, model="/gone/too")
    with pytest.raises(UsageError, match=r"^device 'abacus' cannot be used"):
        recheck(cell, model=model, device="abacus")
    assert recheck(cell, model=model).kl.max() < 1e-4


def test_a_single_sample_is_from_the_largest_dose(root: Path) -> None:
    assert recheck(root / f"{NAMES[0]}_mean_diff_s0_w6", samples=1).alpha.tolist() == [1.0, 1.0]
