"""Runs of the tiny model: cells, messages and errors."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

import isoklx
from isoklx import recheck, run
from isoklx.engine import context, pipeline
from isoklx.engine import run as runs
from isoklx.engine.plans import CellPlan
from isoklx.engine.selftests import SelfTests, self_test
from isoklx.engine.settings import Settings
from isoklx.errors import BuildError, IsoklxError, MeasureError, UsageError
from isoklx.system.locks import claimed
from tests.engine.small_runs import contents, small
from tests.models.saved_models import saved_model
from tests.models.tiny_model import TINY, tiny_model

CELL = "tiny_mean_diff_s0_w8"
WIDTH = 128


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    run(str(TINY), **small(folder))
    return folder


TESTED: dict[tuple[object, ...], SelfTests] = {}


@pytest.fixture(autouse=True)
def _tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run self-tests once per kind of model, as they have tests of their own."""

    def once(model: Any, steering: Any, *more: Any) -> SelfTests:
        kind = (type(model), model.dtype, steering.action)
        if kind not in TESTED:
            TESTED[kind] = self_test(model, steering, *more)
        return TESTED[kind]

    monkeypatch.setattr(context, "self_test", once)


def kl_of(cell: Path) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = json.loads((cell / "trajectory.json").read_text())[
        "per_prompt_per_t_kl"
    ]
    return found


def tokens_of(cell: Path) -> list[list[int]]:
    lines = (cell / "gens.jsonl").read_text().splitlines()
    return [json.loads(line)["token_ids"] for line in lines]


def calib_of(cell: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cell / "calib.json").read_text())
    return found


# Cells


def test_one_call_makes_a_cell_per_model_and_method(tmp_path: Path) -> None:
    options = small(tmp_path, alphas=(0.0, 1.0), method=("mean_diff", "directional_ablation"))
    other = tmp_path / "other"
    other.symlink_to(TINY)
    cells = run(str(TINY), str(other), **options)
    assert [cell.name for cell in cells] == [
        f"{model}_{method}_s0_w8"
        for model in ("tiny", "other")
        for method in ("mean_diff", "directional_ablation")
    ]
    assert sorted(options["out"].iterdir()) == sorted(cells)
    for tiny, same in zip(cells[:2], cells[2:], strict=True):
        assert kl_of(tiny) == kl_of(same)
    assert np.max(kl_of(cells[0])["0.0"]) < 1e-6
    # Ablation with a coefficient of 0 is not the base model.
    assert calib_of(cells[1])["measured_with"]["action"] == "ablate"
    assert np.max(kl_of(cells[1])["0.0"]) > 1e-5
    report = isoklx.build(options["out"], tmp_path / "a.nc")
    assert (report.notes, report.skipped) == ((), ())


def test_each_side_of_a_direction_is_calibrated_and_swept(tmp_path: Path) -> None:
    options = small(tmp_path, alphas=(0.0, 1.0), sign="both")
    plus, minus = run(str(TINY), **options)
    assert minus.name == "tiny_mean_diff_neg_s0_w8"
    assert calib_of(plus)["c_star"] > 0 > calib_of(minus)["c_star"]
    assert (calib_of(plus)["sign"], calib_of(minus)["sign"]) == ("+", "-")
    assert recheck(minus)[["kl", "pmass"]].max().max() < 1e-4
    report = isoklx.build(options["out"], tmp_path / "a.nc")
    assert (report.notes, report.skipped) == ((), ())


def test_a_cell_records_how_it_was_made(whole: Path) -> None:
    calib = calib_of(whole / "out" / CELL)
    assert calib["model"] == str(TINY)
    assert calib["measured_with"]["batch"] == 4
    assert calib["measured_with"]["forks"] == [0, 4, 8]
    assert set(calib["measured_with"]["sha256"]) == {
        *("pairs", "prompts", "calib_prompts", "questions", "vector")
    }
    pmass = json.loads((whole / "out" / CELL / "pmass.json").read_text())
    assert len(pmass["questions"]) == 2
    assert "repetition_eval" in pmass


