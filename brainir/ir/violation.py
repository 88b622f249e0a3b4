"""The error for an invariant that does not hold."""

from __future__ import annotations

from .errors import VerificationError
from .printer import format_node
from .program import Function

__all__ = ["violation"]


def violation(
    reason: str, remedy: str, function: Function | None = None, index: int | None = None
) -> VerificationError:
    """Build the error for a program, a function of it, or one node of the function."""
    if function is None:
        return VerificationError(f"{_clip(reason)}\n  to do: {remedy}")
    where = f"function {_clip(repr(function.name), 80)}"
    lines: list[str] = []
    if index is not None:
        node = function.nodes[index]
        where += f", node {index} ({node.op})"
        shown = range(max(0, index - 2), min(len(function.nodes), index + 3))
        lines = [f"  {'>' if k == index else ' '} {k:5} | {_clip(format_node(function.nodes[k]))}" for k in shown]
        if node.source:
            lines.append(f"  model: {_clip(node.source)}")
    return VerificationError("\n".join([f"{where}: {_clip(reason)}", *lines, f"  to do: {remedy}"]))


def _clip(text: str, length: int = 300) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= length else f"{line[: length - 3]}..."
