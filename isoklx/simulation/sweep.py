"""A seeded sweep of any size in the exact cell format, for tests, examples and benchmarks."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from isoklx.cells.json_text import pretty
from isoklx.cells.summaries import RESULTS_HEADER, Floats, p95_over_prompts, results_line
from isoklx.errors import UsageError
from isoklx.simulation.rollouts import (
    LARGEST_KL,
    Draws,
    Rollouts,
    calibrate,
    generations,
)
from isoklx.system.paths import as_path

Ending = Literal["nan", "null", "short"]
Lack = Literal["sweep", "kl", "pmass"]

LAYER = 14


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """What one simulated cell is, and in which of the format's spellings it is written.

    Parameters
    ----------
    model, method, seed, window
        Labels of the cell; `run_id` is made of them.
    alphas : tuple of float or str
        Doses. A string is the JSON key as it stands (``"1"``), a float is written ``"1.0"``.
    prompts, questions : int
        Number of held-out prompts and of yes/no questions. No questions are skipped questions:
        the file lists their texts, and holds ``[]`` at every alpha.
    forks : tuple of int, optional
        Fork points in tokens; by default 0 and 13 geometric steps from 1 to `window`.
    target_kl : float
        KL in nats that the calibration aims at.
    ends_early : float
        Probability, in [0, 1), that a rollout which does not collapse ends before `window`.
    repeats : int, optional
        The seed whose draws this cell has, as greedy decoding makes seeds repeat each other.
        By default its own.
    ending : {"nan", "null", "short"}
        How what follows a rollout's end is written: a bare ``NaN``, ``null``, or (for KL; pmass
        stays ``NaN``) a shorter row.
    lacks : {"sweep", "kl", "pmass"}, optional
        What the folder lacks: the whole sweep (``calib.json`` alone), per-token KL (an old
        ``trajectory.json``), or pmass (``computed: false`` and no values).
    texts : bool
        Whether there is a ``gens.jsonl``, with the tokens of every rollout from a prompt.
    sign : {"+", "-"}
        Side of the direction; each has draws of its own.

    Raises
    ------
    UsageError
        When a value is out of range.

    Examples
    --------
    >>> CellSpec(model="example/simulated-1B", method="pca", seed=2, window=16).run_id
    'simulated-1B_pca_s2_w16'
    """

    model: str = "example/simulated-1B"
    method: str = "pca"
    seed: int = 0
    window: int = 64
    alphas: tuple[float | str, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    prompts: int = 8
    questions: int = 4
    forks: tuple[int, ...] | None = None
    target_kl: float = 1.0
    ends_early: float = 0.2
    repeats: int | None = None
    ending: Ending = "nan"
    lacks: Lack | None = None
    texts: bool = False
    sign: Literal["+", "-"] = "+"

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("prompts", 1), ("questions", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: give at least {least}")
        if not 0 <= self.ends_early < 1:
            raise UsageError(f"ends_early={self.ends_early}: give a probability in [0, 1)")
        if not 0 < self.target_kl < LARGEST_KL:
            raise UsageError(f"target_kl={self.target_kl}: give nats between 0 and {LARGEST_KL}")
        for alpha in self.alphas:
            if not _is_finite(alpha):
                raise UsageError(f"alphas: {alpha!r} is not a finite number")
        if self.ending not in get_args(Ending):
            raise UsageError(f"ending={self.ending!r}: give one of {get_args(Ending)}")
        if self.lacks not in (None, *get_args(Lack)):
            raise UsageError(f"lacks={self.lacks!r}: give None or one of {get_args(Lack)}")

    @property
    def run_id(self) -> str:
        """Name of the cell's folder."""
        short = self.model.rpartition("/")[2]
        side = "_neg" if self.sign == "-" else ""
        return f"{short}_{self.method}{side}_s{self.seed}_w{self.window}"

    @property
    def fork_points(self) -> list[int]:
        """Fork points in tokens, ascending."""
        if self.forks is not None:
            return list(self.forks)
        return [0, *np.unique(np.round(np.geomspace(1, self.window, 13)).astype(int)).tolist()]


def grid(
    models: Sequence[str] = ("example/simulated-1B",),
    methods: Sequence[str] = ("pca", "mean_diff"),
    seeds: Sequence[int] = (0, 1),
    windows: Sequence[int] = (64,),
    *,
    repeat_seeds: bool = False,
    **fields: Any,
) -> list[CellSpec]:
    """Every combination of models, methods, seeds and windows, alike in all else.

    Parameters
    ----------
    models, methods, seeds, windows : sequence
        What the cells differ in.
    repeat_seeds : bool
        Whether all seeds have the draws of the first one.
    **fields
        Further fields of `CellSpec`, the same for every cell.

    Examples
    --------
    >>> [cell.run_id for cell in grid(methods=["pca"], seeds=[0, 1], prompts=2)]
    ['simulated-1B_pca_s0_w64', 'simulated-1B_pca_s1_w64']
    """
    if repeat_seeds:
        fields["repeats"] = seeds[0]
    return [
        CellSpec(model=model, method=method, seed=seed, window=window, **fields)
        for model, method, seed, window in itertools.product(models, methods, seeds, windows)
    ]


