"""The direction of a cell: found in pairs or read from a file, and where its calibration starts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isoklx.cells.atomic import replacing
from isoklx.cells.sources import VECTOR
from isoklx.errors import BuildError
from isoklx.measure import prompts
from isoklx.measure.blocks import decoder_blocks, layer_numbers
from isoklx.measure.calibration_start import calibration_start
from isoklx.measure.extraction import extract
from isoklx.measure.loading import LoadedModel
from isoklx.measure.plans import CellPlan
from isoklx.measure.steering import Steering
from isoklx.measure.tokenised import Tokenised
from isoklx.measure.vectors import read_steering, steering_bytes

LAYER = 0.6
"""Share of the depth at which a model is steered unless it is said where."""


@dataclass(frozen=True)
class Direction:
    """What a cell is steered with.

    Parameters
    ----------
    steering : Steering
        The vectors, and what is done with them.
    start : float
        The coefficient that the calibration tries first, above 0.
    sha256 : dict of str
        Of the vectors, and of the pairs that they were found in.
    model : str
        Whose states they are of.
    """

    steering: Steering
    start: float
    sha256: dict[str, str]
    model: str

    @property
    def content(self) -> bytes:
        """Of the file that holds it."""
        return steering_bytes(self.steering, self.model)

    def write(self, folder: Path) -> None:
        """Leave the vectors in a cell's folder, which is made if there is none."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"{folder}: cannot be made a folder: {error.strerror}") from error
        with replacing(folder / VECTOR) as partial:
            partial.write_bytes(self.content)


def direction_of(plan: CellPlan, loaded: LoadedModel, tokenised: Tokenised) -> Direction:
    """Find or read the direction of a cell.

    Parameters
    ----------
    plan : CellPlan
        Says which method, layers and files.
    loaded : LoadedModel
        The model that is steered.
    tokenised : Tokenised
        Its calibration prompts tell how large its states are.

    Returns
    -------
    Direction

    Raises
    ------
    UsageError
        For pairs, a vector file or layers that are not as they should be.
    MeasureError
        When the sides of the pairs do not differ.
    """
    settings = plan.settings
    sha256 = {}
    if settings.vector is not None:
        blocks = decoder_blocks(loaded.model)
        steering = read_steering(
            settings.vector,
            hidden=loaded.model.config.get_text_config().hidden_size,
            depth=len(blocks),
            layers=None if settings.layer is None else layer_numbers(loaded.model, settings.layer),
        )
    else:
        pairs = prompts.read_pairs(settings.pairs or prompts.PAIRS)
        sha256["pairs"] = pairs.sha256
        steering = extract(
            loaded.model,
            loaded.tokenizer,
            pairs.rows,
            layer_numbers(loaded.model, settings.layer or (LAYER,)),
            plan.method,
            token=settings.token,
        )
    sha256["vector"] = _hash(steering)
    start = calibration_start(
        loaded,
        steering,
        tokenised,
        window=settings.window,
        target_kl=settings.target_kl,
        statistic=settings.statistic,
    )
    return Direction(steering, start, sha256, loaded.name)


def _hash(steering: Steering) -> str:
    digest = hashlib.sha256()
    for layer in sorted(steering.vectors):
        digest.update(f"{layer}:".encode())
        digest.update(np.ascontiguousarray(steering.vectors[layer], "<f4").tobytes())
    return digest.hexdigest()
