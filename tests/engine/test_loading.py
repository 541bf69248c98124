"""Models from folders, GGUF files and hubs, and errors for missing ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

import transformers as hf
from transformers.utils import logging

from isoklx.engine.loading import load_model, quiet
from isoklx.errors import MeasureError, UsageError
from tests.models.random_models import UNSTEERABLE, random_model, random_prompt
from tests.models.tiny_model import TINY


def test_a_loaded_model_is_in_evaluation_mode() -> None:
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
def test_the_precision_is_as_requested_or_float32_on_a_cpu(asked: str, precision: str) -> None:
    loaded = load_model(str(TINY), device="cpu", dtype=asked)
    assert loaded.made_with == {"dtype": precision, "device": "cpu", "attention": "sdpa"}


def test_a_model_whose_blocks_cannot_be_steered_is_refused_before_it_is_used(
    tmp_path: Path,
) -> None:
    config = hf.Gemma3nTextConfig(**UNSTEERABLE["Gemma3nTextConfig"])
    with quiet():
        hf.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        hf.AutoTokenizer.from_pretrained(str(TINY)).save_pretrained(tmp_path)
    with pytest.raises(MeasureError) as error:
        load_model(str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}: Gemma3nForCausalLM cannot be steered: the output of block 0 must be "
        "[row, token, hidden] [2, 3, 32], got [4, 2, 3, 32]"
    )


def test_a_model_whose_files_lack_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(TINY, tmp_path / "tiny")
    weights = load_file(model / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    del weights[name]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(MeasureError) as error:
        load_model(str(model))
    assert str(error.value) == (
        f"{model}: its files lack weights, which would be random: {name} (1 in all)"
    )


def test_messages_of_transformers_are_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(TINY))
    assert capfd.readouterr() == ("", "")


def failing_quietly() -> None:
    with quiet():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
        raise ZeroDivisionError


@pytest.mark.parametrize("bars", [True, False])
def test_verbosity_is_restored(bars: bool) -> None:
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


def test_a_gguf_file_loads_the_written_model_silently(
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
        ("./absent", "./absent: folder not found"),
        ("~/absent", "~/absent: folder not found"),
        ("a/b/c", "a/b/c: folder not found"),
        ("absent.gguf", "absent.gguf: not a folder, and cannot be loaded: "),
        ("absent", "absent: not a folder, and cannot be loaded: "),
    ],
)
def test_a_missing_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, MeasureError)) as error:
        load_model(name)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def from_an_empty_cache(tmp_path: Path, model: str, port: int) -> subprocess.CompletedProcess[str]:
    """A process that asks a hub on this machine."""
    cached = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1"}
    code = f"from isoklx.engine.loading import load_model; load_model({model!r})"
    return subprocess.run(
        [sys.executable, "-c", TIMED, code],
        cwd=tmp_path,
        env={**os.environ, **cached, **hub},
        capture_output=True,
        text=True,
        check=False,
    )


TIMED = """
import sys
from time import monotonic
import isoklx.engine.loading
begun = monotonic()
try:
    exec(sys.argv[1])
except Exception as error:
    print(error)
print(monotonic() - begun)
"""


@pytest.mark.parametrize("model", ["tiny2", "models/tinny"])
def test_without_a_network_a_misspelt_name_fails_fast_in_one_line(
    tmp_path: Path, model: str
) -> None:
    (tmp_path / "models").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # closed from now on
    done = from_an_empty_cache(tmp_path, model, port)
    said, seconds = done.stdout.splitlines()
    assert said.startswith(
        f"{model}: not a folder, and cannot be loaded: http://127.0.0.1:{port} cannot be reached: "
    )
    assert done.stderr == ""
    assert float(seconds) < 10  # not half a minute


COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """Serve the tiny model as org/tiny, as a hub does."""

    def do_GET(self) -> None:
        place, _, file = self.path.partition("/resolve/")
        content = TINY / file.partition("/")[2]
        if self.path == "/api/models/org/tiny":
            body: bytes | None = json.dumps({"id": "org/tiny", "sha": COMMIT}).encode()
        else:
            body = content.read_bytes() if place == "/org/tiny" and content.is_file() else None
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        if body is None:
            known = "Entry" if "/org/tiny" in self.path else "Repo"
            self.send_header("X-Error-Code", f"{known}NotFound")
        else:
            self.send_header("ETag", f'"{content.name}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_model_comes_from_a_hub_and_then_from_the_cache(tmp_path: Path, hub: int) -> None:
    done = from_an_empty_cache(tmp_path, "org/tiny", hub)
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stderr == ""
    again = from_an_empty_cache(tmp_path, "org/tiny", hub)
    assert len(again.stdout.splitlines()) == 1, again.stdout


def test_a_model_unknown_to_the_hub_is_one_line(tmp_path: Path, hub: int) -> None:
    done = from_an_empty_cache(tmp_path, "org/nothing", hub)
    said, _ = done.stdout.splitlines()
    assert said.startswith("org/nothing: not a folder, and cannot be loaded: org/nothing is not a")
    assert done.stderr == ""


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
