"""The commands that run models, on the tiny one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import isoklx
from isoklx.cli.main import main
from tests.models.tiny_model import TINY

SMALL = ["--window", "12", "--alphas", "0,1", "--forks", "4", "--noquestions"]


def test_a_cell_is_made_checked_and_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "outputs"
    main(["run", str(TINY), "--method", "mean_diff", "--out", str(out), *SMALL])
    cell = out / "tiny_mean_diff_s0_w12"
    assert capsys.readouterr().out == f"{cell}\n"
    main(["recheck", str(cell)])
    assert "largest difference: " in capsys.readouterr().out
    report = isoklx.build(out, tmp_path / "outputs.nc")
    assert not report.skipped
    assert not report.notes
