"""Figures that are a function's result, in a notebook."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure


class ShownOnce(Figure):
    """A figure that a notebook shows once, though it is the last expression of its cell.

    The notebook shows the value of the last expression, and the inline backend all that pyplot
    still holds at the end of the cell: the same figure again. Who shows this one takes it from
    pyplot.
    """

    def _ipython_display_(self) -> None:
        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError  # it is shown as any other figure