def test_a_calibration_meets_its_target(whole: Path) -> None:
    cell = whole / "out" / CELL
    last = next(
        step
        for step in json.loads((cell / "history.json").read_text())
        if step["coeff"] == calib_of(cell)["c_star"]
    )
    assert last["kl_p95"] == pytest.approx(1.0, abs=0.05)


def test_repeating_a_call_changes_nothing(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = whole / "out" / CELL
    before = {path: path.stat().st_mtime_ns for path in cell.iterdir()}
    monkeypatch.setattr(pipeline, "roll_out", None)
    assert run(str(TINY), **small(whole)) == [cell]
    assert {path: path.stat().st_mtime_ns for path in cell.iterdir()} == before
    assert list((whole / "out").iterdir()) == [cell]


def test_added_doses_leave_the_others_unchanged(whole: Path, tmp_path: Path) -> None:
    run(str(TINY), **small(tmp_path, alphas=(1.0,)))
    run(str(TINY), **small(tmp_path))
    before, after = kl_of(whole / "out" / CELL), kl_of(tmp_path / "out" / CELL)
    assert list(after) == ["0.0", "1.0", "2.0"]
    for alpha in after:
        for one, other in zip(before[alpha], after[alpha], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_paths_may_be_strings_and_start_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {name: str(value) for name, value in small(tmp_path).items() if name[0] in "pcq"}
    (tmp_path / "tiny").symlink_to(TINY)
    options["prompts"] = "~/prompts.jsonl"
    run("~/tiny", **options, out="~/o", window=4, alphas=1.0, forks=2, layer=1, batch=4)
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["tiny_mean_diff_s0_w4"]
    assert calib_of(tmp_path / "o" / "tiny_mean_diff_s0_w4")["layer"] == 1


def test_several_coefficients_are_tried_at_once_if_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "AT_ONCE", {"cpu": 4})
    (cell,) = run(str(TINY), **small(tmp_path, batch=9, window=7, alphas=(1.0,)))
    steps = json.loads((cell / "history.json").read_text())
    assert len(steps) % 3 == 0  # nine rows hold the prompts of three coefficients
    c_star = calib_of(cell)["c_star"]
    (found,) = [step for step in steps if step["coeff"] == c_star]
    assert found["kl_p95"] == pytest.approx(1.0, abs=0.05)
    assert recheck(cell)["kl"].max() < 1e-4


def test_a_window_of_one_and_doses_of_both_signs_are_valid(tmp_path: Path) -> None:
    options = small(tmp_path, window=1, forks="log", alphas=(-1.0, 0.0, 1.0))
    (cell,) = run(str(TINY), **options)
    assert list(kl_of(cell)) == ["-1.0", "0.0", "1.0"]
    assert recheck(cell)[["kl", "pmass"]].max().max() < 1e-4
    report = isoklx.build(options["out"], tmp_path / "a.nc")
    assert (report.notes, report.skipped) == ((), ())


@pytest.mark.parametrize("statistic", ["rms", "mean"])
def test_other_statistics_meet_their_target(tmp_path: Path, statistic: str) -> None:
    (cell,) = run(str(TINY), **small(tmp_path, statistic=statistic, target_kl=0.3, alphas=(1.0,)))
    assert calib_of(cell)["target_stat"] == statistic
    steps = json.loads((cell / "history.json").read_text())
    last = next(step for step in steps if step["coeff"] == calib_of(cell)["c_star"])
    assert last[f"kl_{statistic}"] == pytest.approx(0.3, rel=0.05)


def test_samples_depend_on_the_seed_and_not_on_the_batch(tmp_path: Path) -> None:
    options = {"temperature": 1.0, "samples": 2, "noquestions": True, "alphas": (0.0, 1.0)}
    cells = []
    for batch in (1, 4):
        given = small(tmp_path / str(batch), **options, batch=batch)
        del given["questions"]
        cells += run(str(TINY), **given)
    assert [cell.name[-5:] for cell in cells] == ["s0_w8", "s1_w8"] * 2
    assert tokens_of(cells[0]) == tokens_of(cells[2])
    assert tokens_of(cells[1]) == tokens_of(cells[3])
    assert tokens_of(cells[0]) != tokens_of(cells[1])
    for alpha, rows in kl_of(cells[0]).items():
        for one, other in zip(rows, kl_of(cells[2])[alpha], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_rollout_may_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = tiny_model()[0].config.vocab_size
    monkeypatch.setattr("isoklx.engine.chat.eos_ids", lambda *_: frozenset(range(size)))
    options = small(tmp_path)
    (cell,) = run(str(TINY), **options)
    assert {len(tokens) for tokens in tokens_of(cell)} == {1}
    assert recheck(cell)[["kl", "pmass"]].max().max() < 1e-4
    report = isoklx.build(options["out"], tmp_path / "a.nc")
    assert (report.notes, report.skipped) == ((), ())


def test_a_rollout_may_end_before_its_first_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = tiny_model()[0].config.vocab_size
    monkeypatch.setattr("isoklx.engine.chat.eos_ids", lambda *_: frozenset(range(size)))
    (cell,) = run(str(TINY), **small(tmp_path, forks=(4, 8)))
    assert caplog.messages == []
    pmass = json.loads((cell / "pmass.json").read_text())
    assert np.isnan(np.array(pmass["pmass_eval"]["0.0"], float)).all()
    assert recheck(cell)["kl"].max() < 1e-4


# Directions from elsewhere


def test_settings_of_published_cells_are_available(tmp_path: Path) -> None:
    model = str(saved_model("llama", tmp_path))
    options = small(tmp_path, target_kl=0.01, alphas=(1.0,), method=("mean_diff", "pca_centred"))
    cells = run(model, **options)
    last = run(model, **{**options, "token": "last", "out": tmp_path / "last"})
    hashes = [calib_of(cell)["measured_with"]["sha256"]["vector"] for cell in [*cells, *last]]
    assert len({*hashes}) == 4
    assert [calib_of(cell)["method"] for cell in last] == ["mean_diff", "pca_centred"]


def test_a_vector_is_the_same_from_every_file_format(tmp_path: Path) -> None:
    from gguf import GGUFWriter
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    vector = rng.standard_normal(WIDTH).astype(np.float32)
    layers = {str(layer): (vector * (layer == 2)).tolist() for layer in range(4)}
    np.save(tmp_path / "a.npy", vector)
    np.savez(tmp_path / "b.npz", layer_2=vector)
    save_file(
        {"layer2.v": vector}, tmp_path / "c.safetensors", {"cfg": json.dumps({"method": "pca"})}
    )
    (tmp_path / "d.svec").write_text(json.dumps({"model_type": "llama", "directions": layers}))
    hook = {"steering_vector": torch.tensor(vector / 2), "steering_coefficient": 2.0}
    torch.save({"layers.2": {**hook, "action": "add", "bias": None}}, tmp_path / "e.pt")
    writer = GGUFWriter(tmp_path / "f.gguf", "controlvector")
    writer.add_tensor("direction.2", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = []
    for name in ("a.npy", "b.npz", "c.safetensors", "d.svec", "e.pt", "f.gguf"):
        options = small(
            tmp_path / name[0], vector=tmp_path / name, alphas=(1.0,), window=2, forks=2
        )
        del options["pairs"]
        made += run(str(TINY), **options, layer=2)
    assert [cell.name for cell in made] == [f"tiny_{name}_s0_w2" for name in "abcdef"]
    assert len({(cell / "trajectory.json").read_bytes() for cell in made}) == 1
    assert "pairs" not in calib_of(made[0])["measured_with"]["sha256"]
    assert recheck(made[0])["kl"].max() < 1e-4


# Messages


def test_each_self_test_logs_one_line_and_so_does_its_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isoklx.engine")
    run(str(TINY), **small(tmp_path, alphas=(1.0,)))
    starts = [
        f"loading {TINY}",
        "finding the direction in 8 pairs",
        "estimating the first coefficient",
        "self-tests",
        "self-test passed: rows of a batch agree with single rows to",
        "self-test passed: forks agree with a recomputation to",
        "self-test passed: KL at coefficient 0 is",
        "calibration, try 1: coefficient ",
        "calibrated: c_star is ",
        "alpha 1",
        "complete",
    ]
    first, said, *others = caplog.messages
    assert said == f"{TINY}: no chat template: prompts are written as User:/Assistant:"
    for line, start in zip([first, *others], starts, strict=True):
        assert line.startswith(f"{CELL}: {start}")


def test_the_prompt_format_is_logged_once_per_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isoklx.engine")
    run(str(TINY), **small(tmp_path, alphas=(1.0,), method=("mean_diff", "pca")))
    assert len([line for line in caplog.messages if "no chat template" in line]) == 1


def test_a_model_that_does_not_answer_is_reported_with_its_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = saved_model("llama", tmp_path)
    (cell,) = run(str(model), **small(tmp_path, target_kl=0.01))
    ends, line = caplog.messages
    assert ends == (
        f"{model}: <|im_end|> ends a turn in the chat template but is not an end token of "
        "model or tokenizer: a rollout ends with it"
    )
    # Named by the tokenizer, the model's configuration, and the template.
    assert calib_of(cell)["measured_with"]["end_ids"] == [1, 2, 3]
    assert "llama_mean_diff_s0_w8: pmass at alpha 0 is 0.0" in line
    assert "Most probable instead: '" in line
    assert line.endswith(" times")


def test_running_out_of_memory_halves_the_batch_and_keeps_the_numbers(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    roll_out = pipeline.roll_out

    def short_of_memory(model: Any, steering: Any, prompts: Any, *more: Any, **options: Any) -> Any:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError
        return roll_out(model, steering, prompts, *more, **options)

    monkeypatch.setattr(pipeline, "roll_out", short_of_memory)
    (cell,) = run(str(TINY), **small(tmp_path))
    # It is learnt once, and not anew for every dose.
    assert caplog.messages == [f"{CELL}: memory ran out with 3 rows: continuing with 2 at a time"]
    assert tokens_of(cell) == tokens_of(whole / "out" / CELL)
    for alpha, rows in kl_of(cell).items():
        for one, other in zip(rows, kl_of(whole / "out" / CELL)[alpha], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_running_out_of_memory_with_one_row_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(pipeline, "roll_out", out_of_memory)
    with pytest.raises(MeasureError, match="memory ran out with a single row"):
        run(str(TINY), **small(tmp_path))
    monkeypatch.setattr("isoklx.engine.context.self_test", out_of_memory)
    with pytest.raises(MeasureError, match="memory ran out before the first measurement"):
        run(str(TINY), **small(tmp_path))


# Errors


def lengthy(path: Path) -> None:
    path.write_text("Is it so? " * 400 + "\n")


def one_sided(path: Path) -> None:
    path.write_text('{"prompt": "Is it?", "positive": "Yes."}\n')


def too_long(path: Path) -> None:
    pair = {"prompt": "Is it?", "positive": "Yes. " * 2000, "negative": "No."}
    path.write_text(json.dumps(pair) + "\n")


def not_a_number(path: Path) -> None:
    np.save(path, np.r_[np.ones(WIDTH - 1), np.nan])


@pytest.mark.parametrize(
    ("name", "write", "options", "error", "message"),
    [
        ("pairs.jsonl", Path.touch, {}, UsageError, "{}: must contain pairs, got an empty file"),
        (
            "pairs.jsonl",
            one_sided,
            {},
            UsageError,
            "{}: line 1: lacks 'negative'; found: 'prompt', ",
        ),
        (
            "pairs.jsonl",
            too_long,
            {},
            UsageError,
            "{}: pair 1: an answer with its prompt must fit ",
        ),
        ("pairs.jsonl", lambda p: p.write_text("{"), {}, UsageError, "{}: line 1: is not JSON: "),
        ("pairs.jsonl", Path.unlink, {}, UsageError, "{}: pairs cannot be read: No such file or"),
        ("prompts.jsonl", Path.touch, {}, UsageError, "{}: must contain prompts, got an "),
        ("prompts.txt", lengthy, {}, UsageError, "{}: line 1: prompt (4016 tokens), window"),
        ("calib_prompts.txt", lengthy, {}, UsageError, "{}: line 1: prompt (4016 tokens), window"),
        (
            "questions.jsonl",
            lambda p: p.write_text("[]"),
            {},
            UsageError,
            "{}: line 1: must be a JSON",
        ),
        (
            "v.npy",
            lambda p: np.save(p, np.ones(5)),
            {"layer": 2},
            UsageError,
            "{}: layer 2: must be ",
        ),
        ("v.npy", not_a_number, {"layer": 2}, UsageError, "{}: layer 2: must be finite in"),
        ("v.npy", Path.mkdir, {"layer": 2}, UsageError, "{}: the vector cannot be read: not a "),
        ("v.txt", Path.touch, {"layer": 2}, UsageError, "{}: suffix of a vector file must be "),
        ("v.npy", not_a_number, {"method": "pca"}, UsageError, "method must not be given with"),
        (
            "v.npy",
            not_a_number,
            {"method": "mean_diff"},
            UsageError,
            "method must not be given with",
        ),
        ("", None, {"layer": 4}, UsageError, "layer 4 not found: the model has blocks 0 to 3;"),
        ("", None, {"layer": (1, 1)}, UsageError, "layer 1 is named twice in "),
        ("", None, {"device": "abacus"}, UsageError, "device 'abacus' cannot be used: "),
        ("", None, {"device": "meta"}, UsageError, "device 'meta' cannot be used: "),
        (
            "",
            None,
            {"target_kl": 1e3},
            MeasureError,
            f"{CELL}: calibration did not converge: p95 of KL",
        ),
        ("", None, {"alphas": (1, 1)}, UsageError, "alphas 1 and 1 are the same dose"),
        (
            "",
            None,
            {"method": "lda"},
            UsageError,
            "method must be one of mean_diff, pca,",
        ),
        ("", None, {"forks": (0, 9)}, UsageError, "fork must be within the window, 0 to 8 tokens"),
    ],
)
def test_invalid_input_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    name: str,
    write: Any,
    options: dict[str, Any],
    error: type[IsoklxError],
    message: str,
) -> None:
    given = {**small(tmp_path), **options}
    path = tmp_path / name
    if write is not None:
        if path.suffix != ".jsonl" or write is Path.touch:
            path.unlink(missing_ok=True)
        write(path)
        given["vector" if path.stem == "v" else path.stem] = path
    if "vector" in given:
        del given["pairs"]
    for dry in (False, True):
        if dry and "target_kl" in options:
            continue  # a dry run cannot know
        with pytest.raises(error) as raised:
            run(str(TINY), **given, dry=dry)
        assert str(raised.value).startswith(message.format(path))
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{}/absent", "{}/absent: folder not found"),
        ("{}", "{}: not a model folder: config.json not found"),
        ("org/absent", "org/absent: not a folder, and cannot be loaded: "),
        ("{}/broken", "{}/broken: cannot be loaded: "),
    ],
)
def test_an_invalid_model_is_one_line(tmp_path: Path, model: str, message: str) -> None:
    (tmp_path / "broken").mkdir()
    for file in TINY.iterdir():
        (tmp_path / "broken" / file.name).write_bytes(file.read_bytes()[:1000])
    with pytest.raises(IsoklxError) as error:
        run(model.format(tmp_path), **small(tmp_path))
    assert str(error.value).startswith(message.format(tmp_path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_model_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = small(tmp_path, alphas=(1.0,))
    with pytest.raises(MeasureError, match="1 of 2 cells is not complete: absent_mean_diff_s0_w8"):
        run(str(tmp_path / "absent"), str(TINY), **options)
    assert caplog.messages == [f"{tmp_path / 'absent'}: folder not found"]
    assert [path.name for path in options["out"].iterdir()] == [CELL]


def test_a_root_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    options = small(tmp_path)
    options["out"].write_text("mine")
    for dry in (False, True):
        with pytest.raises(UsageError, match="out: must be a folder; it is a file"):
            run(str(TINY), **options, dry=dry)
    assert options["out"].read_text() == "mine"
    with pytest.raises(BuildError, match="cells: cannot create the folder: Not a directory"):
        run(str(TINY), **{**options, "out": options["out"] / "cells"})


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as error:
        run(str(TINY), **small(tmp_path))
    assert str(error.value) == f"run needs {package}: pip install 'isoklx[run]'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_kl": 2.0}, "target_kl is 1.0 in the file, but 2.0 now"),
        ({"statistic": "rms"}, "target_stat is 'p95' in the file, but 'rms' now"),
        ({"temperature": 1.0}, "measured_with.temperature is 0.0 in the file, but 1.0 now"),
        ({"batch": 2}, "measured_with.batch is 4 in the file, but 2 now"),
        ({"layer": 1}, "layer is 2 in the file, but 1 now"),
        ({"dtype": "bfloat16"}, "measured_with.dtype is 'float32' in the file, but 'bfloat16' now"),
    ],
)
def test_a_cell_made_with_other_settings_is_refused(
    whole: Path, options: dict[str, Any], message: str
) -> None:
    before = contents(whole)
    for dry in (False, True)[: 1 + ("batch" in options)]:
        with pytest.raises(UsageError) as error:
            run(str(TINY), **{**small(whole, alphas=(4.0,)), **options}, dry=dry)
        ways_out = "give the recorded value, or write to another folder"
        assert str(error.value) == f"{whole / 'out' / CELL / 'calib.json'}: {message}: {ways_out}"
    assert contents(whole) == before


