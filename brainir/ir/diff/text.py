"""Differences as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from .record import Change

__all__ = ["format_changes", "summarize"]

_SHOWN = 400
_LONGEST = 160
_WORDS = {
    "added": ("node added", "nodes added"),
    "removed": ("node removed", "nodes removed"),
    "moved": ("node moved", "nodes moved"),
    "operation": ("operation replaced", "operations replaced"),
    "attribute": ("attribute changed", "attributes changed"),
    "operand": ("operand rewired", "operands rewired"),
    "constant": ("constant changed", "constants changed"),
    "type": ("type changed", "types changed"),
    "order": ("order changed", "orders changed"),
    "function": ("function added or removed", "functions added or removed"),
    "state": ("change to a state", "changes to states"),
    "role": ("role changed", "roles changed"),
    "argument": ("change to an argument", "changes to arguments"),
    "result": ("change to the result", "changes to results"),
    "unit": ("unit changed", "units changed"),
    "interface": ("change to the interface", "changes to the interface"),
}


def summarize(changes: Iterable[Change]) -> str:
    """Count changes by kind, in one line."""
    counts: Counter[str] = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {words[counts[kind] > 1]}" for kind, words in _WORDS.items() if counts[kind])


def format_changes(changes: Sequence[Change], shown: int = _SHOWN) -> str:
    """Write changes by function, at most `shown` of them; types that follow from others are counted only."""
    lines: list[str] = []
    blocks: dict[str, list[Change]] = {}
    for change in changes:
        blocks.setdefault(_title(change), []).append(change)
    room = shown
    for title, inside in blocks.items():
        lines.append(title)
        told = [change for change in inside if not change.follows]
        lines += _block(told[:room])
        if len(told) > room:
            lines.append(f"  and {len(told) - room} more changes")
        room = max(0, room - len(told))
        if follow := len(inside) - len(told):
            lines.append(f"  and {follow} types that follow from those of operands")
    return "\n".join(lines)


def _title(change: Change) -> str:
    if change.kind == "function":
        return "functions:"
    return f"def {change.function}:" if change.function else "interface:"


def _block(changes: Iterable[Change]) -> Iterator[str]:
    last = None
    for change in changes:
        where = f"  # {change.source}" if change.source else ""
        if change.kind in ("added", "removed"):
            yield f"  {'+' if change.kind == 'added' else '-'} {change.node}{where}"
        elif change.node:
            if last != (change.function, change.new_name):
                yield f"  ~ {change.node}{where}"
            last = change.function, change.new_name
            yield f"      {_aspect(change)}"
            continue
        elif change.aspect in ("added", "removed"):
            sign = "+" if change.aspect == "added" else "-"
            yield f"  {sign} {_label(change)}: {_cut(change.after or change.before)}"
        else:
            yield f"  ~ {_label(change)}: {_aspect(change)}"
        last = None


def _label(change: Change) -> str:
    if change.kind in ("result", "operand", "interface", "function"):
        return change.name
    return f"{'state' if change.kind == 'role' else change.kind} {change.name}"


def _aspect(change: Change) -> str:
    aspect = "moved" if change.kind == "moved" else change.aspect
    words = f"{aspect}: {_cut(change.before)} -> {_cut(change.after)}" if change.before or change.after else aspect
    if change.max_abs_difference is not None:
        words += f" (max abs difference {change.max_abs_difference:.3g})"
    return words


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
