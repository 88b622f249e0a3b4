"""Differences as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ..wording import counted
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
    """Write changes by function, at most `shown` of them.

    Types that follow from others are counted only, and so are nodes that moved to one scope together.
    """
    lines: list[str] = []
    blocks: dict[str, list[Change]] = {}
    for change in changes:
        blocks.setdefault(_title(change), []).append(change)
    room = shown
    elsewhere: Counter[str] = Counter()
    for title, inside in blocks.items():
        told = [change for change in inside if not change.follows]
        follow = len(inside) - len(told)
        if not told:
            elsewhere[title] = follow
            continue
        lines.append(title)
        told, moves = _moved_together(told)
        lines += moves
        lines += _block(told[:room])
        if len(told) > room:
            lines.append(f"  and {counted(len(told) - room, 'more change')}")
        room = max(0, room - len(told))
        if follow:
            lines.append(f"  and {_following(follow)}")
    if elsewhere:
        lines.append(f"and, in {counted(len(elsewhere), 'other function')}, {_following(elsewhere.total())}")
    return "\n".join(lines)


def _following(count: int) -> str:
    return f"{counted(count, 'type')} that {'follows' if count == 1 else 'follow'} from others"


def _moved_together(changes: list[Change]) -> tuple[list[Change], list[str]]:
    """Take out the nodes that moved from one scope to another with others, and return a line for all of them."""
    together: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        if not change.counts:
            together.setdefault(_scopes(change), []).append(change)
    groups = {scopes: moved for scopes, moved in together.items() if len(moved) > 1}
    lines = [
        f"  ~ {len(moved)} nodes moved: {before or '(none)'} -> {after or '(none)'}"
        for (before, after), moved in groups.items()
    ]
    return [change for change in changes if change.counts or _scopes(change) not in groups], lines


def _scopes(change: Change) -> tuple[str, str]:
    """Return the old and the new scope of a node that moved, without the inner scopes that it kept."""
    before, after = (text.split("/") if text != "(none)" else [] for text in (change.before, change.after))
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return "/".join(before), "/".join(after)


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
