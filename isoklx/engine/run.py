"""Make cells: calibrate each model and method, sweep its doses, and leave a folder per cell."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from isoklx.engine.choices import Dtype, Forks, Method, Statistic, Token
from isoklx.engine.inputs import Inputs, expected_tokens, read_inputs
from isoklx.engine.plans import KEPT, CellPlan, cell_plans
from isoklx.engine.settings import Settings
from isoklx.errors import BuildError, IsoklxError, MeasureError, UsageError
from isoklx.system.extras import require_extra
from isoklx.system.locks import claimed
from isoklx.system.progress import Meter
from isoklx.system.signals import cleanup_on_signal, explaining_stops

if TYPE_CHECKING:
    from isoklx.engine.loading import LoadedModel
    from isoklx.engine.plans import Estimate

log = logging.getLogger("isoklx.engine")

_ONE = threading.Lock()
"""Held while a cell is made: two of them at once in a process would steer the same model."""

_LAST: dict[tuple[Hashable, ...], LoadedModel] = {}
"""The model that was loaded last, by what was asked for and the state of its files."""

Made = tuple[CellPlan, IsoklxError | None]
"""A cell, and why it is not complete."""


class MadeElsewhereError(BuildError):
    """Raised for a cell that another run is making."""


def run(
    *models: str,
    method: Method | tuple[Method, ...] | None = None,
    out: Path = Path("outputs"),
    pairs: Path | None = None,
    prompts: Path | None = None,
    calib_prompts: Path | None = None,
    questions: Path | None = None,
    noquestions: bool = False,
    vector: Path | None = None,
    layer: float | tuple[float, ...] | None = None,
    token: Token = "content",
    window: int = 256,
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0),
    forks: Forks = "log",
    target_kl: float = 1.0,
    statistic: Statistic = "p95",
    sign: Literal["+", "-", "both"] = "+",
    temperature: float = 0.0,
    samples: int = 1,
    seed: int | tuple[int, ...] = 0,
    device: str = "auto",
    dtype: Dtype = "auto",
    batch: int | None = None,
    scheduler: str | None = None,
    dry: bool = False,
) -> list[Path] | list[Estimate]:
    """Calibrate models, sweep doses around each c_star, and write one cell for each.

    A cell is one model, method, seed, window and side of the direction. Its coefficient ``c_star``
    brings the statistic of KL(steered || base) over all tokens of the calibration prompts to the
    target; then each dose ``alpha`` steers the held-out prompts with ``alpha * c_star``. The same
    call continues what was interrupted, and leaves alone what is there already.

    Parameters
    ----------
    *models : str
        Folder of a model, GGUF file, or name on a hub. Several are measured one after another.
    method : tuple of str, optional
        Any of mean_diff, pca, pca_centred (added) and directional_ablation (put in the place of
        what lies along it). Without it mean_diff.
    out : Path
        Runs root that the cells are written to.
    pairs : Path, optional
        JSONL of positive and negative answers, with or without their prompt, that differ in what
        is steered. Without it the package's own: agreeing with a claim, and doubting it.
    prompts : Path, optional
        Held-out prompts, JSONL or one a line. Without it 32 of the package's own.
    calib_prompts : Path, optional
        Prompts for the calibration. Without it 12 of the package's own.
    questions : Path, optional
        JSONL of questions whose answer is true or false. Without it the package's own.
    noquestions : bool
        Ask no questions.
    vector : Path, optional
        Steer with the direction in this file, not with one found in pairs: GGUF of repeng or
        llama.cpp, safetensors, svec, pt, npy or npz.
    layer : tuple of float, optional
        Blocks to steer: a number from 0, a fraction of the depth, or several of them. Without it
        the block at 0.6 of the depth, or those that the vector file names.
    token : {"content", "last"}
        Where in an answer its direction is read: at the last token of its content, or of its turn.
    window : int
        Tokens to generate at most.
    alphas : tuple of float
        Doses, in units of c_star.
    forks : "log", int or tuple of int
        Tokens at which rollouts are interrupted and asked: log-spaced, every so many, or these.
    target_kl : float
        Nats per token that the calibration aims at.
    statistic : {"p95", "rms", "mean"}
        What of KL over all tokens is brought to the target.
    sign : {"+", "-", "both"}
        Side of the direction; each is a calibration and a cell of its own.
    temperature : float
        0 decodes greedily; above it tokens are drawn.
    samples : int
        Sampled rollouts a prompt: cells of so many seeds, from the seed on.
    seed : tuple of int
        Seeds of what is drawn; several are several cells.
    device : str
        As torch names it; by default a GPU where there is one.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of the model; by default float32 on a CPU, else its own.
    batch : int, optional
        Rollouts at a time. Without it as many as memory holds.
    scheduler : str, optional
        Address of a dask.distributed scheduler, ``tcp://HOST:PORT``; each cell is a task of one of
        its workers, which see models, files and OUT under the same names.
    dry : bool
        Say which cells would be made, of how many tokens, in how much memory and how long, and
        make none.

    Returns
    -------
    list of Path
        The folders of the cells, those too that were there already; with `dry` an `Estimate` of
        each, whose text says what it would take.

    Raises
    ------
    UsageError
        For what no cell can be made with, before any model is loaded where that can be known.
    MeasureError
        When a cell could not be made; the others were.
    BuildError
        When a folder cannot be written.

    Examples
    --------
    $ isoklx run org/model --method pca --out outputs
    $ isoklx run models/a models/b --method mean_diff,pca --window 512 --alphas 0,0.5,1,2,4
    $ isoklx run org/model --vector happy.gguf --sign both --dry
    """
    require_extra("torch", "run", extra="run")
    require_extra("transformers", "run", extra="run")
    settings = Settings(
        pairs=_path(pairs),
        prompts=_path(prompts),
        calib_prompts=_path(calib_prompts),
        questions=_path(questions),
        ask=not noquestions,
        vector=_path(vector),
        layer=None if layer is None else _several(layer),
        token=token,
        window=window,
        alphas=tuple(float(alpha) for alpha in _several(alphas)),
        forks=forks,
        target_kl=target_kl,
        statistic=statistic,
        temperature=temperature,
        dtype=dtype,
        device=device,
        batch=batch,
    )
    if vector is not None and method is not None:
        raise UsageError("a vector from a file is steered with as the file says; leave method out")
    out = Path(out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is no folder")
    methods = ("mean_diff",) if method is None else _several(method)
    plans = cell_plans(models, methods, _several(seed), sign, settings, samples)
    for plan in plans:
        folder = plan.folder(out)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is no folder, and a cell would be written there")
    inputs = read_inputs(settings)
    if dry:
        from isoklx.engine.estimates import estimates

        return list(estimates(plans, inputs, out))
    return _made(plans, inputs, out, scheduler)


def make_planned(
    plan: CellPlan, inputs: Inputs, out: Path, meter: Meter | None = None
) -> IsoklxError | None:
    """Make one cell, or say why it was not made: what a worker does.

    Parameters
    ----------
    plan : CellPlan
        Which cell.
    inputs : Inputs
        What its model is given.
    out : Path
        The runs root, a folder.
    meter : Meter, optional
        Is told of every batch.

    Returns
    -------
    IsoklxError or None
        None where the cell is complete.
    """
    from isoklx.engine.completed import is_complete

    meter = meter or Meter(0)
    folder = plan.folder(out)
    try:
        with claimed(folder) as mine:
            if not mine:
                return MadeElsewhereError(f"{folder}: another run is making this cell")
            if is_complete(plan, inputs, out):  # since another run has made it
                return None
            with _ONE:
                _make(plan, inputs, out, meter)
    except IsoklxError as error:
        return error
    return None


def _make(plan: CellPlan, inputs: Inputs, out: Path, meter: Meter) -> None:
    """Make a cell that this run has claimed."""

    def begin(what: str) -> None:
        meter.begin(f"{plan.run_id}: {what}")

    if _asked(plan) not in _LAST:
        begin(f"loading {plan.model}")  # before torch is imported, which takes seconds
    from isoklx.engine.context import prepared, refuse_other_inputs
    from isoklx.engine.loading import quiet
    from isoklx.engine.pipeline import make_cell

    refuse_other_inputs(plan, inputs, out)
    with quiet():
        cell = prepared(plan, _loaded(plan), inputs, out, begin)
        make_cell(cell, plan.folder(out), plan.kept_in(out), meter)


def _loaded(plan: CellPlan) -> LoadedModel:
    """The model that was loaded last, or another one in its place."""
    from isoklx.engine.loading import load_model
    from isoklx.engine.tokenised import say_conventions

    asked, settings = _asked(plan), plan.settings
    if asked not in _LAST:
        _LAST.clear()  # first, as there may not be memory for two
        _LAST[asked] = load_model(plan.model, device=settings.device, dtype=settings.dtype)
        say_conventions(_LAST[asked])
    return _LAST[asked]


def _asked(plan: CellPlan) -> tuple[Hashable, ...]:
    """Return what tells a model apart: name, device, precision and the state of its files."""
    from isoklx.engine.identity import files_now

    return plan.model, plan.settings.device, plan.settings.dtype, files_now(plan.model)


def _made(
    plans: Sequence[CellPlan], inputs: Inputs, out: Path, scheduler: str | None
) -> list[Path]:
    """Make all cells that can be made, and then raise for those that could not."""
    make = _here if scheduler is None else partial(_at_workers, scheduler)
    errors: dict[CellPlan, IsoklxError] = {}
    with explaining_stops(lambda: "the same command continues it"), _runs_root(out):
        left = []
        for plan, error in _incomplete(plans, inputs, out):
            if error is None:
                left.append(plan)
            else:
                errors[plan] = _said(error, len(plans))
        try:
            for again in (False, True):  # a cell of another run may be complete, or given up, later
                elsewhere = []
                for plan, error in make(left, inputs, out) if left else ():
                    if error is None:
                        log.info("%s: complete", plan.run_id)
                    elif isinstance(error, MadeElsewhereError) and len(plans) > 1 and not again:
                        log.info("%s: another run is making it; trying the others", plan.run_id)
                        elsewhere.append(plan)
                    else:
                        errors[plan] = _said(error, len(plans))
                left = elsewhere
        finally:
            _LAST.clear()
    if errors:
        _raise(errors, len(plans))
    return [plan.folder(out) for plan in plans]


def _incomplete(
    plans: Sequence[CellPlan], inputs: Inputs, out: Path
) -> Iterator[tuple[CellPlan, IsoklxError | None]]:
    """Cells that are not complete, without loading a model; and why one cannot become so."""
    from isoklx.engine.completed import is_complete

    for plan in plans:
        try:
            if not is_complete(plan, inputs, out):
                yield plan, None
                continue
        except IsoklxError as error:
            yield plan, error
            continue
        rmtree(plan.kept_in(out), ignore_errors=True)  # by a run that was killed at its end
        log.info("%s: complete", plan.run_id)


def _said(error: IsoklxError, cells: int) -> IsoklxError:
    """Log the error of one of several cells at once; that of a single one is raised."""
    if cells > 1:
        log.warning("%s", error)
    return error


def _raise(errors: Mapping[CellPlan, IsoklxError], cells: int) -> NoReturn:
    """Raise the error of a single cell, or one that names the cells."""
    if cells == 1:
        raise next(iter(errors.values()))
    names = ", ".join(
        f"{plan.run_id}{' (another run is making it)' * isinstance(error, MadeElsewhereError)}"
        for plan, error in errors.items()
    )
    are = "is" if len(errors) == 1 else "are"
    raise MeasureError(f"{len(errors)} of {cells} cells {are} not complete: {names}")


@contextmanager
def _runs_root(out: Path) -> Iterator[None]:
    """A folder to write cells to, which is gone again where nothing came of it."""
    there = out.exists()

    def remove() -> None:
        with suppress(OSError):
            (out / KEPT).rmdir()  # unless a cell is not complete yet
        if not there:
            with suppress(OSError):
                out.rmdir()

    with cleanup_on_signal(remove):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"{out}: cannot be made a folder: {error.strerror}") from error
        try:
            yield
        finally:
            remove()


def _here(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Made]:
    meter = Meter(sum(expected_tokens(inputs, plan.settings) for plan in plans))
    with cleanup_on_signal(meter.clear), explaining_stops(lambda: meter.stopped):
        try:
            for plan in plans:
                yield plan, make_planned(plan, inputs, out, meter)
        finally:
            meter.clear()


def _at_workers(
    scheduler: str, plans: Sequence[CellPlan], inputs: Inputs, out: Path
) -> Iterator[Made]:
    """Each cell is a task; one whose worker died is begun again where it was."""
    from isoklx.system.scheduler import connected

    with connected(scheduler) as client:
        from distributed import as_completed

        client.forward_logging(log.name, logging.INFO)
        make = partial(make_planned, inputs=inputs, out=out.absolute())
        futures = dict(zip(client.map(make, plans, pure=False), plans, strict=True))
        for future in as_completed(futures):
            plan = futures[future]
            try:
                error = future.result()
            except Exception as lost:  # noqa: BLE001  # of its worker, or of the scheduler
                error = MeasureError(f"{plan.run_id}: its worker failed: {lost}")
            yield plan, error


def _several(values: Any) -> tuple[Any, ...]:
    """One value, or several: as a tuple."""
    several = isinstance(values, Iterable) and not isinstance(values, str)
    return tuple(values) if several else (values,)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
