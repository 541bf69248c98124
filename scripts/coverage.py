"""Simulate how often each interval contains the truth, and how wide it is.

``python scripts/coverage.py`` prints the tables of ``docs/coverage.md`` in Markdown, in a few
minutes. Truth is known because lifetimes are drawn: exponential, seen at forks, with the given
survival to the horizon; three rollouts in ten end early, at a random token. The trajectories of one
prompt are copies of one draw with a probability whose square is their correlation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels import clusters, comparisons
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.kaplan_meier import Interval, curves

FORKS = np.array([0, 1, 2, 4, 8, 16, 32, 64])
HORIZON = 64
ENDED_EARLY = 0.3
LEVEL = 0.95

PROMPTS, PER_PROMPT, CORRELATIONS = (8, 24, 100), (1, 3), (0.0, 0.5, 1.0)
SURVIVALS = (0.5, 0.9, 0.99)
PAIRS = ((0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (0.9, 0.5), (0.99, 0.9))
SPREADS = (0.0, 0.3, 1.0)

SHOWN: tuple[Interval, ...] = ("auto", "beta", "greenwood")
"""Intervals of survival; ``prompts`` is another name of ``auto``."""

DRAWS = 400
"""Replicates of a bootstrap, which is slow, and in how many of the sets it is tried at most."""
TRIED = 1000

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Sets(NamedTuple):
    """Many simulated sets; counts of shape (set, prompt, fork)."""

    ended: Counts
    died: Counts


def main(words: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", type=int, default=4000, help="simulated sets for each row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    rng = np.random.default_rng(options.seed)
    designs = list(product(PROMPTS, PER_PROMPT, CORRELATIONS))

    names = [*SHOWN, "bootstrap"]
    rows = [
        [*design, survival, *survival_row(rng, options.sets, *design, survival)]
        for design in designs
        for survival in SURVIVALS
    ]
    head = ["prompts", "per prompt", "correlation"]
    print_table("Survival", [*head, "survival", *names], rows)
    rows = [
        [*design, f"{a:g}, {b:g}", *contrast_row(rng, options.sets, *design, a, b)]
        for design in designs
        for a, b in PAIRS
    ]
    kinds = ["survival, paired", "survival, unpaired", "restricted mean, paired"]
    print_table("Differences", [*head, "survivals", *kinds], rows)
    rows = [
        [n, spread, *p95_row(rng, max(options.sets // 4, 1), n, spread)]
        for n, spread in product(PROMPTS, SPREADS)
    ]
    kinds = ["p95, Woodruff", "p95, bootstrap", "share above"]
    print_table("Tokens of prompts", ["prompts", "spread", *kinds], rows)


def survival_row(
    rng: np.random.Generator, n_sets: int, n: int, m: int, correlation: float, truth: float
) -> Iterator[str]:
    """Coverage and width of every interval of survival at the horizon."""
    sets = simulated(rng, n_sets, n, m, correlation, [truth])[0]
    ended, died = sets.ended.sum(axis=1), sets.died.sum(axis=1)
    for name in SHOWN:
        yield told(interval(ended, died, m, name)[:, -1], truth)
    yield told(bootstrap(rng, sets), truth)


def contrast_row(
    rng: np.random.Generator,
    n_sets: int,
    n: int,
    m: int,
    correlation: float,
    first: float,
    second: float,
) -> Iterator[str]:
    """Coverage and width of the interval of a difference between two sides of the same prompts."""
    sides = simulated(rng, n_sets, n, m, correlation, [first, second])
    counts = [(side.ended.sum(axis=1), side.died.sum(axis=1)) for side in sides]
    estimates = [km.kaplan_meier(km.at_risk(ended), died) for ended, died in counts]
    bounds = [interval(*each, m, "prompts") for each in counts]
    influence = [comparisons.influence(*side) for side in sides]
    paired = comparisons.correlation(influence[0][..., -1], influence[1][..., -1], largest=1.0)
    ends = (estimates[0][:, -1], bounds[0][:, -1], estimates[1][:, -1], bounds[1][:, -1])
    for rho in (paired, np.zeros_like(paired)):
        yield told(comparisons.difference_interval(*ends, rho), first - second)
    means = [area(curve) for curve in estimates]
    areas = [area(np.swapaxes(each, -1, -2)) for each in bounds]
    rho = comparisons.correlation(*map(area, influence), largest=float(HORIZON))
    found = comparisons.difference_interval(means[0], areas[0], means[1], areas[1], rho)
    truths = [area(survival ** (FORKS / HORIZON)) for survival in (first, second)]
    yield told(found, float(truths[0] - truths[1]))


def p95_row(rng: np.random.Generator, n_sets: int, n: int, spread: float) -> Iterator[str]:
    """Coverage and width of the interval of a p95, and of a share, over tokens of prompts."""

    def kl(sets: int, prompts: int) -> npt.NDArray[np.float32]:
        scale = np.exp(spread * rng.standard_normal((sets, prompts, 1)))
        return (scale * rng.exponential(size=(sets, prompts, 256))).astype(np.float32)

    truth = float(np.quantile(kl(40, 2000), 0.95))
    samples = kl(n_sets, n)
    yield told(clusters.pooled_quantile(samples, 0.95, level=LEVEL)[:, 1:], truth)
    tried = samples[: TRIED // 5]
    drawn = rng.integers(0, n, (DRAWS // 4, n))
    replicates = [np.quantile(each[drawn].reshape(len(drawn), -1), 0.95, axis=1) for each in tried]
    yield told(np.quantile(replicates, [0.025, 0.975], axis=1).T, truth)
    above = (samples > truth).sum(axis=-1)
    share = clusters.share(above, np.full(above.shape, samples.shape[-1]), level=LEVEL)
    yield told(share[:, 1:], 0.05)


def simulated(
    rng: np.random.Generator,
    n_sets: int,
    n: int,
    m: int,
    correlation: float,
    survivals: Iterable[float],
) -> list[Sets]:
    """Draw sets of n prompts with m trajectories each: one per survival, with the same prompts."""
    prompt = rng.random((n_sets, n, 1))
    return [_side(rng, prompt, m, correlation, survival) for survival in survivals]


def _side(
    rng: np.random.Generator, prompt: Floats, m: int, correlation: float, survival: float
) -> Sets:
    shape = (*prompt.shape[:2], m)
    uniform = np.where(rng.random(shape) < correlation**0.5, prompt, rng.random(shape))
    death = np.searchsorted(FORKS, HORIZON * np.log(uniform) / np.log(survival))
    ended = np.where(rng.random(shape) < ENDED_EARLY, HORIZON * rng.random(shape), HORIZON)
    last = np.searchsorted(FORKS, ended, side="right") - 1
    died = death <= last
    place = np.where(died, death, last)
    place += FORKS.size * np.arange(prompt.size).reshape(prompt.shape)
    size = (*prompt.shape[:2], FORKS.size)
    counts = (
        np.bincount(which.ravel(), minlength=prompt.size * FORKS.size).reshape(size)
        for which in (place, place[died])
    )
    return Sets(*counts)


def interval(ended: Counts, died: Counts, m: int, name: Interval) -> Floats:
    """Interval (set, fork, 2) where every prompt has m trajectories."""
    return curves(ended, died, m * ended, interval=name, level=LEVEL)[2]


def bootstrap(rng: np.random.Generator, sets: Sets) -> Floats:
    """Percentiles of survival at the horizon over prompts drawn with replacement."""
    n = sets.ended.shape[1]
    draws = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float)
    ended, died = (np.einsum("bp,spf->sbf", draws, each[:TRIED]) for each in sets)
    survival = km.carry_forward(km.kaplan_meier(km.at_risk(ended), died))[..., -1]
    return np.quantile(survival, [0.025, 0.975], axis=1).T


def area(curve: Floats) -> Floats:
    """Restricted mean up to the horizon."""
    return km.restricted_mean(curve, FORKS, np.asarray(HORIZON))


def told(bounds: Floats, truth: float) -> str:
    """Say in how many sets the truth is within the bounds, and how far these are apart.

    Sets whose curve ends before the horizon have no bounds there, and are left out.
    """
    bounds = bounds[~np.isnan(bounds).any(axis=1)]
    covered = np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1]))
    return f"{100 * covered:.1f} ({np.mean(bounds[:, 1] - bounds[:, 0]):.3g})"


def print_table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table, and the least coverage in each of its columns."""
    rows = [[f"{each:g}" if isinstance(each, float) else str(each) for each in row] for row in rows]
    print(f"\n### {heading}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---:|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    covered = [i for i, text in enumerate(rows[0]) if "(" in text]
    least = [f"{columns[i]} {min(float(row[i].split()[0]) for row in rows)}" for i in covered]
    print(f"\nLeast coverage: {', '.join(least)}.")


if __name__ == "__main__":
    main()
