"""One HTML page with a program in it, which needs nothing else and no network."""

from __future__ import annotations

import html
import json
from importlib import resources
from string import Template

from ..ir.program import Program, require_program
from .payload import page_data

__all__ = ["to_html"]

_SCRIPTS = ("layout.js", "scene.js", "panel.js", "main.js")


def to_html(program: Program, *, against: Program | None = None, title: str = "") -> str:
    """Write a page to look at a program with.

    The graph of each function is folded by name scopes, or by the model's lines. A click on a box shows its types,
    attributes, the model's line, and where it comes from and goes to; a click on a parameter shows how it reaches
    hidden states. The page loads nothing from elsewhere.

    Parameters
    ----------
    program : Program
    against : Program, optional
        An older version; the page then shows both side by side, with what differs in colour.
    title : str
        Heading of the page; by default the name of the entry.

    Returns
    -------
    str
        The text of an HTML file.
    """
    require_program(program, program if against is None else against)
    data = page_data(program, against)
    parts = {
        "title": html.escape(title or program.entry),
        "style": _asset("page.css"),
        "script": "\n".join(map(_asset, _SCRIPTS)),
        # A file is data: its text cannot end the element that holds it.
        "program": json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return Template(_asset("page.html")).substitute(parts)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
