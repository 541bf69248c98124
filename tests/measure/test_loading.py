"""Models from folders, and what is said where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from transformers.utils import logging

from isoklx.errors import MeasureError, UsageError
from isoklx.measure.loading import load_model, quiet
from tests.models.random_models import random_model, random_prompt
from tests.models.tiny_model import TINY


def test_a_model_comes_ready_to_be_measured() -> None:
    loaded = load_model(str(TINY))
    assert loaded.name == str(TINY)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.commit is None
    assert loaded.tokenizer.decode(loaded.tokenizer("Is it?")["input_ids"]) == "Is it?"


@pytest.mark.parametrize(
    ("asked", "precision"),
    [("auto", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")],
)
def test_it_computes_in_what_is_asked_for_and_in_float32_on_a_cpu(
    asked: str, precision: str
) -> None:
    loaded = load_model(str(TINY), device="cpu", dtype=asked)
    assert loaded.made_with == {"dtype": precision, "device": "cpu", "attention": "sdpa"}


def test_what_transformers_says_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(TINY))
    assert capfd.readouterr() == ("", "")


def failing_quietly() -> None:
    with quiet():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
        raise ZeroDivisionError


@pytest.mark.parametrize("bars", [True, False])
def test_it_says_afterwards_what_it_said_before(bars: bool) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_info()
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        with pytest.raises(ZeroDivisionError):
            failing_quietly()
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled() == bars
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


def test_a_gguf_file_is_the_model_that_was_written_and_loads_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf", reason="needs the extra run")
    pytest.importorskip("accelerate", reason="needs the extra run")
    from tests.models.gguf_models import write_gguf

    written = random_model("llama")
    write_gguf(written, tmp_path / "f32.gguf")
    loaded = load_model(str(tmp_path / "f32.gguf"))
    assert capfd.readouterr() == ("", "")
    assert loaded.name == str(tmp_path / "f32.gguf")
    ids = torch.tensor([random_prompt(12)])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, written(ids).logits)
    assert loaded.tokenizer.decode(loaded.tokenizer("1+1!")["input_ids"]) == "1+1!"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./absent", "./absent: there is no such folder"),
        ("~/absent", "~/absent: there is no such folder"),
        ("a/b/c", "a/b/c: there is no such folder"),
        ("absent.gguf", "absent.gguf: is no folder, and cannot be loaded: "),
        ("absent", "absent: is no folder, and cannot be loaded: "),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, MeasureError)) as error:
        load_model(name)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_one_line(tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    (folder / file).write_bytes((folder / file).read_bytes()[:-500])
    with pytest.raises(MeasureError) as error:
        load_model(str(folder))
    assert str(error.value).startswith(f"{folder}: cannot be loaded: ")
    assert "\n" not in str(error.value)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "trap", "auto_map": {"AutoConfig": "trap.Trap"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'caught')!r}, 'w')\nclass Trap: pass\n")
    with pytest.raises(MeasureError, match="tiny: cannot be loaded: "):
        load_model(str(folder))
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_a_device_that_cannot_be_used_is_one_line(device: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(str(TINY), device=device)
    assert str(error.value).startswith(f"device {device!r} cannot be used: ")
    assert "\n" not in str(error.value)
