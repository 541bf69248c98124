"""Functions that draw the figures; they return a grid or figure and save nothing."""

from isoklx.plot.alive import alive as alive
from isoklx.plot.calibration import calibration as calibration
from isoklx.plot.dose_response import dose_response as dose_response
from isoklx.plot.figure1 import figure1 as figure1
from isoklx.plot.registry import redraw as redraw
from isoklx.plot.survival import survival as survival
from isoklx.plot.text import text as text
