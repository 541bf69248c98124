"""Run: calibrate each model and method, sweep its doses, and write one folder per cell."""

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

_MODEL_LOCK = threading.Lock()
"""Held while a cell is made: two at once in one process would steer the same model."""

_LOADED: dict[tuple[Hashable, ...], LoadedModel] = {}
"""The model that was loaded last, by its key."""

Outcome = tuple[CellPlan, IsoklxError | None]
"""A cell, and the error that left it incomplete."""


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

    A cell is one model, method, seed, window and side of the direction. Calibration finds the
    coefficient ``c_star`` at which the statistic of KL(steered || base), over all tokens of the
    calibration prompts, equals the target; the sweep then rolls out the held-out prompts at each
    dose ``alpha``, steered with ``alpha * c_star``. The same call continues an interrupted run and
    skips complete cells.

    Parameters
    ----------
    *models : str
        Model folder, GGUF file, or name on a hub. Several models are measured one after another.
    method : tuple of str, optional
        One or more of mean_diff, pca, pca_centred (the direction is added) and
        directional_ablation (the component along the direction is replaced). Default mean_diff.
    out : Path
        Runs root: the folder that cells are written to.
    pairs : Path, optional
        JSONL of positive and negative answers, with or without their prompt, that differ in the
        steered trait. Default: the package's own, agreeing with a claim against doubting it.
    prompts : Path, optional
        Held-out prompts, JSONL or one a line. Default: 32 of the package's own.
    calib_prompts : Path, optional
        Calibration prompts. Default: 12 of the package's own.
    questions : Path, optional
        JSONL of questions whose answer is true or false. Default: the package's own.
    noquestions : bool
        Ask no questions.
    vector : Path, optional
        Steer with the direction in this file instead of one found in pairs: GGUF of repeng or
        llama.cpp, safetensors, svec, pt, npy or npz.
    layer : tuple of float, optional
        Blocks to steer: a number from 0, a fraction of the depth, or several of them. Default: the
        block at 0.6 of the depth, or the layers of the vector file.
    token : {"content", "last"}
        Token of an answer at which the direction is read: the last of its content, or of its turn.
    window : int
        Maximum number of tokens to generate.
    alphas : tuple of float
        Doses, in units of c_star.
    forks : "log", int or tuple of int
        Tokens at which a fork probes the model: log-spaced, every N tokens, or the listed ones.
    target_kl : float
        Target of the calibration, in nats per token.
    statistic : {"p95", "rms", "mean"}
        Statistic of KL over all tokens that is brought to the target.
    sign : {"+", "-", "both"}
        Side of the direction; each side is a calibration and a cell of its own.
    temperature : float
        Sampling temperature; 0 decodes greedily.
    samples : int
        Sampled rollouts per prompt: one cell for each of this many seeds, counted up from the seed.
    seed : tuple of int
        Random seeds of sampling; each seed is a cell.
    device : str
        Device by its torch name. Default: a GPU if there is one.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of the model. Default: float32 on a CPU, else the model's own.
    batch : int, optional
        Rollouts per batch. Default: as many as fit into memory.
    scheduler : str, optional
        Address of a dask.distributed scheduler, ``tcp://HOST:PORT``. Each cell is a task of one of
        its workers, which must see models, files and OUT under the same names.
    dry : bool
        List the cells with their estimated tokens, memory and time, and write nothing.

    Returns
    -------
    list of Path
        Folders of the cells, complete ones included; with `dry`, an `Estimate` of each cell, whose
        text states its cost.

    Raises
    ------
    UsageError
        If an argument or input is invalid; before a model is loaded where possible.
    MeasureError
        If a cell could not be made; the other cells are complete.
    BuildError
        If a folder cannot be written.

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
        layer=None if layer is None else _as_tuple(layer),
        token=token,
        window=window,
        alphas=tuple(float(alpha) for alpha in _as_tuple(alphas)),
        forks=forks,
        target_kl=target_kl,
        statistic=statistic,
        temperature=temperature,
        dtype=dtype,
        device=device,
        batch=batch,
    )
    if vector is not None and method is not None:
        raise UsageError(
            "method must not be given with vector: the vector file states its action; omit method"
        )
    out = Path(out).expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: must be a folder; it is a file")
    methods = ("mean_diff",) if method is None else _as_tuple(method)
    plans = cell_plans(models, methods, _as_tuple(seed), sign, settings, samples)
    for plan in plans:
        folder = plan.folder(out)
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"{folder}: must be a folder, as a cell is written there; it is a file"
            )
    inputs = read_inputs(settings)
    if dry:
        from isoklx.engine.estimates import estimates

        return list(estimates(plans, inputs, out))
    return _make_all(plans, inputs, out, scheduler)


def make_planned(
    plan: CellPlan, inputs: Inputs, out: Path, meter: Meter | None = None
) -> IsoklxError | None:
    """Make one cell; return the error that prevented it, or None if the cell is complete."""
    from isoklx.engine.completed import is_complete

    meter = meter or Meter(0)
    folder = plan.folder(out)
    try:
        with claimed(folder) as mine:
            if not mine:
                return MadeElsewhereError(f"{folder}: another run is making this cell")
            if is_complete(plan, inputs, out):  # another run may have made it
                return None
            with _MODEL_LOCK:
                _make(plan, inputs, out, meter)
    except IsoklxError as error:
        return error
    return None


