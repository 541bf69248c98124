"""The direction of a cell: found in pairs or read from a file, and where its calibration starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells.layout import VECTOR
from isoklx.cells.vector_file import vectors_sha256
from isoklx.engine.activations import extract
from isoklx.engine.calibration_start import calibration_start
from isoklx.engine.inputs import Inputs
from isoklx.engine.loading import LoadedModel
from isoklx.engine.plans import CellPlan
from isoklx.engine.settings import Settings
from isoklx.engine.steering import Steering, decoder_blocks, layer_numbers
from isoklx.engine.tokenised import Tokenised
from isoklx.engine.vectors import read_steering, steering_bytes
from isoklx.errors import UsageError
from isoklx.system.atomic import replacing

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
        """Leave the vectors in a cell's folder, unless they are there."""
        if not (folder / VECTOR).exists():
            with replacing(folder / VECTOR) as partial:
                partial.write_bytes(self.content)


def direction_of(
    plan: CellPlan,
    loaded: LoadedModel,
    inputs: Inputs,
    tokenised: Tokenised,
    begin: Callable[[str], object] = lambda _: None,
) -> Direction:
    """Find or read the direction of a cell.

    Parameters
    ----------
    plan : CellPlan
        Says which method and layers, and in which file a direction is.
    loaded : LoadedModel
        The model that is steered.
    inputs : Inputs
        The pairs.
    tokenised : Tokenised
        Its calibration prompts tell how large its states are.
    begin : callable
        Is given the name of each phase before it begins.

    Returns
    -------
    Direction

    Raises
    ------
    UsageError
        For a vector file or layers that are not as they should be, or answers that are too long.
    MeasureError
        When the sides of the pairs do not differ.
    """
    settings = plan.settings
    sha256 = {}
    if inputs.pairs is None:
        steering = steering_in_file(loaded, settings)
    else:
        sha256["pairs"] = inputs.pairs.sha256
        begin(f"finding the direction in {len(inputs.pairs.rows)} pairs")
        layers = layer_numbers(loaded.model, settings.layer or (LAYER,))
        try:
            steering = extract(
                loaded.model,
                loaded.tokenizer,
                inputs.pairs.rows,
                layers,
                plan.method,
                token=settings.token,
            )
        except UsageError as error:
            raise UsageError(f"{inputs.pairs.path}: {error}") from error
    sha256["vector"] = vectors_sha256(steering.vectors)
    begin("estimating the first coefficient")
    start = calibration_start(
        loaded,
        steering,
        tokenised,
        window=settings.window,
        target_kl=settings.target_kl,
        statistic=settings.statistic,
    )
    return Direction(steering, start, sha256, loaded.name)


def steering_in_file(loaded: LoadedModel, settings: Settings) -> Steering:
    """Read the vectors of a run's file, for a model."""
    assert settings.vector is not None
    return read_steering(
        settings.vector,
        hidden=loaded.model.config.get_text_config().hidden_size,
        depth=len(decoder_blocks(loaded.model)),
        layers=None if settings.layer is None else layer_numbers(loaded.model, settings.layer),
    )
