"""Costs of rollouts: the engine, plain generation of the same tokens, and the plain loop.

Used by ``scripts/benchmark.py run``. The plain loop takes the rollouts one at a time, and twice
each, for KL and for pmass, as cells have been made before; it is part of the tests. It is timed on
some of the rows, with one thread and with as many as torch takes, and its time multiplied; the
quicker of the two is what the engine is held against first. On those rows its KL and pmass are held
against the engine's.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from isoklx.engine.batches import memory_of
from isoklx.engine.chat import AnswerIds
from isoklx.engine.rollouts import Rollouts, roll_out
from isoklx.engine.settings import fork_points
from isoklx.engine.steering import Steering, layer_numbers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.engine.plain_loop import plain

Result = TypeVar("Result")

WINDOW = 48
FORKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 27, 34, 41, 48)
"""As many as a cell of a longer window has."""
DOSES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""In lengths of the hidden state that is steered."""

HEADINGS = (
    "rollouts x tokens, tail",
    "generate s",
    "no twins, no forks s",
    "no forks s",
    "engine s",
    "of generate",
    "plain loop s",
    "times faster",
    "plain loop s, as torch comes",
    "times faster than that",
    "KL differs by",
    "pmass differs by",
    "memory said, MiB",
    "memory taken, MiB",
)


@dataclass(frozen=True)
class Case:
    """A model and what is rolled out: every prompt at every dose."""

    model: PreTrainedModel
    steering: Steering
    prompts: list[list[int]]
    doses: list[float]
    tail: list[int]
    answers: AnswerIds
    window: int = WINDOW
    forks: tuple[int, ...] = FORKS

    @property
    def pairs(self) -> list[tuple[list[int], float]]:
        """The rows of the batch."""
        return [(prompt, dose) for prompt in self.prompts for dose in self.doses]


def case_of(
    folder: Path, prompts: Sequence[str], tail: str | None = None, window: int = WINDOW
) -> Case:
    """Load a model, and steer it along a direction drawn at random: the cost is that of any.

    Parameters
    ----------
    folder : Path
        A model with its tokenizer.
    prompts : sequence of str
        What the user says.
    tail : str, optional
        What asks at a fork, where it is not what a cell asks with.
    window : int
        Tokens of a rollout.
    """
    from isoklx.engine.chat import answer_ids, prompt_ids, tail_ids

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    # No way of rolling out ends before the window, so that all make as many tokens.
    model.generation_config.eos_token_id = None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    (layer,) = layer_numbers(model, 0.6)
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids[0]]), output_hidden_states=True).hidden_states
    length = float(states[layer + 1][0, -1].norm())
    vector = np.random.default_rng(0).normal(size=states[0].shape[-1]).astype(np.float32)
    return Case(
        model,
        Steering("add", {layer: vector / np.linalg.norm(vector)}, "random"),
        ids,
        [dose * length for dose in DOSES],
        tail_ids(tokenizer) if tail is None else tokenizer.encode(tail, add_special_tokens=False),
        answer_ids(tokenizer),
        window,
        FORKS if window == WINDOW else fork_points("log", window),
    )


