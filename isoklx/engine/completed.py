"""Recognition of a complete cell by its files, before a model is loaded or torch is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isoklx.cells.files import KL, CellFiles
from isoklx.cells.layout import CALIBRATION, GENERATIONS, PMASS, TRAJECTORY, VECTOR
from isoklx.cells.rollout_checks import digest
from isoklx.engine.identity import files_identity
from isoklx.engine.inputs import Inputs
from isoklx.engine.plans import CellPlan
from isoklx.engine.settings import Settings, fork_points
from isoklx.errors import CellError, UsageError
from isoklx.schema import same_dose

REQUESTED = "requested"
"""Key of ``measured_with``: options as given, which need a model to become numbers."""

LARGE = 2**24
"""Bytes above which a file is sampled: a complete cell is recognised at once."""


def requested(plan: CellPlan) -> dict[str, Any]:
    """Return options as given, and hashes of the files that only a model can interpret."""
    settings, vector = plan.settings, plan.settings.vector
    return {
        "layer": None if settings.layer is None else list(settings.layer),
        "token": settings.token if vector is None else None,
        "dtype": settings.dtype,
        "device": settings.device,
        "vector_file": None if vector is None else _hash([vector]),
        "model_files": _hash(_model_files(Path(plan.model).expanduser())),
    }


def is_complete(plan: CellPlan, inputs: Inputs, out: Path) -> bool:
    """Return whether a cell's files prove it complete; raise UsageError if its settings differ."""
    # Options, input files and model files must be unchanged, and every dose in every file. False if
    # anything differs or cannot be told without the model; loading it then reports the difference.
    folder = plan.folder(out)
    calib = begun_with(folder / CALIBRATION)
    if not calib:
        return False
    refuse_other_settings(plan, calib, folder / CALIBRATION)
    return (
        _same_request(plan, inputs, calib["measured_with"])
        and _same_model(plan.model, calib)
        and _has_all_doses(plan.settings, folder)
    )


def begun_with(path: Path) -> dict[str, Any]:
    """Read calib.json of a cell; empty if it is missing, invalid, or lacks a batch size."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        int(found["measured_with"]["batch"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # the reader of the whole file reports its error
    return found


def refuse_other_settings(plan: CellPlan, calib: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError at the first setting that differs in `calib`, read from `path`."""
    settings = plan.settings
    here = {
        "target_kl": settings.target_kl,
        "target_stat": settings.statistic,
        "window": settings.window,
        "method": plan.method,
        "seed": plan.seed,
        "sign": plan.sign,
        "measured_with.temperature": settings.temperature,
        "measured_with.batch": settings.batch,
    }
    there = {**calib, **{f"measured_with.{k}": v for k, v in calib["measured_with"].items()}}
    for name, value in here.items():
        if value is not None and name in there and there[name] != value:
            raise UsageError(
                f"{path}: {name} is {there[name]!r} in the file, but {value!r} now: "
                "give the recorded value, or write to another folder"
            )


def _same_request(plan: CellPlan, inputs: Inputs, measured_with: Mapping[str, Any]) -> bool:
    """Return whether the options that need a model, and all input files, are the same."""
    settings, hashes = plan.settings, dict(measured_with.get("sha256") or {})
    hashes.pop("vector", None)
    return (
        measured_with.get("forks") == [*fork_points(settings.forks, settings.window)]
        and hashes == {name: file.sha256 for name, file in inputs.files.items()}
        and measured_with.get(REQUESTED) == requested(plan)
    )


def _same_model(name: str, calib: Mapping[str, Any]) -> bool:
    """Return whether a model is the recorded folder or file, or the recorded commit of a hub."""
    there, here = Path(str(calib.get("model"))).expanduser(), Path(name).expanduser()
    try:
        return there.samefile(here)
    except OSError:
        return calib.get("model") == name and calib.get("commit", "") == _cached_commit(name)


def _cached_commit(name: str) -> str | None:
    """Return the cached commit of a hub's model, which a run without a network loads; or None."""
    import huggingface_hub as hub

    try:
        found = hub.try_to_load_from_cache(name, "config.json")
    except ValueError:  # not a valid name on a hub
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def _has_all_doses(settings: Settings, folder: Path) -> bool:
    """Return whether a cell has its vectors and every dose; raise if a file lacks a dose."""
    files = CellFiles.read(folder)
    left = [alpha for alpha in settings.alphas if not _contains_dose(files.completed, alpha)]
    if left or not (folder / VECTOR).is_file():
        return False
    kl, texts = files.content[TRAJECTORY].get(KL, {}), files.content[GENERATIONS].get("", {})
    for file, found in ((TRAJECTORY, kl), (GENERATIONS, texts)):
        for alpha in settings.alphas:
            if not _contains_dose(map(float, found), alpha):
                raise CellError(
                    folder,
                    file,
                    f"lacks alpha {alpha:g}, which {PMASS} lists as complete; remove the folder "
                    "to make the cell again",
                )
    return True


def _contains_dose(doses: Iterable[float], alpha: float) -> bool:
    return any(same_dose(alpha, each) for each in doses)


def _model_files(model: Path) -> list[Path]:
    """List the files of a model's folder, or a GGUF file and those beside it; empty for a name."""
    try:
        if model.is_file():
            return [model, *(each for each in _files(model.parent) if each.suffix != ".gguf")]
        return _files(model)
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file())


def _hash(files: Sequence[Path]) -> str | None:
    """Hash names and contents of files, of large ones a sample; None without files."""
    names = [file.name for file in files]
    try:
        large = [file for file in files if file.stat().st_size > LARGE]
        small = [file for file in files if file not in large]
        contents = [files_identity(small), files_identity(large, whole=0)]
        return digest([names, *contents]) if files else None
    except OSError:
        return None  # loading the file reports the error
