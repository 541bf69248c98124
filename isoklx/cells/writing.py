"""Writing a cell dose by dose, so that an interrupted cell can be continued."""

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
    """Write measured arrays to the files of a cell, all doses at once or in several calls.

    Each call adds its doses to the folder. Files are replaced atomically, and a dose is complete
    once the last file contains it. To continue a run that was killed, write the doses that are not
    complete: the files are then identical to those of an uninterrupted run, byte for byte. A folder
    with another calibration, or one that another process is writing, is refused and left unchanged.

    Parameters
    ----------
    folder : path
        The cell's folder, created if absent; its name is the ``run_id``.
    calib : mapping
        The content of ``calib.json``: ``c_star``, ``target_kl``, ``window``, ``method``, ``model``,
        ``seed`` and ``layer``, and optional keys such as ``target_stat`` ("p95" by default) and
        ``measured_with`` (versions, dtype, device, accepted answers, hashes of the inputs). It must
        be the same in every call.
    history : sequence of mapping
        Steps of the calibration, as `isoklx.calibrate` returns them. ``c_star`` must be the
        ``coeff`` of one step.
    alphas : sequence of float
        Doses of this call; ``coeff`` is alpha times ``c_star``. Without doses the cell is
        calibrated and not yet swept.
    kl : array_like, (alpha, prompt, token)
        KL(steered || base) in nats; NaN after the end of a rollout. Stored as float32.
    gen_len : array_like of int, (alpha, prompt), optional
        Tokens generated; by default up to the last finite KL.
    forks : sequence of int
        Fork points in tokens, increasing, at most the window; the same in every call.
    pmass_eval : array_like, (alpha, prompt, fork), optional
        Values of pmass in the rollouts of `kl`; NaN at forks after the end. Without this and
        `pmass`, the cell records that pmass was not computed.
    pmass, p_true : array_like, (alpha, question, fork), optional
        Values of pmass and p_true in the rollouts from questions; None if questions were skipped.
    gen_len_qa : array_like of int, (alpha, question), optional
        Tokens generated in the rollouts from questions.
    answers : mapping, optional
        ``argmax_str``, ``was_thinking``, ``answer_label``: array_like (alpha, question, fork).
    repetition : array_like, (alpha, prompt), optional
        Largest share of repeated 3-grams in any 128 consecutive tokens of the rollout.
    generations : iterable of mapping
        Lines of ``gens.jsonl``, each with ``kind`` ("eval" or "qa"), ``alpha`` and further keys of
        the rollout.
    questions : sequence of str
        Texts of the questions.
    answer_key : sequence of bool
        Right answer to each question; required for the change in the share of right answers.
    prefill, schema : str
        The suffix that probes the model at a fork, and the prompt's instruction for the answer.

    Returns
    -------
    list of float
        Alphas of all complete doses, ascending.

    Raises
    ------
    UsageError
        When an array or value is invalid, or the folder has another calibration or other numbers
        for one of these doses. Nothing is changed.
    BuildError
        When another process is writing the cell, or a file cannot be written. On a full disk the
        doses of this call are lost and those before are kept.
    CellError
        When an existing file cannot be read.

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
    isoklx.errors.UsageError: .../toy_pca_s0_w4/calib.json: seed is 0 in the file, but 1 now: ...
    >>> root.cleanup()
    """
    steps = [plain(step, f"history[{i}]") for i, step in enumerate(history)]
    settings = _checked_calib(calib, steps)
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
    probes = {
        "fork_points": doses.fork_points(window),
        "prefill": prefill,
        "schema": schema,
        "questions": [str(question) for question in questions],
        **_answer_key(answer_key, len(questions)),
        "computed": doses.computed,
    }
    folder = Path(folder)
    if folder.name.startswith(("_", ".")):
        raise UsageError(
            f"{folder}: the name of a cell's folder must not start with {folder.name[0]}"
        )
    make_parent(folder)
    with claimed(folder) as granted:
        if not granted:
            raise BuildError(f"{folder}: another process is writing this cell")
        files = CellFiles.read(folder)
        files.begin(settings, steps)
        if records:
            files.add(doses.labels(), records, probes, list(range(window)))
        return files.completed


@dataclass(frozen=True)
class Recorded:
    """Content of a cell's existing files; `alphas` are the completed doses, ascending."""

    calib: Json
    history: list[Json]
    alphas: list[float]


def recorded(folder: str | Path, calib: Mapping[str, Any] | None = None) -> Recorded | None:
    """Return the recorded part of a cell, or None; raise UsageError if `calib` differs from it."""
    files = CellFiles.read(Path(folder))
    if files.calib is None:
        return None
    if calib is not None:
        files.refuse_other(plain({"target_stat": "p95", **calib}, "calib"))
    return Recorded(files.calib, files.history, files.completed)


def _answer_key(answer_key: Sequence[bool], questions: int) -> Json:
    """Return the entry of pmass.json with the right answers; empty without answers."""
    key: list[bool] = plain(list(answer_key), "answer_key")
    if key and len(key) != questions:
        raise UsageError(
            f"answer_key must have one answer per question ({questions}), got {len(key)}"
        )
    for i, answer in enumerate(key):
        if not isinstance(answer, bool):
            raise UsageError(f"answer_key[{i}] must be True or False, got {answer!r}")
    return {"answer_key": key} if key else {}


def _checked_calib(calib: Mapping[str, Any], history: list[Json]) -> Json:
    """Return the content of calib.json; raise UsageError where reading it would fail."""
    found: Json = plain(calib, "calib")
    try:
        calibration(".", found)
    except ValueError as error:
        raise UsageError(f"calib: {error}") from error
    found.setdefault("target_stat", "p95")
    tried = [step.get("coeff") for step in history]
    if history and found["c_star"] not in tried:
        raise UsageError(
            f"calib: c_star must be the coeff of a step in history, got {found['c_star']:g}"
        )
    return found
