"""Put known faults back into the code, one at a time, and check that the tests fail each time.

python scripts/mutations.py [CASE ...]

Each fault once gave wrong numbers without a message. A copy of the checkout is changed, not the
checkout itself. The exit status is 1 if the tests pass despite a fault.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutation:
    """A fault: text of a file, the text that stood there instead, and tests that must fail."""

    case: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "rows of a vector file numbered from 0 although the first is the embeddings",
        "isoklx/engine/vectors.py",
        'dict(enumerate(rows[1:])), "depth + 1"',
        'dict(enumerate(rows)), "depth + 1"',
        ("tests/engine/test_vectors.py",),
    ),
    Mutation(
        "digits at the end of an array's name taken for a layer",
        "isoklx/engine/vector_files.py",
        r're.search(r"layer|block|[-+.]\d|^\d+$", first, re.IGNORECASE)',
        r're.search(r"\d$", first)',
        ("tests/engine/test_vectors.py",),
    ),
    Mutation(
        "any number of unnamed arrays taken for layers",
        "isoklx/engine/vectors.py",
        "if found.one_per_block and len(found.vectors) != depth:",
        "if False:",
        ("tests/engine/test_vectors.py",),
    ),
    Mutation(
        "a cell continued with other weights, templates or token ids",
        "isoklx/engine/identity.py",
        "if key in before and key in now and before[key] != now[key]:",
        "if False:",
        ("tests/engine/test_run.py", "-k", "changed_under_its_name"),
    ),
    Mutation(
        "doses of one cell given different prompts",
        "isoklx/cells/rollout_checks.py",
        "if own == kind and len(doses) > 1:",
        "if False:",
        ("tests/sweeps/test_verification.py",),
    ),
    Mutation(
        "the end of an answer searched for in the rendered text",
        "isoklx/engine/chat.py",
        "text if closed else around[0] + content",
        "text if closed else text[: text.rfind(content) + len(content)]",
        ("tests/engine/test_chat.py",),
    ),
    Mutation(
        "both sides of a direction pooled",
        "isoklx/stats/groups.py",
        "return [*names, *(name for name in kept if count([*names, name]) > count(names))]",
        "return names",
        ("tests/test_pooling.py",),
    ),
    Mutation(
        "cells of different sides taken for duplicates",
        "isoklx/stats/deduplication.py",
        "APART = (*LABELS, *schema.SPLIT)",
        "APART = LABELS",
        ("tests/test_pooling.py",),
    ),
    Mutation(
        "alpha 0 pooled over cells before it is subtracted",
        "isoklx/stats/answer_changes.py",
        'change = (p_true - base).astype(np.float64).mean("fork")',
        'change = (p_true - base.mean("cell")).astype(np.float64).mean("fork")',
        ("tests/stats/test_dose_response.py",),
    ),
    Mutation(
        "the smallest dose taken as the base where there is no alpha 0",
        "isoklx/stats/answer_changes.py",
        'if zero.size else p_true.sum("alpha") * np.nan',
        "if zero.size else p_true.isel(alpha=0, drop=True)",
        ("tests/stats/test_dose_response.py",),
    ),
    Mutation(
        "a bias to yes counted as right answers",
        "isoklx/stats/answer_changes.py",
        "toward = change * (2 * answer - 1)",
        "toward = change + 0 * answer",
        ("tests/stats/test_dose_response.py",),
    ),
    Mutation(
        "negative doses tested from the most negative upwards",
        "isoklx/stats/safety.py",
        '(("+", alphas >= 0), ("-", alphas <= 0))',
        '(("+", alphas > -np.inf),)',
        ("tests/stats/test_safety.py",),
    ),
    Mutation(
        "a dose called safe that was probed at token 0 only",
        "isoklx/stats/safety.py",
        'probed = (doses["unprobed"].values == 0) & (doses["probed"].values > 0)',
        "probed = np.ones(alphas.shape, dtype=bool)",
        ("tests/stats/test_safety.py",),
    ),
    Mutation(
        "survival carried forward where no trajectory is at risk",
        "isoklx/stats/kernels/kaplan_meier.py",
        "survival[(at_risk == 0) & (survival > 0)] = np.nan",
        "survival[at_risk[..., :1].squeeze(-1) == 0] = np.nan",
        ("tests/stats/test_survival.py", "tests/stats/kernels/test_kaplan_meier.py"),
    ),
    Mutation(
        "survival read off at a horizon that was not observed",
        "isoklx/stats/endpoint.py",
        'return found.where(curves["observed_to"] >= curves["horizon"])',
        "return found",
        ("tests/stats/test_survival.py",),
    ),
    Mutation(
        "held-out p95 reported where the calibration aims at another statistic",
        "isoklx/stats/heldout.py",
        'if stat == "p95":',
        "if stat:",
        ("tests/stats/test_dose_response.py",),
    ),
)


def survives(mutation: Mutation, checkout: Path) -> bool:
    """Return whether the tests pass although the fault is in the code of a checkout."""
    path = checkout / mutation.file
    text = path.read_text()
    path.write_text(text.replace(mutation.right, mutation.wrong))
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *mutation.tests],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.case}: the tests did not run:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main(words: list[str]) -> int:
    """Try the faults whose case contains one of the words, or all."""
    ignored = shutil.ignore_patterns(".git", ".venv*", "*_cache", "__pycache__", "_build")
    survivors = 0
    with TemporaryDirectory(prefix="isoklx-mutations-") as folder:
        checkout = Path(shutil.copytree(PROJECT, Path(folder) / "isoklx", ignore=ignored))
        for mutation in MUTATIONS:
            if words and not any(word in mutation.case for word in words):
                continue
            alive = survives(mutation, checkout)
            survivors += alive
            print(f"{'SURVIVES' if alive else 'caught':9} {mutation.case}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
