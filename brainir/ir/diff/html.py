"""Two versions of a program side by side, as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from ..printer import format_constant, format_node, format_path, format_program
from ..program import Function, Program

__all__ = ["format_side_by_side"]

_CONTEXT = 3
_Row = tuple[str, str, str]

_STYLE = """
.brainir-diff table { border-collapse: collapse; font-family: monospace; font-size: 12px; width: 100%; }
.brainir-diff td { padding: 0 6px; vertical-align: top; white-space: pre-wrap; width: 50%; text-align: left; }
.brainir-diff .added td + td, .brainir-diff .changed td + td { background: rgba(46, 160, 67, 0.2); }
.brainir-diff .removed td:first-child, .brainir-diff .changed td:first-child { background: rgba(248, 81, 73, 0.2); }
.brainir-diff .gap td { color: gray; text-align: center; }
"""


def format_side_by_side(old: Program, new: Program, summary: str) -> str:
    """Write both versions next to each other, function by function, without long runs of equal lines.

    Parameters
    ----------
    old : Program
    new : Program
        With the names and the order of `old`; see :func:`relabel`.
    summary : str
        Text that goes above.
    """
    parts = [f"<style>{_STYLE}</style><pre>{html.escape(summary)}</pre>"]
    parts += _table("states", _align(_states(old), _states(new)))
    for name in dict.fromkeys((*new.table, *old.table)):
        before, after = old.table.get(name), new.table.get(name)
        parts += _table(f"def {name}", _align(_lines(before), _lines(after)))
    return f"<div class='brainir-diff'>{''.join(parts)}</div>"


def _states(program: Program) -> dict[str, str]:
    text = format_program(program).split("\n\n", 2)
    rows = [line.strip() for line in text[1].splitlines()[1:]] if text[1].startswith("states:") else []
    return {format_path(state.path): row for state, row in zip(program.interface.states, rows, strict=False)}


def _lines(function: Function | None) -> dict[str, str]:
    """Return the lines of a function by what they define."""
    if function is None:
        return {}
    inputs = ", ".join(f"{name}: {kind}" for name, kind in zip(function.inputs, function.types, strict=True))
    lines = {"(": f"({inputs})"}
    lines |= {constant.name: format_constant(constant) for constant in function.constants}
    for index, node in enumerate(function.nodes):
        lines[node.outputs[0] if node.outputs else f"#{index}"] = format_node(node)
    return {**lines, ")": f"return {', '.join(function.outputs)}"}


def _align(old: dict[str, str], new: dict[str, str]) -> Iterator[_Row]:
    """Yield rows of kind, old line and new line; lines of one key stand next to each other where the order allows."""
    place = {key: index for index, key in enumerate(old)}
    waiting = list(old.items())
    shown = 0
    for key, line in new.items():
        at = place.get(key, -1)
        if at < shown:
            yield "added", "", line
            continue
        for _, text in waiting[shown:at]:
            yield "removed", text, ""
        yield "same" if old[key] == line else "changed", old[key], line
        shown = at + 1
    for _, text in waiting[shown:]:
        yield "removed", text, ""


def _table(title: str, rows: Iterable[_Row]) -> Iterator[str]:
    listed = list(rows)
    near = bytearray(len(listed))
    for index, (kind, _, _) in enumerate(listed):
        if kind != "same":
            for other in range(max(0, index - _CONTEXT), min(len(listed), index + _CONTEXT + 1)):
                near[other] = 1
    if not any(near):
        return
    yield f"<h4>{html.escape(title)}</h4><table>"
    skipped = 0
    for index, (kind, old, new) in enumerate(listed):
        if not near[index]:
            skipped += 1
            continue
        yield from _gap(skipped)
        skipped = 0
        yield f"<tr class='{kind}'><td>{html.escape(old)}</td><td>{html.escape(new)}</td></tr>"
    yield from _gap(skipped)
    yield "</table>"


def _gap(skipped: int) -> Iterator[str]:
    if skipped:
        yield f"<tr class='gap'><td colspan='2'>{skipped} equal line{'s' if skipped > 1 else ''}</td></tr>"
