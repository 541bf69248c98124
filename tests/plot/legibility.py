"""Check that all text of a figure is inside the page and does not overlap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def assert_legible(figure: Figure) -> None:
    figure.draw_without_rendering()
    boxes = _boxes(figure)
    page = figure.bbox
    assert min(text.get_fontsize() for text in _shown(figure)) >= 6
    for said, box in boxes:
        beyond = max(page.x0 - box.x0, page.y0 - box.y0, box.x1 - page.x1, box.y1 - page.y1)
        assert beyond <= 1, f"{said!r} is cut off"
    for (said, box), (other, its_box) in combinations(boxes, 2):
        assert not _meet(box, its_box), f"{said!r} lies upon {other!r}"


def _boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    renderer = figure.canvas.get_renderer()
    # Only the text of an annotation, without its arrow.
    return [(text.get_text(), Text.get_window_extent(text, renderer)) for text in _shown(figure)]


def _shown(figure: Figure) -> list[Text]:
    axes = [ax for ax in figure.axes if ax.get_visible()]
    texts = [text for part in [figure, *axes] for text in part.findobj(Text) if _is_shown(text)]
    unseen = {id(label) for ax in axes for label in _labels_of_ticks_out_of_view(ax)}
    return list({id(text): text for text in texts if id(text) not in unseen}.values())


def _labels_of_ticks_out_of_view(ax: Axes) -> Iterator[Text]:
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def _is_shown(text: Text) -> bool:
    hidden_axes = text.axes is not None and not text.axes.get_visible()
    return text.get_visible() and bool(text.get_text().strip()) and not hidden_axes


def _meet(box: Bbox, other: Bbox) -> bool:
    # Letters have side bearings of about one point.
    return (
        min(box.x1, other.x1) - max(box.x0, other.x0) > 1
        and min(box.y1, other.y1) - max(box.y0, other.y0) > 1.5
    )
