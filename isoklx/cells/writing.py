"""A cell's files, written dose by dose, so that a cell that died goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from isoklx.cells.doses import Doses
from isoklx.cells.files import CellFiles, make_parent
from isoklx.cells.json_text import Json, plain
from isoklx.cells.reading import calibration
from isoklx.errors import BuildError, UsageError
from isoklx.system.locks import claimed


def write_cell(
    folder: str | Path,
    calib: Mapping[str, Any],
    *,
    history: Sequence[Mapping[str, Any]] = (),
    alphas: Sequence[float] = (),
    kl: npt.ArrayLike | None = None,
    gen_len: npt.ArrayLike | None = None,
    forks: Sequence[int] = (),
    pmass_eval: npt.ArrayLike | None = None,
    pmass: npt.ArrayLike | None = None,
    p_true: npt.ArrayLike | None = None,
    gen_len_qa: npt.ArrayLike | None = None,
    answers: Mapping[str, Any] | None = None,
    repetition: npt.ArrayLike | None = None,
    generations: Iterable[Mapping[str, Any]] = (),
    questions: Sequence[str] = (),
    answer_key: Sequence[bool] = (),
    prefill: str = "",
    schema: str = "",
) -> list[float]:
    """Write what was measured to the files of a cell, all at once or some doses at a time.

    A call adds its doses to those that the folder has. Every file changes in one step and a dose
    counts as complete with the last of them, so that a run that was killed is continued by calling
    again from the first dose that `recorded` does not list; the result is the same to the byte as
    that of a run that was not. A folder that was made with anything else, or is being written by
    another process, is refused and left as it is.

    Parameters
    ----------
    folder : path
        The cell's folder; its name is the ``run_id``. It is made when absent.
    calib : mapping
        The content of ``calib.json``: ``c_star``, ``target_kl``, ``window``, ``method``, ``model``,
        ``seed`` and ``layer``; further keys as it pleases, such as ``target_stat`` ("p95" when
        absent) and ``measured_with`` (versions, dtype, device, what is counted as an answer, hashes
        of the inputs). All of it must be the same in every call.
    history : sequence of mapping
        The calibration, as `isoklx.calibrate` returns it. ``c_star`` is one of its ``coeff``.
    alphas : sequence of float
        Doses of this call; ``coeff`` is alpha times ``c_star``. With none the cell is one that was
        calibrated, and not yet swept.
    kl : array_like, (alpha, prompt, token)
        KL(steered || base) in nats; NaN from the end of a rollout on. Stored as float32.
    gen_len : array_like of int, (alpha, prompt), optional
        Tokens generated; by default up to the last that has a KL.
    forks : sequence of int
        Fork points in tokens, rising, up to the window; the same in every call.
    pmass_eval : array_like, (alpha, prompt, fork), optional
        Of the same rollouts as `kl`; NaN at forks past the end. Where neither this nor `pmass` is
        given, the cell says that there is no pmass.
    pmass, p_true : array_like, (alpha, question, fork), optional
        Of the rollouts from yes/no questions. None where they were skipped.
    gen_len_qa : array_like of int, (alpha, question), optional
        Their lengths.
    answers : mapping, optional
        ``argmax_str``, ``was_thinking``, ``answer_label``: array_like (alpha, question, fork).
    repetition : array_like, (alpha, prompt), optional
        Worst share of repeated 3-grams of tokens in any 128 of the rollout's tokens.
    generations : iterable of mapping
        Lines of ``gens.jsonl``, each with its ``kind`` ("eval", "qa"), ``alpha`` and whatever else
        there is to a rollout.
    questions : sequence of str
        The questions' texts.
    answer_key : sequence of bool
        The right answer of each question; without it no share of right answers is known.
    prefill, schema : str
        The tail that asks for an answer, and what the prompt says about it.

    Returns
    -------
    list of float
        Alphas of the doses that are complete now, ascending.

    Raises
    ------
    UsageError
        When an array or a value does not fit, or the folder was made with something else, or has
        one of these doses with other numbers. Nothing was touched.
    BuildError
        When another process has the cell, or a file cannot be written: a full disk costs the doses
        of this call, and nothing that was there before.
    CellError
        When a file that is there already cannot be read.

    Examples
    --------
    >>> import tempfile, isoklx
    >>> root = tempfile.TemporaryDirectory()
    >>> calib = {
    ...     "c_star": 2.0, "target_kl": 1.0, "window": 4, "method": "pca",
    ...     "model": "org/toy", "seed": 0, "layer": 3,
    ... }
    >>> folder = Path(root.name) / "toy_pca_s0_w4"
    >>> write_cell(folder, calib, alphas=[0], kl=[[[0, 0, 0, 0]]])
    [0.0]
    >>> write_cell(folder, calib, alphas=[1], kl=[[[0.5, 1, 0.25, float("nan")]]])
    [0.0, 1.0]
    >>> isoklx.open_sweep(root.name).kl.sel(alpha=1).values
    array([[[0.5 , 1.  , 0.25,  nan]]], dtype=float32)
    >>> write_cell(folder, calib | {"seed": 1}, alphas=[4], kl=[[[9, 9, 9, 9]]])
    Traceback (most recent call last):
        ...
    isoklx.errors.UsageError: .../toy_pca_s0_w4/calib.json: seed is 0 there, and 1 here: ...
    >>> root.cleanup()
    """
    steps = [plain(step, f"history[{i}]") for i, step in enumerate(history)]
    settings = _checked(calib, steps)
    window, c_star = settings["window"], settings["c_star"]
    doses = Doses(
        alphas=alphas,
        kl=kl,
        gen_len=gen_len,
        forks=forks,
        pmass_eval=pmass_eval,
        pmass=pmass,
        p_true=p_true,
        gen_len_qa=gen_len_qa,
        answers=answers,
        repetition=repetition,
        generations=generations,
    )
    records = doses.records(window, c_star, len(questions))
    asked = {
        "fork_points": doses.fork_points(window),
        "prefill": prefill,
        "schema": schema,
        "questions": [str(question) for question in questions],
        **_key(answer_key, len(questions)),
        "computed": doses.computed,
    }
    folder = Path(folder)
    if folder.name.startswith(("_", ".")):
        raise UsageError(f"{folder}: a folder whose name starts with {folder.name[0]} is no cell")
    make_parent(folder)
    with claimed(folder) as mine:
        if not mine:
            raise BuildError(f"{folder}: another process is making this cell")
        files = CellFiles.read(folder)
        files.begin(settings, steps)
        if records:
            files.add(doses.labels(), records, asked, list(range(window)))
        return files.completed


@dataclass(frozen=True)
class Recorded:
    """What the folder of a cell has.

    Parameters
    ----------
    calib : dict
        ``calib.json``.
    history : list of dict
        ``history.json``; empty where there is none.
    alphas : list of float
        Doses that are complete, ascending.
    """

    calib: Json
    history: list[Json]
    alphas: list[float]


def recorded(folder: str | Path, calib: Mapping[str, Any] | None = None) -> Recorded | None:
    """What a cell that was begun has already, so that only what is missing is measured.

    Parameters
    ----------
    folder : path
        The cell's folder.
    calib : mapping, optional
        What the cell is to be made with, as for `write_cell`; without ``c_star`` where that is not
        known yet.

    Returns
    -------
    Recorded or None
        None where the cell was not begun.

    Raises
    ------
    UsageError
        When it was made with something else; the message names the first difference.
    CellError
        When a file of it cannot be read.

    Examples
    --------
    >>> recorded("outputs/gpt2_pca_s0_w64") is None
    True
    """
    files = CellFiles.read(Path(folder))
    if files.calib is None:
        return None
    if calib is not None:
        files.refuse_other(plain({"target_stat": "p95", **calib}, "calib"))
    return Recorded(files.calib, files.history, files.completed)


def _key(answer_key: Sequence[bool], questions: int) -> Json:
    """Return the entry of pmass.json with the right answers; empty where there are none."""
    key: list[bool] = plain(list(answer_key), "answer_key")
    if key and len(key) != questions:
        raise UsageError(
            f"answer_key must have one answer per question ({questions}), got {len(key)}"
        )
    for i, answer in enumerate(key):
        if not isinstance(answer, bool):
            raise UsageError(f"answer_key[{i}] must be True or False, got {answer!r}")
    return {"answer_key": key} if key else {}


def _checked(calib: Mapping[str, Any], history: list[Json]) -> Json:
    """The content of calib.json, as reading it takes it."""
    found: Json = plain(calib, "calib")
    try:
        calibration(".", found)
    except ValueError as error:
        raise UsageError(f"calib: {error}") from error
    found.setdefault("target_stat", "p95")
    tried = [step.get("coeff") for step in history]
    if history and found["c_star"] not in tried:
        raise UsageError(f"calib: c_star is {found['c_star']:g}, which no step of history tried")
    return found
