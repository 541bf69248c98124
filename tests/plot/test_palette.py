from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from colorspacious import cspace_convert
from matplotlib.colors import to_rgb

from isoklx.plot import palette


def grey(colour: object) -> float:
    """Return the luma, 0 to 1, as printers compute it."""
    return float(np.dot([0.299, 0.587, 0.114], to_rgb(colour)))  # type: ignore[arg-type]


def test_the_colour_of_a_dose_does_not_depend_on_the_other_doses() -> None:
    assert palette.dose_colours([0, 1, 8])[1.0] == palette.dose_colours([1])[1.0]


def test_doses_differ_in_greyscale() -> None:
    shades = [grey(c) for c in palette.dose_colours([0, 0.25, 0.5, 1, 2, 4]).values()]
    assert min(np.diff(shades)) > 0.05
    assert max(shades) < 0.8, "too light upon white"


def test_a_negative_dose_has_another_colour_than_the_positive_one() -> None:
    assert len(set(palette.dose_colours([-1, 1]).values())) == 2


@pytest.mark.parametrize(
    ("dark", "light"), [(palette.DEAD, palette.ALIVE), (palette.CROSSED, palette.BELOW)]
)
def test_more_important_things_are_darker(dark: str, light: str) -> None:
    assert grey(light) - grey(dark) > 0.3


def seen(colour: str, kind: str) -> npt.NDArray[np.float64]:
    """Simulate a colour for a dichromat, in a perceptually uniform space."""
    blind = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
    rgb = to_rgb(colour) if kind == "none" else cspace_convert(to_rgb(colour), blind, "sRGB1")
    return np.asarray(cspace_convert(np.clip(rgb, 0, 1), "sRGB1", "CAM02-UCS"))


KINDS = ("none", "deuteranomaly", "protanomaly", "tritanomaly")
KNOWN = [colour for colour, _ in palette.METHODS.values()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("colours", "least"),
    [
        (KNOWN, 25),
        ([*KNOWN, *palette.OTHER_COLOURS], 12),
        ([palette.ALIVE, palette.DEAD, palette.UNKNOWN], 15),
        ([palette.CROSSED, palette.BELOW], 30),
        (list(palette.dose_colours([0, 0.5, 1, 2, 4]).values()), 7),
    ],
)
def test_colour_blind_readers_can_distinguish_colours(
    colours: list[str], least: float, kind: str
) -> None:
    looks = [seen(colour, kind) for colour in colours]
    apart = [np.linalg.norm(one - other) for one, other in itertools.combinations(looks, 2)]
    assert min(apart) > least


def test_known_methods_differ_in_grey_and_are_visible_on_white() -> None:
    shades = sorted(map(grey, KNOWN))
    assert min(np.diff(shades)) > 0.1
    assert max(map(grey, [*KNOWN, *palette.OTHER_COLOURS])) < 0.72


def test_a_known_method_looks_the_same_whatever_the_others_are() -> None:
    names = ["directional_ablation", "lora", "mean_diff", "pca"]
    together = palette.method_styles(names)
    assert list(together) == names
    for name in names:
        assert palette.method_styles([name])[name] == together[name]


def test_methods_of_one_figure_differ() -> None:
    eight = palette.method_styles(["pca", "mean_diff", "directional_ablation", *"abcde"])
    assert len({colour for colour, _ in eight.values()}) == 8
    assert len(set(palette.method_styles([*palette.METHODS, *"abcdefghij"]).values())) == 13


@pytest.mark.parametrize("label", ["layer", "method"])
def test_more_labels_than_colours_differ_in_dashes(label: str) -> None:
    names = [*palette.METHODS, *(f"m{i:02}" for i in range(20))]
    styles = palette.group_styles([((label, name),) for name in names])
    looks = [(style["color"], style["linestyle"]) for style in styles]
    assert len(set(looks)) == 23
    assert {dashes for _, dashes in looks[:8]} == {"-"}


def test_small_print_is_nearer_to_the_text_of_the_style() -> None:
    purple = palette.dose_colours([0.0])[0.0]
    assert grey(palette.small_print(purple)) < grey(purple)
    with mpl.rc_context({"text.color": "white"}):
        assert palette.ink() == "white"
        assert grey(palette.small_print(purple)) > grey(purple)


def test_pmass_becomes_lighter_all_the_way_up() -> None:
    shades = [grey(palette.pmass_colours()(value)) for value in np.linspace(0, 1, 21)]
    assert all(low < high for low, high in itertools.pairwise(shades))
