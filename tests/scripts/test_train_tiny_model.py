"""The script that trains the tiny model: the same steps give the same model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra `run`")
pytest.importorskip("transformers", reason="needs the extra `run`")

from scripts import train_tiny_model


@pytest.mark.slow
def test_the_same_steps_give_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_tiny_model, "STEPS", 12)
    monkeypatch.setattr(train_tiny_model, "BATCH", 2)
    for folder in ("first", "second"):
        train_tiny_model.main(tmp_path / folder)
    loss, stored = re.findall(r"loss ([\d.]+), as stored ([\d.]+)", capsys.readouterr().out)[-1]
    assert float(stored) == pytest.approx(float(loss), abs=1e-3)
    files = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "pairs.jsonl"} <= set(files)
    for name, content in files.items():
        assert (tmp_path / "second" / name).read_bytes() == content, name
