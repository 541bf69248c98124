"""The commands ``run`` and ``recheck``, on the tiny model."""

from __future__ import annotations

import inspect
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import isoklx
from isoklx import run
from isoklx.cli.main import main
from tests.conftest import PROJECT
from tests.engine.small_runs import small, words
from tests.models.saved_models import saved_model
from tests.models.tiny_model import TINY

CELL = "tiny_mean_diff_s0_w8"


def test_cell_is_made_rechecked_and_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = small(tmp_path, alphas=(0.0, 1.0))
    assert main(["run", str(TINY), *words(options)]) == 0
    cell = options["out"] / CELL
    said = capsys.readouterr()
    assert said.out == f"{cell}\n"
    # Standard error is not a terminal: each phase is a line, and none is overwritten.
    starts = [
        *(f"loading {TINY}", "finding the direction in 8 pairs", "estimating the first coeff"),
        *(
            "self-tests",
            "self-test passed: rows",
            "self-test passed: forks",
            "self-test passed: KL at coefficient 0 is",
        ),
        *("calibration, try 1: coefficient ", "calibrated: c_star is "),
        *("alpha 0", "alpha 1", "complete"),
    ]
    assert "\r" not in said.err
    first, template, *others = said.err.splitlines()
    assert template == f"{TINY}: no chat template: prompts are written as User:/Assistant:"
    for line, start in zip([first, *others], starts, strict=True):
        assert line.startswith(f"{CELL}: {start}")
    assert main(["recheck", str(cell)]) == 0
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["kind", "alpha", "prompt", "tokens", "kl", "pmass", "p_true"]
    assert [row.split()[0] for row in rows] == ["eval"] * 3 + ["qa"] * 3
    assert last.startswith("largest difference: ")
    report = isoklx.build(options["out"], tmp_path / "outputs.nc")
    assert not report.skipped
    assert not report.notes


def test_the_cells_of_a_dry_run_are_printed_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = small(tmp_path, method=("mean_diff", "pca"))
    assert main(["run", str(TINY), *words(options), "--dry"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{CELL}: at most ")
    assert second.startswith("tiny_pca_s0_w8: at most ")
    assert not options["out"].exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--method", "lda"],
            "--method takes mean_diff, pca, pca_centred or directional_ablation, ",
        ),
        (["--forks", "9"], "forks must be at most the window of 8 tokens, got 9"),
        (["--layer", "9"], "layer 9 not found: the model has blocks 0 to 3"),
        (["--dtype", "int8"], "--dtype takes auto, float32, bfloat16 or float16, not 'int8'"),
        (["--alphas", "1,1"], "alphas 1 and 1 are the same dose; give one of them"),
        (["--noquestions"], "questions must not be given with noquestions"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    options = small(tmp_path)
    options.pop(flags[0].removeprefix("--"), None)
    assert main(["run", str(TINY), *words(options), *flags]) == 2
    said = capsys.readouterr()
    *phases, line = said.err.splitlines()
    assert line.startswith(f"isoklx run: {message}")
    assert all(phase.startswith((f"{CELL}: ", f"{TINY}: no chat template")) for phase in phases)
    assert said.out == ""
    assert not options["out"].exists()


def test_cells_are_written_to_outputs_by_default() -> None:
    assert inspect.signature(run).parameters["out"].default == Path("outputs")


def shown(written: str) -> list[str]:
    """Return the lines that a terminal shows at the end."""
    lines = [""]
    for line in written.split("\n"):
        for piece in line.split("\r"):
            cleared = piece.removeprefix("\033[K")
            lines[-1] = cleared if piece != cleared else cleared + lines[-1][len(cleared) :]
        lines.append("")
    return [line for line in lines if line]


def test_terminal_shows_only_messages_of_the_run_and_removes_progress(
    tmp_path: Path,
) -> None:
    # A model for which transformers logs many hints on performance.
    model = saved_model("qwen3_5", tmp_path)
    options = small(tmp_path, target_kl=0.01, alphas=(1.0,))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "isoklx", "run", str(model), *words(options)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        written += piece
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    text = written.decode().replace("\r\n", "\n")
    assert process.returncode == 0, text
    name = "qwen3_5_mean_diff_s0_w8"
    assert out == f"{options['out'] / name}\n"
    assert f"% {name}: alpha 1" in text
    assert " left" in text
    lines = shown(text)
    assert len(lines) == 6
    assert lines[0].startswith(f"{model}: <|im_end|> ends a turn")
    assert all(line.startswith(f"{name}: ") and "% " not in line for line in lines[1:])
