"""Outputs that are symbolic links: people keep results on another disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoklx.cli.main import main
from isoklx.simulation.sweep import CellSpec, simulate


@pytest.mark.slow
def test_every_file_of_aggregate_that_is_a_link_stays_one_and_leads_to_the_new_content(
    tmp_path: Path,
) -> None:
    simulate(tmp_path / "runs", [CellSpec(window=64, prompts=4, seed=i) for i in range(2)])
    words = [
        "aggregate",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path / "figs"),
        "--format",
        "png",
    ]
    assert main(words) == 0
    made = sorted((tmp_path / "figs").iterdir())
    assert {path.suffix for path in made} == {".nc", ".png", ".csv", ".md", ".tex"}
    (tmp_path / "elsewhere").mkdir()
    expected = {}
    for path in made:
        target = tmp_path / "elsewhere" / path.name
        if path.suffix != ".nc":
            expected[target] = path.read_bytes()
        path.rename(target)
        if path.suffix != ".nc":
            target.write_text("old")
        path.symlink_to(target)
    assert main(words) == 0
    assert sorted((tmp_path / "figs").iterdir()) == made
    assert all(path.is_symlink() for path in made)
    assert {target: target.read_bytes() for target in expected} == expected
    assert len([*(tmp_path / "elsewhere").iterdir()]) == len(made)
