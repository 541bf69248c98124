"""Simulated sweeps of any size in the exact cell format, reproducible from a seed."""

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
    """A simulated cell and the variant of the file format in which it is written.

    Parameters
    ----------
    model, method, seed, window
        Labels of the cell, which determine `run_id`.
    alphas : tuple of float or str
        Doses. A string is the JSON key as it stands (``"1"``), a float is written ``"1.0"``.
    prompts, questions : int
        Number of held-out prompts and of yes/no questions. With 0 questions, they are skipped: the
        file lists their texts, with ``[]`` at every alpha.
    forks : tuple of int, optional
        Fork points in tokens; by default 0 and 13 geometric steps from 1 to `window`.
    target_kl : float
        Target of the calibration, in nats.
    ends_early : float
        Probability, in [0, 1), that a rollout without collapse ends before `window`.
    repeats : int, optional
        Seed whose draws this cell duplicates, as happens under greedy decoding; by default its
        own.
    ending : {"nan", "null", "short"}
        Values after a rollout's end: a bare ``NaN``, ``null``, or a shorter row (for KL; pmass
        stays ``NaN``).
    lacks : {"sweep", "kl", "pmass"}, optional
        Missing part: the whole sweep (``calib.json`` alone), per-token KL (an old
        ``trajectory.json``), or pmass (``computed: false`` without values).
    texts : bool
        Write ``gens.jsonl`` with the tokens of every rollout from a prompt.
    sign : {"+", "-"}
        Side of the direction; each has its own draws.

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
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.ends_early < 1:
            raise UsageError(f"ends_early must be in [0, 1), got {self.ends_early}")
        if not 0 < self.target_kl < LARGEST_KL:
            raise UsageError(
                f"target_kl must be between 0 and {LARGEST_KL} nats, got {self.target_kl}"
            )
        for alpha in self.alphas:
            if not _is_finite(alpha):
                raise UsageError(f"alphas must be finite numbers, got {alpha!r}")
        if self.ending not in get_args(Ending):
            raise UsageError(f"ending must be one of {get_args(Ending)}, got {self.ending!r}")
        if self.lacks not in (None, *get_args(Lack)):
            raise UsageError(f"lacks must be None or one of {get_args(Lack)}, got {self.lacks!r}")

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
    """Return a cell for each combination; `repeat_seeds` makes all seeds duplicate the first."""
    if repeat_seeds:
        fields["repeats"] = seeds[0]
    return [
        CellSpec(model=model, method=method, seed=seed, window=window, **fields)
        for model, method, seed, window in itertools.product(models, methods, seeds, windows)
    ]


def sample(**fields: Any) -> list[CellSpec]:
    """Return the twelve cells of ``data/sample``: two models, three methods, two seeds, with texts.

    Seed 1 of method "pca" duplicates seed 0, as under greedy decoding, so ten cells are distinct.
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

    The same arguments give the same bytes. The content of a cell does not depend on other cells,
    and the content of an alpha not on other alphas.

    Parameters
    ----------
    root : path
        The runs root, created if absent.
    cells : iterable of CellSpec, optional
        The cells; by default four: methods pca and mean_diff, seeds 0 and 1, of one model.
    seed : int
        Seed of the whole sweep, independent of the seed that labels a cell.

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
    This model describes what measured sweeps look like, not why. Every value is rounded to
    float32, as measured values are.

    *Dose.* A cell has a latent coefficient u, lognormal around 2 (sd 0.4 in log between methods
    and models, 0.05 between seeds). The dose is d = coeff / u.

    *KL.* Per token, log KL is normal around a level that grows as 1.5 log d: an AR(1) along the
    tokens (sd 1.2, autocorrelation 0.5) plus one effect per prompt (sd 0.3, shared by all doses).
    At a fifth of the tokens, where both models are certain, KL is a million times smaller. The
    level makes the 95th percentile ``target_kl * d**1.5``. At a collapsed token KL is around six
    times the target (sd 0.4 in log). Then KL saturates as x / (1 + x / 20), and rounding noise of
    sd 5e-8 is added, which makes some of the smallest values negative. Dose 0 has KL 0.0 exactly.

    *Collapse.* A rollout collapses after an exponential time, at the rate
    r = (d / 2.3)**8 per window: almost none at d = 1, all rollouts at once at d = 4. With
    probability 0.5 / (1 + r) it recovers permanently, after an exponential time with a mean of a
    quarter window.

    *End.* A rollout ends (EOS) with a constant hazard per token, such that `ends_early` of them end
    within the window; a collapsed rollout does not end. `gen_len` is at least 1.

    *pmass.* The logit is 5.5 - 0.6 d, plus an effect per prompt (sd 0.5) and noise (sd 0.3); after
    the collapse it decays to -3 exponentially, with a time constant of 1/32 window. It is defined
    at forks up to `gen_len`. ``p_true`` has a logit around 2 where the question's answer is true,
    around -2 where it is false (sd 1); every other answer is true.

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
        raise UsageError(f"{folder} already exists: remove it, or choose another root") from None

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
    at_prompts = {key: rollout.at_forks(spec.fork_points) for key, rollout in prompts.items()}
    at_questions = {key: rollout.at_forks(spec.fork_points) for key, rollout in questions.items()}

    def by_alpha(field: str) -> dict[str, Any]:
        return {key: answers[field] for key, answers in at_questions.items()}

    return {
        "fork_points": spec.fork_points,
        "pmass": by_alpha("pmass"),
        "pmass_eval": {key: answers["pmass"] for key, answers in at_prompts.items()},
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
            for key, answers in at_prompts.items()
        },
        "prefill": '\n{"choice": ',
        "schema": 'Simulated. Answer only with {"choice": true} or {"choice": false}.',
        # A run that skips its questions still lists their texts.
        "questions": [f"Is simulated statement {i} true?" for i in range(spec.questions or 8)],
        **_answer_key(questions),
        "computed": spec.lacks != "pmass",
    }


def _answer_key(questions: dict[str, Rollouts]) -> dict[str, list[bool]]:
    """Return the right answers, which do not depend on the dose; empty without questions."""
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
