"""Single backticks in docstrings: names of this package become links, the rest is code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.roles import XRefRole

if TYPE_CHECKING:
    from docutils.nodes import Node, system_message

OWN = XRefRole(innernodeclass=nodes.literal)


def role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, *more: Any
) -> tuple[list[Node], list[system_message]]:
    """Read what stands in single backticks; a link that leads nowhere is Sphinx's to report."""
    if text.startswith("isoklx."):
        return OWN("py:obj", rawtext, text, lineno, inliner, *more)
    return [nodes.literal(rawtext, text)], []
