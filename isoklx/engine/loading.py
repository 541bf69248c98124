"""Loading of a language model and its tokenizer from a folder, a GGUF file or a hub."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partialmethod
from logging import ERROR
from pathlib import Path
from typing import Any

import huggingface_hub as hub
import torch
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import logging as hub_logging
from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from isoklx.engine.identity import CONFIG, model_identity
from isoklx.engine.steering import refuse_other_outputs
from isoklx.errors import MeasureError, UsageError

PATIENCE = 10
"""Seconds to wait for an answer of a hub."""

NO_CODE = {"trust_remote_code": False}
"""Never run code that comes with a model, and never prompt for permission."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, without gradients, with its tokenizer."""

    name: str  # as requested: ``org/name``, or a path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    commit: str | None  # served by a hub
    identity: Mapping[str, str]  # hashes of weights and configuration

    @property
    def made_with(self) -> dict[str, str]:
        """Precision, device and attention, as recorded in a cell."""
        return {
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "attention": str(getattr(self.model.config, "_attn_implementation", "")),
        }


def load_model(name: str, *, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load a model and its tokenizer; precision auto is float32 on a CPU, else the model's own."""
    where = _resolve_device(device)
    precision = ("float32" if where.type == "cpu" else "auto") if dtype == "auto" else dtype
    source, options = _resolve_source(name)
    try:
        with quiet():
            if not Path(source).exists():
                _check_hub(source)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            loading: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=precision, output_loading_info=True, **options
            )
            model, report = loading
            commit = getattr(model.config, "_commit_hash", None)
            identity = model_identity(source, options.get("gguf_file"), commit)
    except Exception as error:  # each architecture and library has its own errors
        # transformers' message is a page long; its first line has the reason.
        here = "" if Path(source).exists() else "not a folder, and "
        raise MeasureError(f"{name}: {here}cannot be loaded: {_first_line(error)}") from error
    if absent := sorted(report["missing_keys"]):
        lack = f"{absent[0]} ({len(absent)} in all)"
        raise MeasureError(f"{name}: its files lack weights, which would be random: {lack}")
    try:
        model = model.to(where)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        raise MeasureError(f"{name}: does not fit on {where}: {_first_line(error)}") from error
    model.eval()
    model.requires_grad_(requires_grad=False)
    try:
        with quiet():
            refuse_other_outputs(model)
    except torch.OutOfMemoryError as error:
        raise MeasureError(f"{name}: does not fit on {where}: {_first_line(error)}") from error
    except Exception as error:  # any error of the architecture's own code
        raise MeasureError(f"{name}: {_first_line(error)}") from error
    return LoadedModel(name, model, tokenizer, commit, identity)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence all but errors of transformers and the hub, and progress bars, within the block."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hubs = hub_logging.get_verbosity()
    logging.set_verbosity_error()
    hub_logging.set_verbosity(ERROR)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), _without_bars():
            warnings.filterwarnings("ignore", module="(transformers|torch|huggingface_hub)")
            yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hubs)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _without_bars() -> Iterator[None]:
    """Disable tqdm for every caller: the GGUF reader ignores transformers' setting."""
    init = tqdm.__init__
    tqdm.__init__ = partialmethod(init, disable=True)
    try:
        yield
    finally:
        tqdm.__init__ = init


def _resolve_source(name: str) -> tuple[str, dict[str, Any]]:
    """Return source and options for transformers; an existing folder has precedence over a name."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name, **NO_CODE}
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UsageError(f"{name}: not a model folder: {CONFIG} not found")
        return str(path), dict(NO_CODE)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UsageError(f"{name}: folder not found")
    return name, dict(NO_CODE)


def _check_hub(name: str) -> None:
    """Check that a hub answers, as transformers would retry every file for half a minute."""
    if hub.constants.HF_HUB_OFFLINE or hub.try_to_load_from_cache(name, CONFIG) is not None:
        return
    url = hub.hf_hub_url(name, CONFIG)
    for last in (False, True):
        try:
            hub.get_hf_file_metadata(url, timeout=PATIENCE)
        except HfHubHTTPError:  # it answered; transformers reports the error
            return
        except Exception as error:  # any error of the HTTP library
            if last:
                where = hub.constants.ENDPOINT
                raise ConnectionError(f"{where} cannot be reached: {error}") from error
            time.sleep(1)
        else:
            return


def _resolve_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {name!r} cannot be used: {_first_line(error)}") from error
    return device


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