def sample(**fields: Any) -> list[CellSpec]:
    """Twelve cells that show what there is: two models, three methods, two seeds, and texts.

    Seed 1 of method "pca" repeats seed 0 to the byte, as greedy decoding does, so that ten of the
    twelve are distinct. ``data/sample`` is made of them.

    Parameters
    ----------
    **fields
        Fields of `CellSpec`, the same for every cell.

    Examples
    --------
    >>> len(sample()), sample(window=16)[1].run_id
    (12, 'simulated-1B_pca_s1_w16')
    """
    models = ["example/simulated-1B", "example/simulated-8B"]
    return [
        replace(cell, texts=True, **fields)
        for cell in [
            *grid(models, ["pca"], repeat_seeds=True),
            *grid(models, ["mean_diff", "directional_ablation"]),
        ]
    ]


def simulate(
    root: str | Path, cells: Iterable[CellSpec] | None = None, *, seed: int = 0
) -> list[Path]:
    """Write one folder per cell under `root`, in the format of a measured sweep.

    The bytes are a function of the arguments. A cell's content does not depend on the other
    cells, nor that of an alpha on the cell's other alphas.

    Parameters
    ----------
    root : path
        The runs root; made when absent.
    cells : iterable of CellSpec, optional
        The cells; by default four, of methods pca and mean_diff and seeds 0 and 1 of one model.
    seed : int
        Seed of the whole sweep, over and above the seed that labels a cell.

    Returns
    -------
    list of Path
        The folders, in the order of `cells`.

    Raises
    ------
    UsageError
        When a cell's folder already exists.

    Notes
    -----
    A model of what such sweeps look like, not of why. Every value is rounded to float32, as
    measured ones are.

    *Dose.* A cell has a latent coefficient u, lognormal around 2 (sd 0.4 in log between methods
    and models, 0.05 between seeds). The dose is d = coeff / u.

    *KL.* Per token, log KL is normal around a level that grows as 1.5 log d: an AR(1) along the
    tokens (sd 1.2, autocorrelation 0.5) plus one effect per prompt (sd 0.3, shared by all doses).
    At a fifth of the tokens, where both models are certain, KL is a million times smaller. The
    level makes the 95th percentile ``target_kl * d**1.5``. A collapsed token has instead KL around
    six times the target (sd 0.4 in log). Then KL saturates as x / (1 + x / 20), and rounding of
    sd 5e-8 is added, which makes some of the smallest values negative. Dose 0 has KL 0.0 exactly.

    *Collapse.* A rollout collapses after an exponential time, at the rate
    r = (d / 2.3)**8 per window: hardly ever at d = 1, at once and for all at d = 4. With
    probability 0.5 / (1 + r) it recovers for good after an exponential time of a quarter window.

    *End.* A rollout ends (EOS) with a constant hazard per token, such that `ends_early` of them end
    within the window; a collapsed rollout does not end. `gen_len` is at least 1.

    *pmass.* The logit is 5.5 - 0.6 d, plus an effect per prompt (sd 0.5) and noise (sd 0.3); from
    the collapse on it goes to -3 exponentially, with a time constant of 1/32 window. It is defined
    at forks up to `gen_len`. The share of ``p_true`` in it has a logit around 2 or -2 (sd 1),
    as the question's answer is true or false; every other question's is true.

    *Calibration.* Four further prompts, as one field of KL whose p95 (before saturation) is
    ``target_kl * d**1.5`` exactly. From 0.4 the coefficient is doubled until p95 exceeds the
    target, then multiplied by ``(target_kl / p95)**(1 / 1.5)`` until p95 is within 2% of it. That
    is `c_star`; ``coeff = alpha * c_star``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     folder, *_ = simulate(root, [CellSpec(method="pca", window=16, prompts=2)])
    ...     print(folder.name, sorted(path.name for path in folder.iterdir()))
    simulated-1B_pca_s0_w16
    ['calib.json', 'history.json', 'pmass.json', 'results.csv', 'trajectory.json']
    """
    return [_write_cell(as_path(root), spec, seed) for spec in (grid() if cells is None else cells)]


