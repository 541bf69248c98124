"""The simulated sample, and the same sweep made again with other settings and other numbers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

GONE = "simulated-8B_pca_s1_w64"
NEW = "simulated-8B_pca_s7_w64"
OTHER_LAYER = "simulated-1B_mean_diff_s0_w64"
UNCHANGED = "simulated-8B_mean_diff_s1_w64"
RECORDED = {"torch": "2.13.0", "sha256": {"prompts": "ab" * 32}, "layers": [3]}


def made_again(sample: Path, root: Path) -> Path:
    """Copy the sample's runs root, with a cell less, another one, and others changed."""
    shutil.copytree(sample, root)
    shutil.rmtree(root / GONE)
    shutil.copytree(root / UNCHANGED, root / NEW)
    edit(root / NEW / "calib.json", method="pca", seed=7)
    edit(root / OTHER_LAYER / "calib.json", layer=11, measured_with=RECORDED)
    luck = random.Random(0)
    for folder in sorted(root.iterdir()):
        if folder.name in (UNCHANGED, NEW):
            continue
        calib = json.loads((folder / "calib.json").read_text())
        edit(folder / "calib.json", c_star=calib["c_star"] * luck.uniform(0.5, 2))
        edit(folder / "pmass.json", pmass_eval=with_more_deaths(folder, luck))
        (folder / "results.csv").write_text(
            (folder / "results.csv").read_text().replace(",0.", ",1.")
        )
    return root


def with_more_deaths(folder: Path, luck: random.Random) -> dict[str, list[list[float]]]:
    """The answers at the prompts, some of which fail from some fork on."""
    answers = json.loads((folder / "pmass.json").read_text())["pmass_eval"]
    for alpha, rows in answers.items():
        for row in rows if float(alpha) else []:
            if luck.random() < 0.4:
                first = luck.randrange(len(row))
                row[first:] = [each if each != each else 0.2 for each in row[first:]]  # noqa: PLR0124
    return answers


def edit(path: Path, **entries: object) -> None:
    """Replace entries of a JSON object."""
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