@pytest.mark.parametrize("name", ["pairs", "prompts", "calib_prompts", "questions"])
def test_a_cell_begun_with_another_file_is_refused_naming_the_file(whole: Path, name: str) -> None:
    before = contents(whole / "out")
    options = small(whole)
    other = whole / "other" / f"{name}.jsonl"
    other.parent.mkdir(exist_ok=True)
    other.write_text("".join(options[name].read_text().splitlines(keepends=True)[:-1]))
    for dry in (False, True):
        with pytest.raises(UsageError) as error:
            run(str(TINY), **{**options, name: other}, dry=dry)
        assert str(error.value) == (
            f"{other}: {name} differ from the ones that {whole / 'out' / CELL} was begun with: "
            "use those, or another output folder"
        )
    assert contents(whole / "out") == before


def test_a_cell_begun_with_other_forks_is_refused_naming_both(whole: Path) -> None:
    with pytest.raises(UsageError) as error:
        run(str(TINY), **small(whole, forks=2))
    assert str(error.value) == (
        f"{whole / 'out' / CELL}: was begun with forks at 0, 4, 8, and not at 0, 2, 4, 6, 8: "
        "use those, or another output folder"
    )


def test_a_file_in_place_of_a_cell_is_named_before_a_model_is_loaded(tmp_path: Path) -> None:
    options = small(tmp_path)
    options["out"].mkdir()
    (options["out"] / CELL).write_text("mine")
    for dry in (False, True):
        with pytest.raises(UsageError) as error:
            run("/absent/tiny", **options, dry=dry)
        place = options["out"] / CELL
        assert (
            str(error.value)
            == f"{place}: must be a folder, as a cell is written there; it is a file"
        )
    assert contents(options["out"]) == {CELL: b"mine"}