def rows(case: Case, sample: int, repeat: int = 1) -> Iterator[Sequence[str]]:
    """Measure a case; one row of the table, in the order of HEADINGS.

    Parameters
    ----------
    case : Case
        What is rolled out.
    sample : int
        Rows that the plain loop takes, spread over prompts and doses.
    repeat : int
        Runs of each, of which the quickest counts.
    """
    every = max(len(case.pairs) // sample, 1)
    # A step that is no multiple of the doses meets all of them.
    some = list(range(0, len(case.pairs), every))[:sample]
    generated = _quickest(lambda: generate(case), repeat)[0]
    bare = _quickest(lambda: engine(case, forks=(), twins=False), repeat)[0]
    twins = _quickest(lambda: engine(case, forks=()), repeat)[0]
    (measured, rollouts), taken = _peak(lambda: _quickest(lambda: engine(case), repeat))
    longest = max(map(len, case.prompts))
    said = memory_of(case.model, len(case.pairs), longest, case.window, len(case.tail))
    threads = sorted({1, torch.get_num_threads()})
    found = [
        _with_threads(n, lambda: _quickest(lambda: compared(case, some, rollouts), 1))
        for n in threads
    ]
    plainly = np.array([seconds for seconds, _ in found]) * len(case.pairs) / len(some)
    kl, pmass = np.max([differences for _, differences in found], axis=(0, 1))
    yield (
        f"{len(case.pairs)} x {case.window}, {len(case.tail)}",
        *(f"{seconds:.2f}" for seconds in (generated, bare, twins, measured)),
        f"{measured / generated:.2f}",
        *(f"{plain:.1f}" for s in (plainly.min(), plainly[-1]) for plain in (s, s / measured)),
        f"{kl:.1e}",
        f"{pmass:.1e}",
        f"{said / 2**20:.0f}",
        "-" if taken is None else f"{taken / 2**20:.0f}",
    )


def engine(case: Case, forks: Sequence[int] | None = None, *, twins: bool = True) -> Rollouts:
    """All rows in one batch, asked where a cell asks unless `forks` says otherwise."""
    prompts, doses = zip(*case.pairs, strict=True)
    return roll_out(
        case.model,
        case.steering,
        prompts,
        doses,
        window=case.window,
        forks=case.forks if forks is None else forks,
        tails=[case.tail],
        answers=case.answers,
        eos_ids=(),
        twins=twins,
    )


def generate(case: Case) -> torch.Tensor:
    """As many tokens of as many rows, unsteered and unmeasured, in one batch."""
    prompts = [prompt for prompt, _ in case.pairs]
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    ids = [[0] * short + prompt for short, prompt in zip(padding, prompts, strict=True)]
    mask = [[0] * short + [1] * (longest - short) for short in padding]
    return _generate(case, torch.tensor(ids), torch.tensor(mask))


def compared(case: Case, some: Sequence[int], rollouts: Rollouts) -> list[tuple[float, float]]:
    """Roll some rows out plainly; how far each is from the engine's."""
    return [plain_row(case, row, rollouts) for row in some]


def plain_row(case: Case, row: int, rollouts: Rollouts) -> tuple[float, float]:
    """Roll one row out plainly; how far KL and pmass of the engine are from it."""
    prompt, dose = case.pairs[row]

    def rolled(model: PreTrainedModel, ids: list[int], *_: object) -> list[int]:
        # Once for KL and once more for pmass.
        for _again in range(2):
            read = torch.tensor([ids])
            tokens = _generate(case, read, torch.ones_like(read), model)[0, len(ids) :].tolist()
        return tokens

    tokens, kl, forks = plain(
        case.model,
        case.steering,
        dose,
        prompt,
        window=case.window,
        forks=case.forks,
        tail=case.tail,
        answers=case.answers,
        eos_ids=set(),
        rolled=rolled,
    )
    # Two tokens that are as probable as each other may change places by rounding.
    same = int(np.cumprod(np.equal(tokens, rollouts.token_ids[row])).sum())
    asked = [place for place, fork in enumerate(case.forks) if fork <= same]
    pmass = [forks[case.forks[place]][0] for place in asked]
    assert rollouts.kl is not None
    return (
        float(np.abs(rollouts.kl[row, : same + 1] - kl[: same + 1]).max()),
        float(np.abs(rollouts.pmass[row, asked] - pmass).max()),
    )


def _generate(
    case: Case, ids: torch.Tensor, mask: torch.Tensor, model: PreTrainedModel | None = None
) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = (model or case.model).generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=case.window,
            do_sample=False,
            pad_token_id=0,
        )
    return out


def _with_threads(threads: int, work: Callable[[], Result]) -> Result:
    """Measure with a number of threads; single rows are often faster with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return work()
    finally:
        torch.set_num_threads(before)


def _peak(work: Callable[[], Result]) -> tuple[Result, int | None]:
    """Return the result and the peak memory in bytes; None where the system does not count it."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return work(), None

    def kib(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])

    # What was freed, but not given back, would be taken again without being seen.
    getattr(ctypes.CDLL(None), "malloc_trim", bool)(0)
    refs.write_text("5")  # the peak is counted from here on
    before = kib("VmRSS")
    result = work()
    return result, 1024 * (kib("VmHWM") - before)


def _quickest(work: Callable[[], Result], repeat: int) -> tuple[float, Result]:
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        result = work()
        found.append((time.perf_counter() - started, result))
    return min(found, key=lambda each: each[0])
