"""Identities by content: equal for copies, different if anything that decides a number differs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine import identity
from isoklx.engine.identity import difference, files_identity, files_now, model_identity
from tests.models.random_models import random_model
from tests.models.tiny_model import TINY


def of(folder: Path) -> dict[str, str]:
    return model_identity(str(folder), None, None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(TINY, tmp_path / "model")


def changed_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_the_identity_of_weights_is_the_sha256_of_their_file() -> None:
    expected = hashlib.sha256((TINY / "model.safetensors").read_bytes()).hexdigest()
    assert of(TINY)["weights"] == f"sha256:{expected[:16]}"


def test_a_copy_has_the_same_identity(model: Path) -> None:
    os.utime(model / "model.safetensors", (0, 0))
    assert of(model) == of(TINY)


def test_one_bit_changes_the_identity_of_weights(model: Path) -> None:
    changed_byte(model / "model.safetensors", -1)
    assert of(model)["weights"] != of(TINY)["weights"]
    assert of(model)["config"] == of(TINY)["config"]


def test_the_identity_of_a_configuration_covers_keys_that_decide_numbers(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())

    def written(**changes: object) -> str:
        (model / "config.json").write_text(json.dumps({**config, **changes}, indent=7))
        return of(model)["config"]

    assert written(transformers_version="9", dtype="bfloat16") == of(TINY)["config"]
    assert written(rms_norm_eps=1e-5) != of(TINY)["config"]


def test_each_shard_counts(tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path / "a", max_shard_size="100KB")
    shards = sorted((tmp_path / "a").glob("*.safetensors"))
    assert len(shards) > 1
    joined = b"".join(shard.read_bytes() for shard in shards)
    assert of(tmp_path / "a")["weights"] == f"sha256:{hashlib.sha256(joined).hexdigest()[:16]}"
    changed_byte(shards[-1], -1)
    assert of(tmp_path / "a")["weights"] != f"sha256:{hashlib.sha256(joined).hexdigest()[:16]}"


def test_weights_of_other_formats_and_adapters_count(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "weights" not in of(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"older")
    older = of(tmp_path)["weights"]
    assert older == f"sha256:{hashlib.sha256(b'older').hexdigest()[:16]}"
    (tmp_path / "adapter_model.safetensors").write_bytes(b"added")
    assert of(tmp_path)["weights"] != older
    (tmp_path / "model.safetensors").write_bytes(b"newer")  # takes precedence
    newer = hashlib.sha256(b"neweradded").hexdigest()
    assert of(tmp_path)["weights"] == f"sha256:{newer[:16]}"
    (tmp_path / "own.safetensors").write_bytes(b"named")
    (tmp_path / "config.json").write_text('{"transformers_weights": "own.safetensors"}')
    named = hashlib.sha256(b"namedadded").hexdigest()
    assert of(tmp_path)["weights"] == f"sha256:{named[:16]}"


def test_a_gguf_file_is_weights_and_configuration_in_one(tmp_path: Path) -> None:
    (tmp_path / "q4.gguf").write_bytes(b"GGUF")
    found = model_identity(str(tmp_path), "q4.gguf", None)
    assert found == {"weights": f"sha256:{hashlib.sha256(b'GGUF').hexdigest()[:16]}"}


def test_large_weights_are_sampled_and_marked_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, size = tmp_path / "w", 3 * 2**20 + 5000
    file.write_bytes(bytes(size))
    monkeypatch.setattr(identity, "WHOLE", size)
    assert files_identity([file]).startswith("sha256:")
    monkeypatch.setattr(identity, "WHOLE", size - 1)
    sampled = files_identity([file])
    assert sampled.startswith("sampled:")
    for place in (0, 2**20, 3 * 2**20 + 4095, size - 1):
        changed_byte(file, place)
        assert files_identity([file]) != sampled
        changed_byte(file, place)
    os.utime(file, (0, 0))
    assert files_identity([file]) == sampled
    # A matrix that was trained differs everywhere, and any MiB of it has a sample.
    content = bytearray(file.read_bytes())
    content[5000 : 5000 + 2**20] = bytes([1]) * 2**20
    file.write_bytes(content)
    assert files_identity([file]) != sampled
    file.write_bytes(bytes(size + 1))
    assert files_identity([file]) != sampled


def test_replaced_files_are_detected_and_a_name_on_a_hub_lacks_files(model: Path) -> None:
    before = files_now(str(model))
    assert files_now(str(model)) == before
    (model / "chat_template.jinja").write_text("")
    assert files_now(str(model)) != before
    assert files_now("org/model") == ()
    assert files_now(str(model / "model.safetensors")) == files_now(str(model))


def test_a_difference_is_described_by_its_likeliest_cause() -> None:
    before = {"chat_template": "none", "prompt_ids": "sha256:1", "end_ids": [1]}
    assert difference(before, before) == ""
    assert difference({}, before) == difference(before, {}) == ""
    now = {"prompt_ids": "sha256:2", "chat_template": "sha256:3", "end_ids": [1, 3]}
    assert difference(before, now) == "another chat template (then none, now sha256:3)"
    now["chat_template"] = "none"
    assert difference(before, now) == (
        "other token ids of its prompts (then sha256:1, now sha256:2)"
    )
    now["prompt_ids"] = "sha256:1"
    assert difference(before, now) == "other end-of-rollout tokens (then [1], now [1, 3])"