def _make(plan: CellPlan, inputs: Inputs, out: Path, meter: Meter) -> None:
    """Make a cell that this run has claimed."""

    def begin(phase: str) -> None:
        meter.begin(f"{plan.run_id}: {phase}")

    if _model_key(plan) not in _LOADED:
        begin(f"loading {plan.model}")  # logged before the import of torch, which takes seconds
    from isoklx.engine.context import prepared, refuse_other_inputs
    from isoklx.engine.loading import quiet
    from isoklx.engine.pipeline import make_cell

    refuse_other_inputs(plan, inputs, out)
    with quiet():
        cell = prepared(plan, _loaded(plan), inputs, out, begin)
        make_cell(cell, plan.folder(out), plan.kept_in(out), meter)


def _loaded(plan: CellPlan) -> LoadedModel:
    """Return the plan's model: the last one loaded if it is the same, else a new one."""
    from isoklx.engine.loading import load_model
    from isoklx.engine.tokenised import say_conventions

    key, settings = _model_key(plan), plan.settings
    if key not in _LOADED:
        _LOADED.clear()  # first: memory may not hold two models
        _LOADED[key] = load_model(plan.model, device=settings.device, dtype=settings.dtype)
        say_conventions(_LOADED[key])
    return _LOADED[key]


def _model_key(plan: CellPlan) -> tuple[Hashable, ...]:
    """Return the cache key of a model: name, device, precision and state of its files."""
    from isoklx.engine.identity import files_now

    return plan.model, plan.settings.device, plan.settings.dtype, files_now(plan.model)


def _make_all(
    plans: Sequence[CellPlan], inputs: Inputs, out: Path, scheduler: str | None
) -> list[Path]:
    """Make all cells that can be made, then raise if any failed."""
    make = _make_here if scheduler is None else partial(_make_on_workers, scheduler)
    errors: dict[CellPlan, IsoklxError] = {}
    with explaining_stops(lambda: "the same command continues it"), _runs_root(out):
        left = []
        for plan, error in _incomplete(plans, inputs, out):
            if error is None:
                left.append(plan)
            else:
                errors[plan] = _log_if_several(error, len(plans))
        try:
            for retry in (False, True):  # later the other run may have finished or stopped
                elsewhere = []
                for plan, error in make(left, inputs, out) if left else ():
                    if error is None:
                        log.info("%s: complete", plan.run_id)
                    elif isinstance(error, MadeElsewhereError) and len(plans) > 1 and not retry:
                        log.info("%s: another run is making it; trying the others", plan.run_id)
                        elsewhere.append(plan)
                    else:
                        errors[plan] = _log_if_several(error, len(plans))
                left = elsewhere
        finally:
            _LOADED.clear()
    if errors:
        _raise_incomplete(errors, len(plans))
    return [plan.folder(out) for plan in plans]


def _incomplete(
    plans: Sequence[CellPlan], inputs: Inputs, out: Path
) -> Iterator[tuple[CellPlan, IsoklxError | None]]:
    """Yield cells that are not complete, without loading a model, each with its error if any."""
    from isoklx.engine.completed import is_complete

    for plan in plans:
        try:
            if not is_complete(plan, inputs, out):
                yield plan, None
                continue
        except IsoklxError as error:
            yield plan, error
            continue
        rmtree(plan.kept_in(out), ignore_errors=True)  # left by a run that was killed at its end
        log.info("%s: complete", plan.run_id)


def _log_if_several(error: IsoklxError, cells: int) -> IsoklxError:
    """Return an error; log it first if the run has several cells (a single one is raised)."""
    if cells > 1:
        log.warning("%s", error)
    return error


def _raise_incomplete(errors: Mapping[CellPlan, IsoklxError], cells: int) -> NoReturn:
    """Raise the error of a single cell, or one that names all incomplete cells."""
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
    """Create the runs root; on exit remove it if it was created here and is still empty."""
    existed = out.exists()

    def remove() -> None:
        with suppress(OSError):
            (out / KEPT).rmdir()  # fails, rightly, while it holds an incomplete cell
        if not existed:
            with suppress(OSError):
                out.rmdir()

    with cleanup_on_signal(remove):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"{out}: cannot create the folder: {error.strerror}") from error
        try:
            yield
        finally:
            remove()


def _make_here(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Outcome]:
    meter = Meter(sum(expected_tokens(inputs, plan.settings) for plan in plans))
    with cleanup_on_signal(meter.clear), explaining_stops(lambda: meter.stopped):
        try:
            for plan in plans:
                yield plan, make_planned(plan, inputs, out, meter)
        finally:
            meter.clear()


def _make_on_workers(
    scheduler: str, plans: Sequence[CellPlan], inputs: Inputs, out: Path
) -> Iterator[Outcome]:
    """Make each cell as a task; the scheduler restarts those of lost workers, which resume."""
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
            except Exception as lost:  # noqa: BLE001  # any error of a worker or of the scheduler
                error = MeasureError(f"{plan.run_id}: its worker failed: {lost}")
            yield plan, error


def _as_tuple(values: Any) -> tuple[Any, ...]:
    several = isinstance(values, Iterable) and not isinstance(values, str)
    return tuple(values) if several else (values,)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
