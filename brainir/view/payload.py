"""What the page shows, as JSON: boxes and edges of every function, and what the analyses say about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..analysis import (
    HiddenGroup,
    HiddenParamOpRelation,
    diff,
    find_hidden_groups,
    find_hidden_param_op_relations,
    relation_diagnostics,
    why,
)
from ..ir.canonical import fingerprint
from ..ir.diff import Change, format_changes
from ..ir.errors import AnalysisError
from ..ir.interface import State
from ..ir.printer import format_attribute, format_path
from ..ir.program import Function, Program
from .graph import Box, boxes, edges

__all__ = ["page_data"]

_MANY = 40
_Found = TypeVar("_Found")


def page_data(program: Program, old: Program | None = None) -> dict[str, Any]:
    """Return what the page shows of a program, or of an older one and a newer one side by side."""
    mode = _mode(program.entry_function)
    if old is None:
        return {"sides": [_Side("program", program).data()], "changes": None, "mode": mode}
    before, after = _Side("old", old).data(), _Side("new", program).data()
    changes = [_change(change, old, program) for change in diff(old, program).changes]
    for side, key, function in ((before, "old", "function"), (after, "new", "newFunction")):
        marks = {(each[function], name): each["mark"] for each in changes for name in each[key].split(", ") if name}
        for drawn in side["functions"]:
            for box in drawn["boxes"]:
                found = [marks.get((drawn["name"], name)) for name in (box["key"], *box["results"])]
                box["mark"] = next((mark for mark in found if mark), "")
    return {"sides": [before, after], "changes": changes, "mode": mode}


def _change(change: Change, old: Program, new: Program) -> dict[str, str]:
    """Return a difference with the function and the value that it is about on each side."""
    function = change.function or old.entry
    counterpart = new.entry if function == old.entry else function if function in new.table else ""
    added, removed = (change.kind == kind or change.aspect == kind for kind in ("added", "removed"))
    _, _, text = format_changes((change,)).partition("\n")
    return {
        "text": text.strip(),
        "mark": "added" if added else "removed" if removed else "changed",
        "function": function,
        "newFunction": counterpart,
        "old": change.old_name,
        "new": change.new_name,
    }


def _mode(entry: Function) -> str:
    """Return how the entry is folded at first: by scopes if it has some, by lines if it is large."""
    if any(node.scope for node in entry.nodes):
        return "scope"
    return "line" if len(entry.nodes) > _MANY and any(node.source for node in entry.nodes) else "flat"


class _Side:
    """One program on the page."""

    def __init__(self, label: str, program: Program) -> None:
        self.label = label
        self.program = program
        self.entry = program.entry_function
        self.groups: tuple[HiddenGroup, ...] = _found(find_hidden_groups, program)
        self.relations: tuple[HiddenParamOpRelation, ...] = _found(find_hidden_param_op_relations, program)

    def data(self) -> dict[str, Any]:
        """Return all that the page shows of the program."""
        program = self.program
        return {
            "label": self.label,
            "entry": program.entry,
            "kind": program.interface.kind,
            "fingerprint": fingerprint(program),
            "functions": [self._function(function) for function in program.functions],
            "states": list(self._states()),
            "groups": [_group(group) for group in self.groups],
            "relations": [_relation(relation) for relation in self.relations],
            "diagnostics": list(self._diagnostics()),
            "whys": self._whys(),
        }

    def _function(self, function: Function) -> dict[str, Any]:
        listed = list(boxes(self.program, function))
        number = {box.key: index for index, box in enumerate(listed)}
        is_entry = function is self.entry
        written = [_box(box) for box in listed]
        for box, line in zip(written, _lines(listed), strict=True):
            box["line"] = line
        if is_entry:
            self._mark_states(written, number)
        return {
            "name": function.name,
            "boxes": written,
            "edges": [[number[edge.source], number[edge.target]] for edge in edges(function)],
        }

    def _mark_states(self, written: list[dict[str, Any]], number: dict[str, int]) -> None:
        """Add to the boxes of the entry which state they hold, its unit and its hidden group."""
        for name, (owner, keys, leaf) in zip(self.entry.inputs, self.program.interface.input_leaves(), strict=True):
            box = written[number[name]]
            box["unit"] = leaf.unit or ""
            if isinstance(owner, State):
                box["path"] = format_path(owner.path)
                box["title"] = format_path((*owner.path, *keys))
        for group in self.groups:
            for value in (*group.hidden_invars, *group.hidden_outvars):
                if value.name in number:
                    written[number[value.name]]["group"] = group.index
        grouped = {format_path(path): group.index for group in self.groups for path in group.hidden_paths}
        for index, (state, _, leaf) in enumerate(self.program.interface.output_leaves()):
            box = written[number[f"={index}"]]
            box["unit"] = leaf.unit or ""
            if state is not None:
                box["role"] = state.role
                if (path := format_path(state.path)) in grouped:
                    box["group"] = grouped[path]

    def _states(self) -> Iterator[dict[str, str]]:
        for name, (owner, keys, leaf) in zip(self.entry.inputs, self.program.interface.input_leaves(), strict=True):
            if isinstance(owner, State):
                kind = self.entry.value_types[name]
                path = format_path((*owner.path, *keys))
                yield {"role": owner.role, "path": path, "key": name, "type": kind, "unit": leaf.unit or ""}

    def _diagnostics(self) -> Iterator[dict[str, str]]:
        # A diagnostic has its node as text, which begins with the names of the results.
        homes = {node.outputs[0]: node for node in self.entry.nodes if node.outputs}
        for each in _found(relation_diagnostics, self.program):
            first = each.node.partition(":")[0]
            yield {
                "code": each.code,
                "path": format_path(each.path),
                "message": each.message,
                "remedy": each.remedy,
                "key": first if first in homes else "",
            }

    def _whys(self) -> dict[str, dict[str, Any]]:
        """Return for each parameter how it reaches hidden states: as text, and as values of the entry."""
        whys: dict[str, dict[str, Any]] = {}
        for state in self.program.interface.states:
            if state.role == "param":
                path = format_path(state.path)
                own = [relation for relation in self.relations if relation.path == state.path]
                values = {name for relation in own for name in self._way(relation)}
                hidden = {f"new {format_path(end)}" for relation in own for end in relation.connected_hidden_paths}
                whys[path] = {"text": self._why(state), "values": sorted(values), "outputs": sorted(hidden)}
        return whys

    def _way(self, relation: HiddenParamOpRelation) -> set[str]:
        """Return the values of the entry on the way from the leaves of a parameter to the hidden states."""
        parts = (relation.operation.entry_function, relation.y_to_hidden.entry_function)
        taking_part = {name for part in parts for node in part.nodes for name in node.outputs}
        taking_part |= {name for part in parts for name in part.outputs} | {relation.y.name}
        # Values inside calls are named after the result of the call.
        for name in [*taking_part]:
            parts_of_name = name.split(".")
            taking_part.update(".".join(parts_of_name[:end]) for end in range(1, len(parts_of_name)))
        way = {leaf.value.name for leaf in relation.leaves}
        pending = [*way]
        while pending:
            for node in self.entry.users.get(pending.pop(), ()):
                if not way.issuperset(node.outputs) and not taking_part.isdisjoint(node.outputs):
                    way.update(node.outputs)
                    pending += node.outputs
        return way

    def _why(self, state: State) -> str:
        try:
            return str(why(self.program, state.path))
        except AnalysisError:
            return ""


def _lines(listed: Sequence[Box]) -> list[str]:
    """Return the line of the model that each box belongs to; a node without one has that of what uses it."""
    lines = [box.node.source if box.node is not None else "" for box in listed]
    wanted: dict[str, str] = {}
    for index in range(len(listed) - 1, -1, -1):
        node = listed[index].node
        if node is None:
            continue
        lines[index] = lines[index] or next((wanted[name] for name in node.outputs if name in wanted), "")
        for name in node.inputs if lines[index] else ():
            wanted[name] = lines[index]
    return lines


def _found(analysis: Callable[[Program], tuple[_Found, ...]], program: Program) -> tuple[_Found, ...]:
    """Return what an analysis finds; nothing for a program that is no step."""
    if not program.interface.states:
        return ()
    try:
        return analysis(program)
    except AnalysisError:
        # It breaks the rules of a step; the graph can be shown all the same.
        return ()


def _box(box: Box) -> dict[str, Any]:
    node = box.node
    results: Iterable[str] = node.outputs if node is not None else () if box.kind == "output" else (box.key,)
    attributes = node.attributes() if node is not None else {}
    return {
        "key": box.key,
        "kind": box.kind,
        "title": box.title,
        "detail": box.detail,
        "results": list(results),
        "scope": list(box.groups),
        "source": node.source if node is not None else "",
        "operands": " ".join(node.inputs) if node is not None else "",
        "attributes": [
            [name, format_attribute(value)] for name, value in attributes.items() if value is not None and value != ()
        ],
        "calls": list(dict.fromkeys(node.callees())) if node is not None else [],
    }


def _group(group: HiddenGroup) -> dict[str, Any]:
    members = zip(group.hidden_paths, group.hidden_invars, group.hidden_outvars, strict=True)
    return {
        "index": group.index,
        "shape": str(list(group.varshape)),
        "members": [{"path": format_path(path), "old": old.name, "new": new.name} for path, old, new in members],
        "blocked": [str(each) for each in group.blocked],
    }


def _relation(relation: HiddenParamOpRelation) -> dict[str, Any]:
    return {
        "path": format_path(relation.path),
        "kind": relation.kind,
        "y": relation.y.name,
        "hidden": [format_path(path) for path in relation.connected_hidden_paths],
        "text": str(relation),
    }
