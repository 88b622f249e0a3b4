"""Graphs as text: Graphviz's DOT, the SVG that Graphviz draws of it, and Mermaid for small graphs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from ..ir.errors import EmissionError
from ..ir.program import Program, require_program
from .graph import COLOURS, Box, boxes, edges

__all__ = ["to_dot", "to_mermaid", "to_svg"]

_MERMAID_LIMIT = 200
"""Mermaid draws no readable picture of more boxes than this."""


def to_dot(program: Program, function: str = "") -> str:
    """Write a function as a graph for Graphviz, name scopes as clusters.

    Parameters
    ----------
    program : Program
    function : str
        Its name; the entry if empty.

    Returns
    -------
    str
        In the DOT language.

    Raises
    ------
    BrainIRError
        If the program has no such function.
    """
    require_program(program)
    drawn = program.function(function or program.entry)
    lines = [
        f"digraph {_quoted(drawn.name)} {{",
        "  rankdir=TB; nodesep=0.25; ranksep=0.35; compound=true;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10, color="#6b7280"];',
        '  edge [color="#9ca3af", arrowsize=0.6];',
        *_clusters(list(boxes(program, drawn)), (), 1),
        *(f"  {_quoted(edge.source)} -> {_quoted(edge.target)};" for edge in edges(drawn)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _clusters(inside: list[Box], around: tuple[str, ...], depth: int) -> Iterator[str]:
    margin, level = "  " * depth, len(around)
    groups: dict[str, list[Box]] = {}
    for box in inside:
        if len(box.groups) > level:
            groups.setdefault(box.groups[level], []).append(box)
            continue
        label = f"{_escaped(box.title)}\\n{_escaped(box.detail)}"
        yield f'{margin}{_quoted(box.key)} [label="{label}", fillcolor="{COLOURS[box.kind]}"];'
    for name, members in groups.items():
        path = (*around, name)
        yield f"{margin}subgraph {_quoted('cluster_' + '/'.join(path))} {{"
        yield f'{margin}  label={_quoted(name)}; style=rounded; color="#9ca3af"; fontname="Helvetica"; fontsize=11;'
        yield from _clusters(members, path, depth + 1)
        yield f"{margin}}}"


def to_svg(program: Program, function: str = "") -> str:
    """Draw a function with Graphviz, as :func:`to_dot` writes it.

    Parameters
    ----------
    program : Program
    function : str
        Its name; the entry if empty.

    Returns
    -------
    str
        An SVG document.

    Raises
    ------
    EmissionError
        If Graphviz is not installed, or fails.
    BrainIRError
        If the program has no such function.
    """
    dot = shutil.which("dot")
    if dot is None:
        raise EmissionError("drawing needs Graphviz, and there is no command dot; install it, or take the DOT text")
    done = subprocess.run(  # noqa: S603  # a fixed command, text through standard input
        [dot, "-Tsvg"], input=to_dot(program, function), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EmissionError(f"Graphviz failed: {done.stderr.strip()[:500]}")
    return done.stdout


def to_mermaid(program: Program, function: str = "") -> str:
    """Write a function as a Mermaid flowchart.

    Parameters
    ----------
    program : Program
    function : str
        Its name; the entry if empty.

    Returns
    -------
    str

    Raises
    ------
    EmissionError
        If it has more boxes than Mermaid can draw readably.
    BrainIRError
        If the program has no such function.
    """
    require_program(program)
    drawn = program.function(function or program.entry)
    shown = list(boxes(program, drawn))
    if len(shown) > _MERMAID_LIMIT:
        raise EmissionError(
            f"{drawn.name} has {len(shown)} boxes, and Mermaid is for up to {_MERMAID_LIMIT}; use to_html or to_dot"
        )
    number = {box.key: f"n{index}" for index, box in enumerate(shown)}
    lines = ["flowchart TD"]
    for box in shown:
        opening, closing = ("([", "])") if box.kind in ("hidden", "param", "other", "argument") else ("[", "]")
        text = f"{_entities(box.title)}<br/>{_entities(box.detail)}"
        lines.append(f'  {number[box.key]}{opening}"{text}"{closing}:::{box.kind}')
    lines += [f"  {number[edge.source]} --> {number[edge.target]}" for edge in edges(drawn)]
    used = {box.kind for box in shown}
    lines += [
        f"  classDef {kind} fill:{fill},stroke:#6b7280,color:#111827" for kind, fill in COLOURS.items() if kind in used
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _entities(text: str) -> str:
    """Return text in which nothing is syntax for Mermaid."""
    return "".join(letter if letter.isalnum() or letter in " ._,-" else f"#{ord(letter)};" for letter in text)