def test_a_model_is_recognised_under_any_path(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(whole)
    (tmp_path / "tiny").symlink_to(TINY)
    monkeypatch.chdir(tmp_path)
    assert run("./tiny", **small(whole)) == [whole / "out" / CELL]
    assert contents(whole) == before
    (tmp_path / "tiny").unlink()
    shutil.copytree(TINY, tmp_path / "tiny")
    assert run("./tiny", **small(whole)) == [whole / "out" / CELL]
    assert contents(whole) == before


def test_another_name_of_a_model_is_refused_if_its_content_is_not_recorded(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(TINY, tmp_path / "tiny")
    older = older_cell(whole, tmp_path)
    with pytest.raises(UsageError, match=r"model is '.*/models/tiny' in the file, but '.* now: "):
        run(str(tmp_path / "tiny"), **{**small(tmp_path), "out": older.parent})


TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def with_a_template(model: Path) -> None:
    (model / "chat_template.jinja").write_text(TEMPLATE)


def with_other_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-2] + b"\x00\x01")


def with_another_tokenizer(model: Path) -> None:
    path = model / "tokenizer.json"
    lower = {"normalizer": {"type": "Lowercase"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **lower}))


def with_another_end(model: Path) -> None:
    path = model / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [1, 7]}))


def with_other_rounding(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 1e-3}))