def _is_finite(text: float | str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _write_cell(root: Path, spec: CellSpec, seed: int) -> Path:
    folder = root / spec.run_id
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder} already exists: remove it, or give another root") from None

    drawn = spec.seed if spec.repeats is None else spec.repeats
    side = ("-",) if spec.sign == "-" else ()
    draws = Draws((seed, spec.model, spec.method, *side), drawn, spec.window)
    history = calibrate(draws, spec.window, spec.target_kl, sign=-1.0 if side else 1.0)
    c_star = history[-1]["coeff"]
    (folder / "calib.json").write_text(pretty(_calib(spec, c_star)))
    if spec.lacks == "sweep":
        return folder

    prompts = _rollouts(spec, draws, "prompt", spec.prompts, c_star)
    questions = _rollouts(spec, draws, "question", spec.questions, c_star)
    kl = {key: rollouts.kl() for key, rollouts in prompts.items()}
    (folder / "history.json").write_text(pretty(history))
    for name, record in (
        ("trajectory.json", _trajectory(spec, prompts, kl)),
        ("pmass.json", _pmass(spec, prompts, questions)),
    ):
        text = pretty(record)
        (folder / name).write_text(text.replace("NaN", "null") if spec.ending == "null" else text)
    (folder / "results.csv").write_text(_results(c_star, kl), newline="")
    if spec.texts:
        (folder / "gens.jsonl").write_text(_generations(draws, prompts, c_star), newline="")
    return folder


def _rollouts(
    spec: CellSpec, draws: Draws, kind: str, count: int, c_star: float
) -> dict[str, Rollouts]:
    return {
        key if isinstance(key, str) else repr(float(key)): Rollouts(
            draws,
            kind,
            float(key),
            float(key) * c_star,
            count=count,
            window=spec.window,
            target_kl=spec.target_kl,
            ends_early=spec.ends_early,
        )
        for key in spec.alphas
    }


def _calib(spec: CellSpec, c_star: float) -> dict[str, Any]:
    return {
        "c_star": c_star,
        "target_kl": spec.target_kl,
        "window": spec.window,
        "method": spec.method,
        "model": spec.model,
        "seed": spec.seed,
        "layer": LAYER,
    }


def _trajectory(
    spec: CellSpec, prompts: dict[str, Rollouts], kl: dict[str, Floats]
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "fork_points_full": list(range(spec.window)),
        "per_t_p95_kl": {key: p95_over_prompts(rows).tolist() for key, rows in kl.items()},
    }
    if spec.lacks == "kl":
        return record
    rows = {key: values.tolist() for key, values in kl.items()}
    if spec.ending == "short":
        rows = {
            key: [row[:end] for row, end in zip(rows[key], rollout.gen_len, strict=True)]
            for key, rollout in prompts.items()
        }
    return {**record, "per_prompt_per_t_kl": rows}


def _pmass(
    spec: CellSpec, prompts: dict[str, Rollouts], questions: dict[str, Rollouts]
) -> dict[str, Any]:
    if spec.lacks == "pmass":
        prompts = questions = {}
    asked = {key: rollout.interrogate(spec.fork_points) for key, rollout in prompts.items()}
    quizzed = {key: rollout.interrogate(spec.fork_points) for key, rollout in questions.items()}

    def by_alpha(field: str) -> dict[str, Any]:
        return {key: answers[field] for key, answers in quizzed.items()}

    return {
        "fork_points": spec.fork_points,
        "pmass": by_alpha("pmass"),
        "pmass_eval": {key: answers["pmass"] for key, answers in asked.items()},
        "p_true": by_alpha("p_true"),
        "argmax_str": by_alpha("argmax_str"),
        "was_thinking": by_alpha("was_thinking"),
        "answer_label": by_alpha("answer_label"),
        "gen_lens_qa": {key: rollout.gen_len.tolist() for key, rollout in questions.items()},
        "gen_lens_eval": {key: rollout.gen_len.tolist() for key, rollout in prompts.items()},
        "debug_first": {
            key: {
                "eval": {
                    "prompt": "A simulated prompt.",
                    "gen_text": "A simulated rollout.",
                    "gen_len": prompts[key].gen_len.tolist()[0],
                    "pmass_per_fork": answers["pmass"][0],
                    "p_true_per_fork": answers["p_true"][0],
                    "argmax_per_fork": answers["argmax_str"][0],
                }
            }
            for key, answers in asked.items()
        },
        "prefill": '\n{"choice": ',
        "schema": 'Simulated. Answer only with {"choice": true} or {"choice": false}.',
        # A run that skips its questions still lists them.
        "questions": [f"Is simulated statement {i} true?" for i in range(spec.questions or 8)],
        **_answer_key(questions),
        "computed": spec.lacks != "pmass",
    }


def _answer_key(questions: dict[str, Rollouts]) -> dict[str, list[bool]]:
    """Right answers, which are the same at each dose; nothing where no questions were asked."""
    for rollouts in questions.values():
        if rollouts.answers:
            return {"answer_key": rollouts.answers}
    return {}


def _generations(draws: Draws, prompts: dict[str, Rollouts], c_star: float) -> str:
    lines = [
        json.dumps(line)
        for key, rollouts in prompts.items()
        for line in generations(
            draws, float(key), float(key) * c_star, rollouts.gen_len, rollouts.collapsed
        )
    ]
    return "\n".join([*lines, ""])


def _results(c_star: float, kl: dict[str, Floats]) -> str:
    lines = [results_line(float(key), c_star, rows) for key, rows in kl.items()]
    return "\r\n".join([RESULTS_HEADER, *lines, ""])
