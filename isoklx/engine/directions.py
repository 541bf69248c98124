"""Direction of a cell, found in pairs or read from a file, and its first coefficient."""

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
"""Default position of the steered block, as a share of the depth."""


@dataclass(frozen=True)
class Direction:
    """Steering vectors of a cell, with the first coefficient of its calibration."""

    steering: Steering
    start: float  # first coefficient that the calibration tries, above 0
    sha256: dict[str, str]  # of the vectors, and of the pairs if they were found in pairs
    model: str

    @property
    def content(self) -> bytes:
        """Serialized content of vector.safetensors."""
        return steering_bytes(self.steering, self.model)

    def write(self, folder: Path) -> None:
        """Write vector.safetensors into a cell's folder, unless it exists."""
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
    """Find or read the direction of a cell, and estimate its first coefficient."""
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
    """Read the steering of a run's vector file, for a model."""
    assert settings.vector is not None
    return read_steering(
        settings.vector,
        hidden=loaded.model.config.get_text_config().hidden_size,
        depth=len(decoder_blocks(loaded.model)),
        layers=None if settings.layer is None else layer_numbers(loaded.model, settings.layer),
    )
