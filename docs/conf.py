"""How the site is built: ``python -m sphinx -W -n --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

import isoklx

sys.path.insert(0, str(Path(__file__).parent))  # extensions/ is of these pages alone

project = "isoklx"
version = release = isoklx.__version__
html_title = f"isoklx {release}"
html_show_copyright = False

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "extensions",
]
exclude_patterns = ["_build"]

# Furo: one column that reads well on a phone and in the dark, nothing fetched from a network, and
# the contents of a long page of the reference beside it.
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Every picture of the gallery and every output of the tutorial is made by the build, each time:
# what is cached would outlive a change of the package.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600  # a cell measures a model, on whatever machine
nb_output_stderr = "warn"

autodoc_typehints = "none"  # the docstrings have them, in words
autosummary_generate = False
default_role = "name"  # `isoklx.survival` in a docstring is a link, and `ds` is code
numpydoc_show_class_members = False
# All but matters of taste: see-also and a longer summary everywhere (SA, ES01), an imperative
# (SS05), a sentence where the type says all (RT03), and types of parameters that are "as for"
# another function, which stand in one line (PR04).
numpydoc_validation_checks = {"all", "ES01", "SA01", "SA04", "SS05", "RT03", "PR04"}
numpydoc_validation_exclude = {r"isoklx\.\w+Error$"}  # what is raised has no example of its own
