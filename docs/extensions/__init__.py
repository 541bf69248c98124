"""Sphinx extensions of the site: parts of its pages are generated from the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of all of it."""
    from extensions import generated, mathml, names, shell_examples

    app.add_role("name", names.role)
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.displayed, None))
    app.connect("source-read", generated.fill)
    app.connect("autodoc-process-docstring", shell_examples.process, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
