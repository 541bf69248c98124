"""A language model and its tokenizer, from a folder, a GGUF file or a hub's name."""

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
"""Seconds in which a hub answers."""

NO_CODE = {"trust_remote_code": False}
"""Code that comes with a model is not run, and nobody is asked whether it may be."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to be measured.

    Parameters
    ----------
    name : str
        As it was asked for: ``org/name``, or a path.
    model : PreTrainedModel
        In evaluation mode, without gradients.
    tokenizer : PreTrainedTokenizerBase
        Its own.
    commit : str or None
        The commit that a hub served.
    identity : dict of str
        Of weights and configuration, by content.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    commit: str | None
    identity: Mapping[str, str]

    @property
    def made_with(self) -> dict[str, str]:
        """Precision, device and attention, as they are recorded."""
        return {
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "attention": str(getattr(self.model.config, "_attn_implementation", "")),
        }


def load_model(name: str, *, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load a model and its tokenizer.

    Parameters
    ----------
    name : str
        A folder, a GGUF file in one, or a name that a hub knows.
    device : str
        As torch names it; ``"auto"`` is a GPU where there is one.
    dtype : str
        Precision; ``"auto"`` is float32 on a CPU, where the others are slow, else the model's own.

    Returns
    -------
    LoadedModel

    Raises
    ------
    UsageError
        When there is no such model or device.
    MeasureError
        When it is there and cannot be loaded, or its blocks cannot be steered.
    """
    where = _device(device)
    precision = ("float32" if where.type == "cpu" else "auto") if dtype == "auto" else dtype
    source, options = _source(name)
    try:
        with quiet():
            if not Path(source).exists():
                _ask_hub(source)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            loading: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=precision, output_loading_info=True, **options
            )
            model, report = loading
            commit = getattr(model.config, "_commit_hash", None)
            identity = model_identity(source, options.get("gguf_file"), commit)
    except Exception as error:  # each architecture, and each library below, has its own
        # What transformers says is a page; its first line has the reason.
        here = "" if Path(source).exists() else "is no folder, and "
        raise MeasureError(f"{name}: {here}cannot be loaded: {_first_line(error)}") from error
    if absent := sorted(report["missing_keys"]):
        lack = f"its files lack {absent[0]}, {len(absent)} of its weights in all"
        raise MeasureError(f"{name}: {lack}: they would be random")
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
    except Exception as error:  # of whatever the architecture's own code raises
        raise MeasureError(f"{name}: {_first_line(error)}") from error
    return LoadedModel(name, model, tokenizer, commit, identity)


@contextmanager
def quiet() -> Iterator[None]:
    """Hear nothing but errors of transformers and the hub within, and see no bars.

    Afterwards all is as before.
    """
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
    """Have tqdm draw nothing, whoever calls it: what reads GGUF does not ask transformers first."""
    init = tqdm.__init__
    tqdm.__init__ = partialmethod(init, disable=True)
    try:
        yield
    finally:
        tqdm.__init__ = init


def _source(name: str) -> tuple[str, dict[str, Any]]:
    """What transformers is asked for; a folder is told from a name by whether it is there."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name, **NO_CODE}
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UsageError(f"{name}: is a folder without {CONFIG}, and so no model")
        return str(path), dict(NO_CODE)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UsageError(f"{name}: there is no such folder")
    return name, dict(NO_CODE)


def _ask_hub(name: str) -> None:
    """Ask a hub for one file of a model that is not here yet.

    What follows tries every file for half a minute, and a name may be misspelt. Whatever a hub
    answers, transformers goes on with it.
    """
    if hub.constants.HF_HUB_OFFLINE or hub.try_to_load_from_cache(name, CONFIG) is not None:
        return
    url = hub.hf_hub_url(name, CONFIG)
    for last in (False, True):
        try:
            hub.get_hf_file_metadata(url, timeout=PATIENCE)
        except HfHubHTTPError:
            return
        except Exception as error:  # of whatever the hub's library makes requests with
            if last:
                where = hub.constants.ENDPOINT
                raise ConnectionError(f"{where} cannot be reached: {error}") from error
            time.sleep(1)
        else:
            return


def _device(name: str) -> torch.device:
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
