"""The measured sweep of the tiny model in data/, which the README begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import isoklx
from isoklx.sweeps.verification import verify

MEASURED = Path(__file__).resolve().parents[1] / "data" / "measured"


def test_it_is_built_and_verified_without_a_note(tmp_path: Path) -> None:
    report = isoklx.build(MEASURED, tmp_path / "measured.nc")
    assert len(report.read) == 3
    assert not report.skipped
    assert not report.notes
    assert not verify(tmp_path / "measured.nc", MEASURED)


def test_it_shows_that_a_model_moves_away_and_dies_as_the_dose_grows() -> None:
    ds = isoklx.open_sweep(MEASURED)
    kl = ds.kl.quantile(0.95, dim=["prompt", "token"]).transpose("cell", "alpha")
    assert (kl.diff("alpha").sel(alpha=slice(0.75, 1.5)) > 0).all()
    np.testing.assert_allclose(kl.sel(alpha=1.0), ds.target_kl, rtol=0.3)
    assert float(ds.kl.sel(alpha=0.0).where(ds.method != "directional_ablation").max()) < 1e-6
    pmass = ds.pmass_eval.mean(["prompt", "fork"])
    assert (pmass.sel(alpha=0.0) > 0.95).all()
    assert (pmass.sel(alpha=4.0) < 0.5).all()


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in MEASURED.rglob("*")) < 2e6


@pytest.mark.parametrize("method", ["mean_diff", "directional_ablation"])
def test_its_numbers_are_found_again_by_a_plain_loop(method: str) -> None:
    pytest.importorskip("torch", reason="models run in torch")
    pytest.importorskip("transformers", reason="models are those of transformers")
    from isoklx import recheck

    tiny = str(MEASURED.parents[1] / "tests" / "models" / "tiny")
    found = recheck(MEASURED / f"tiny_{method}_s0_w48", samples=2, model=tiny)
    assert found[["kl", "pmass", "p_true"]].max().max() < 1e-4