CHANGES = [
    (with_a_template, r"another chat template \(then none, now sha256:[0-9a-f]{16}\)"),
    (with_other_weights, r"other weights \(then sha256:[0-9a-f]{16}, now sha256:[0-9a-f]{16}\)"),
    (with_another_tokenizer, r"other token ids of its prompts \(then sha256:"),
    (with_another_end, r"other end-of-rollout tokens \(then \[1\], now \[1, 7\]\)"),
    (with_other_rounding, r"another config\.json \(then sha256:"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
@pytest.mark.parametrize("kept", [False, True])
def test_a_cell_is_not_continued_with_a_model_that_was_changed_under_its_name(
    tmp_path: Path, change: Callable[[Path], None], message: str, kept: bool
) -> None:
    model = shutil.copytree(TINY, tmp_path / "tiny")
    options = small(tmp_path, alphas=(0.0, 1.0), noquestions=True)
    del options["questions"]
    if kept:
        with interrupted_at(2), pytest.raises(KeyboardInterrupt):
            run(str(model), **options)
    else:
        run(str(model), **options)
    change(model)
    before = contents(tmp_path / "out")
    cell, give = re.escape(str(tmp_path / "out" / CELL)), "use that, or another output folder"
    for dry in (False, True):
        with pytest.raises(UsageError, match=f"^{cell}: was begun with {message}.*: {give}$"):
            run(str(model), **{**options, "alphas": (0.0, 1.0, 2.0)}, dry=dry)
    assert contents(tmp_path / "out") == before


def older_cell(whole: Path, folder: Path) -> Path:
    """Copy a cell in the form recorded before identities."""
    cell = shutil.copytree(whole / "out" / CELL, folder / "older" / CELL)
    calib = calib_of(cell)
    del calib["measured_with"]["identity"], calib["measured_with"]["end_ids"]
    (cell / "calib.json").write_text(json.dumps(calib, indent=2))
    return cell


def test_a_cell_without_identities_is_continued(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = older_cell(whole, tmp_path)
    before = calib_of(cell)
    options = {**small(tmp_path, alphas=(0.0, 1.0, 2.0, 4.0)), "out": cell.parent}
    assert run(str(TINY), **options) == [cell]
    assert caplog.messages == []
    assert calib_of(cell) == before
    assert list(kl_of(cell)) == ["0.0", "1.0", "2.0", "4.0"]


def test_a_cell_without_identities_is_not_continued_with_other_prompts(
    whole: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(TINY, tmp_path / "tiny")
    cell = older_cell(whole, tmp_path)
    with_a_template(model)
    with pytest.raises(UsageError, match="was begun with other token ids of its prompts"):
        run(str(model), **{**small(tmp_path), "out": cell.parent})


def test_a_cell_without_end_tokens_is_continued_with_the_original_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = saved_model("llama", tmp_path)
    options = small(tmp_path, target_kl=0.01, alphas=(1.0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isoklx.engine.chat.turn_end_id", lambda _: None)
        (cell,) = run(str(model), **options)
    calib = calib_of(cell)
    assert calib["measured_with"].pop("end_ids") == [1, 2]
    del calib["measured_with"]["identity"]
    (cell / "calib.json").write_text(json.dumps(calib, indent=2))
    caplog.clear()
    run(str(model), **{**options, "alphas": (1.0, 2.0)})
    name = "llama_mean_diff_s0_w8"
    assert (
        f"{name}: continues as it was begun, when <|im_end|> did not end a rollout"
        in caplog.messages
    )
    assert "end_ids" not in calib_of(cell)["measured_with"]


def test_a_model_is_reloaded_in_the_same_process_if_its_files_have_changed(
    tmp_path: Path,
) -> None:
    model = shutil.copytree(TINY, tmp_path / "tiny")
    plan = CellPlan(str(model), "mean_diff", 0, "+", Settings())
    loaded = runs._loaded(plan)
    assert runs._loaded(plan) is loaded
    with_other_weights(model)
    assert runs._loaded(plan).identity != loaded.identity


@contextmanager
def interrupted_at(batch: int) -> Iterator[None]:
    """Send Ctrl-C during one of the batches."""
    roll_out, count = pipeline.roll_out, 0

    def stopping(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == batch:
            raise KeyboardInterrupt
        return roll_out(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "roll_out", stopping)
        yield


def test_ctrl_c_in_a_notebook_is_an_interrupt_and_the_next_call_resumes(
    whole: Path, tmp_path: Path
) -> None:
    with interrupted_at(4), pytest.raises(KeyboardInterrupt):
        run(str(TINY), **small(tmp_path))
    assert not list(tmp_path.rglob(".*"))
    # It keeps its original batch, whatever fits into memory now.
    run(str(TINY), **{**small(tmp_path), "batch": None})
    theirs = contents(whole / "out")
    assert contents(tmp_path / "out") == theirs


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    with interrupted_at(1), pytest.raises(KeyboardInterrupt):
        run(str(TINY), **small(tmp_path))
    before = contents(tmp_path / "out")
    with pytest.raises(MeasureError) as error:
        run(str(TINY), **small(tmp_path, target_kl=2.0))
    kept = tmp_path / "out" / "_measuring" / CELL
    assert str(error.value) == (
        f"{kept}: was begun with target_kl 1.0, and not 2.0; remove it to start over"
    )
    assert contents(tmp_path / "out") == before


def test_checkpoints_of_a_complete_cell_are_removed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("isoklx.engine.checkpoints.KeptBatches.remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(str(TINY), **small(tmp_path))
    assert (tmp_path / "out" / "_measuring" / CELL).is_dir()
    run(str(TINY), **small(tmp_path))
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_a_calibration_that_failed_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="calibration did not converge"):
        run(str(TINY), **small(tmp_path, target_kl=1e3))
    run(str(TINY), **small(tmp_path, alphas=(1.0,)))


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit files to `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 1500, 3000])
def test_a_full_disk_is_one_line_and_keeps_existing_files(
    whole: Path, tmp_path: Path, size: int
) -> None:
    options = small(tmp_path)
    error = None
    with room_for(size):
        try:
            run(str(TINY), **options)
        except BuildError as raised:
            error = str(raised)
    assert error is not None
    assert error.startswith(str(options["out"]))
    assert error.endswith(": cannot be written: File too large")
    run(str(TINY), **options)
    assert contents(options["out"]) == contents(whole / "out")


def test_a_cell_of_another_run_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = small(tmp_path, alphas=(1.0,), method=("mean_diff", "pca"))
    options["out"].mkdir()
    has, done = threading.Event(), threading.Event()

    def somebody() -> None:
        with claimed(options["out"] / CELL):
            has.set()
            done.wait()

    thread = threading.Thread(target=somebody)
    thread.start()
    has.wait()
    try:
        with pytest.raises(MeasureError, match=f"1 of 2 cells is not complete: {CELL}"):
            run(str(TINY), **options)
    finally:
        done.set()
        thread.join()
    assert caplog.messages == [f"{options['out'] / CELL}: another run is making this cell"]
    assert [path.name for path in options["out"].iterdir()] == ["tiny_pca_s0_w8"]


def test_a_hybrid_with_a_cropped_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isoklx.engine.caches import Contexts
    from tests.engine.test_selftests import cropping

    monkeypatch.setattr(Contexts, "branch", cropping)
    monkeypatch.setattr(context, "self_test", self_test)
    with pytest.raises(
        MeasureError, match="rollouts with a cache differ from a recomputation without one"
    ):
        run(str(saved_model("qwen3_5", tmp_path)), **small(tmp_path, target_kl=0.01))
    assert not (tmp_path / "out").exists()
