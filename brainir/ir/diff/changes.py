"""What differs between two matched programs, as records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from ..canonical import fingerprint
from ..constant import Constant
from ..effects import runs_effects
from ..node import Node
from ..printer import format_attribute, format_node, format_operand
from ..program import Function
from ..types import TensorType, is_literal, literal_array
from ..wording import counted
from .interface_changes import interface_changes
from .moves import Moves
from .naming import Names
from .program_matching import FunctionMatching, ProgramMatching
from .record import Change, ChangeKind

__all__ = ["find_changes", "largest_difference"]


def find_changes(matching: ProgramMatching, names: Names) -> tuple[Change, ...]:
    """Return every difference between two programs; only moves between scopes, if they mean the same."""
    moves = Moves(matching)
    changes = [*interface_changes(matching)]
    for pair in matching.functions:
        changes += _FunctionChanges(matching, names, pair, moves).all()
    changes += _functions(matching, names, moves)
    different = [change for change in changes if change.counts]
    # Parts that nothing uses may look alike, and derivative rules may lead back to themselves in several ways.
    rewired = all(change.kind in ("operand", "order", "function", "attribute") for change in different)
    if different and rewired and fingerprint(matching.old) == fingerprint(matching.new):
        return tuple(change for change in changes if not change.counts)
    return tuple(changes)


def _functions(matching: ProgramMatching, names: Names, moves: Moves) -> Iterator[Change]:
    for function in matching.old.functions:
        if function.name not in matching.of_old and not matching.has_equal(old=function.name):
            yield _whole_function(function, function.name, added=False)
    for function in matching.new.functions:
        if function.name not in matching.of_new and not matching.has_equal(new=function.name):
            yield _whole_function(function, names.functions[function.name], added=True)
            for node in function.nodes:
                if (origin := moves.origin.get(id(node))) is not None:
                    yield _moved(*origin, node, names.functions[function.name], format_node(node))


def _whole_function(function: Function, name: str, *, added: bool) -> Change:
    size = counted(len(function.nodes), "node")
    return Change(
        kind="function",
        name=name,
        old_name="" if added else function.name,
        new_name=function.name if added else "",
        aspect="added" if added else "removed",
        before="" if added else size,
        after=size if added else "",
    )


def _moved(source: str, old: Node, new: Node, target: str, text: str) -> Change:
    return Change(
        kind="moved",
        function=target,
        name=", ".join(new.outputs),
        old_name=", ".join(old.outputs),
        new_name=", ".join(new.outputs),
        aspect="function",
        before=source,
        after=target,
        node=text,
        source=new.source,
    )


class _FunctionChanges:
    """The differences of two versions of a function, in the names of the old one."""

    def __init__(self, matching: ProgramMatching, names: Names, pair: FunctionMatching, moves: Moves) -> None:
        self.matching = matching
        self.pair = pair
        self.moves = moves
        self.shown = names.functions
        new = pair.new.name
        self.name = pair.old.name
        if matching.of_new[new] is pair:
            self.values = names.values[new]
        else:
            # A second counterpart of one function; its values have the names that it knows them by.
            given = {after: before for before, after in pair.values.items()}
            self.values = {name: given.get(name, name) for name in pair.new.value_types}

    def all(self) -> Iterator[Change]:
        yield from self._inputs()
        yield from self._constants()
        yield from self._nodes()
        yield from self._outputs()
        yield from self._effects()

    def _show(self, operand: str) -> str:
        return format_operand(self.values.get(operand, operand))

    def _text(self, node: Node) -> str:
        """Write a node of the new function in the names of the old one."""
        values = self.values
        shown = node.with_callees(self.shown) if node.reference_names() else node
        inputs = [values.get(name, name) for name in node.inputs]
        return format_node(shown, inputs, [values[name] for name in node.outputs])

    # Inputs, constants and outputs

    def _inputs(self) -> Iterator[Change]:
        if self.pair.old.name == self.matching.old.entry:
            return
        old, new = self.pair.old, self.pair.new
        for index in sorted(set(range(len(old.inputs))) - {before for before, _ in self.pair.inputs}):
            yield self._change("argument", (old.inputs[index], ""), "removed", old.types[index], "")
        for index in sorted(set(range(len(new.inputs))) - {after for _, after in self.pair.inputs}):
            yield self._change("argument", ("", new.inputs[index]), "added", "", new.types[index])
        last = -1
        for before, after in self.pair.inputs:
            names = old.inputs[before], new.inputs[after]
            if after < last:
                yield self._change("order", names, "place among the inputs", str(before), str(after))
            last = max(last, after)
            if old.types[before] != new.types[after]:
                change = self._change("argument", names, "type", old.types[before], new.types[after])
                yield change.replace(follows=True)

    def _constants(self) -> Iterator[Change]:
        pair = self.pair
        old_known, new_known = set(pair.old_contents.values()), set(pair.new_contents.values())
        matched: set[str] = set()
        for before, after in pair.constants:
            old, new = pair.old_contents[before.name], pair.new_contents[after.name]
            matched |= {before.name, after.name} if old != new else set()
            # How often equal constants are stored does not count.
            if old != new and not (old in new_known and new in old_known):
                yield self._changed_constant(before, after)
        partners = {before.name for before, _ in pair.constants}, {after.name for _, after in pair.constants}
        for constant in pair.old.constants:
            if constant.name not in partners[0] and pair.old_contents[constant.name] not in new_known:
                yield self._change("constant", (constant.name, ""), "removed", _shown(constant), "")
        for constant in pair.new.constants:
            if constant.name not in partners[1] and pair.new_contents[constant.name] not in old_known:
                yield self._change("constant", ("", constant.name), "added", "", _shown(constant))

    def _changed_constant(self, old: Constant, new: Constant) -> Change:
        change = self._change("constant", (old.name, new.name), "values", _shown(old), _shown(new))
        if old.data is None or new.data is None or TensorType.parse(old.type).is_key:
            return change
        return change.replace(max_abs_difference=largest_difference(old.array(), new.array()))

    def _outputs(self) -> Iterator[Change]:
        old, new = self.pair.old.outputs, self.pair.new.outputs
        entry = self.pair.old.name == self.matching.old.entry
        pairs = list(self.pair.outputs)
        gone = sorted(set(range(len(old))) - {before for before, _ in pairs})
        came = sorted(set(range(len(new))) - {after for _, after in pairs})
        for before in gone:
            yield self._change("result", (f"output {before}", ""), "removed", old[before], "")
        for after in came:
            yield self._change("result", ("", f"output {after}"), "added", "", self._show(new[after]))
        last = -1
        for before, after in pairs:
            if after < last and not entry:
                names = f"output {before}", f"output {after}"
                yield self._change("order", names, "place among the outputs", str(before), str(after))
            last = max(last, after)
            if not self.pair.same_operand(old[before], new[after]):
                names = f"output {before}", f"output {after}"
                yield self._change("operand", names, "return", format_operand(old[before]), self._show(new[after]))

    def _effects(self) -> Iterator[Change]:
        last = -1
        for before, after in enumerate(self.pair.nodes):
            node = self.pair.old.nodes[before]
            if after >= 0 and runs_effects(node, self.matching.old_effects):
                if after < last:
                    yield self._node_change("order", node, self.pair.new.nodes[after], "order of effects", "", "")
                last = max(last, after)

    # Nodes

    def _nodes(self) -> Iterator[Change]:
        pair = self.pair
        for index, node in enumerate(pair.old.nodes):
            if pair.nodes[index] < 0 and id(node) not in self.moves.gone:
                name = ", ".join(node.outputs)
                yield Change.checked(
                    dict(kind="removed", function=self.name, name=name, old_name=name, node=format_node(node),
                         source=node.source, before=node.scope)
                )  # fmt: skip
        for index, node in enumerate(pair.new.nodes):
            if (origin := self.moves.origin.get(id(node))) is not None:
                yield _moved(*origin, node, self.name, self._text(node))
            elif pair.old_nodes[index] < 0:
                yield Change.checked(
                    dict(kind="added", function=self.name, name=", ".join(map(self._show, node.outputs)),
                         new_name=", ".join(node.outputs), node=self._text(node), source=node.source,
                         after=node.scope)
                )  # fmt: skip
            elif not self._same(pair.old_nodes[index], index):
                yield from self._changed(pair.old.nodes[pair.old_nodes[index]], node)

    def _same(self, before: int, after: int) -> bool:
        """Whether nothing can have changed in a matched node, as is quick to see for most."""
        pair = self.pair
        old, new = pair.old.nodes[before], pair.new.nodes[after]
        if pair.old_exact[before] != pair.new_exact[after] or old.scope != new.scope or old.reference_names():
            return False
        values = pair.values
        return len(old.inputs) == len(new.inputs) and all(
            values.get(first) == second or (first == second and is_literal(first))
            for first, second in zip(old.inputs, new.inputs, strict=True)
        )

    def _changed(self, old: Node, new: Node) -> Iterator[Change]:
        if old.op != new.op:
            yield self._node_change("operation", old, new, "operation", old.op, new.op)
        if old.scope != new.scope:
            yield self._node_change("moved", old, new, "scope", old.scope or "(none)", new.scope or "(none)")
        attributes = list(self._attributes(old, new))
        yield from attributes
        retyped = bool(attributes) or self._operands_retyped(old, new)
        for rank, (before, after) in enumerate(zip_longest(old.types, new.types)):
            if before != after:
                change = self._node_change("type", old, new, f"result {rank}", before or "none", after or "none")
                yield change.replace(follows=True) if retyped else change
        if len(old.inputs) != len(new.inputs):
            texts = " ".join(map(format_operand, old.inputs)), " ".join(map(self._show, new.inputs))
            yield self._node_change("operand", old, new, "operands", *texts)
            return
        for position, (first, second) in enumerate(zip(old.inputs, new.inputs, strict=True)):
            if self.pair.same_operand(first, second):
                continue
            numbers = is_literal(first) and is_literal(second)
            before, after = (first, second) if numbers else (format_operand(first), self._show(second))
            kind: ChangeKind = "constant" if numbers else "operand"
            change = self._node_change(kind, old, new, f"operand {position}", before, after)
            if numbers:
                difference = largest_difference(literal_array(first), literal_array(second))
                change = change.replace(max_abs_difference=difference)
            yield change

    def _attributes(self, old: Node, new: Node) -> Iterator[Change]:
        if type(old) is not type(new):
            return
        first, second = ({**node.attributes(), **dict(node.references())} for node in (old, new))
        for name, before in first.items():
            after = second[name]
            if name in old.reference_names():
                if len(before) == len(after) and all(map(self.matching.same_function, before, after)):
                    continue
                texts = ", ".join(before) or "none", ", ".join(self.shown[each] for each in after) or "none"
            elif repr(before) == repr(after):
                continue
            else:
                texts = format_attribute(before), format_attribute(after)
            yield self._node_change("attribute", old, new, name, *texts)

    def _operands_retyped(self, old: Node, new: Node) -> bool:
        before, after = self.pair.old, self.pair.new
        return any(
            before.type_of(first) != after.type_of(second)
            for first, second in zip(old.inputs, new.inputs, strict=False)
        )

    def _node_change(self, kind: ChangeKind, old: Node, new: Node, aspect: str, before: str, after: str) -> Change:
        return Change(
            kind=kind,
            function=self.name,
            name=", ".join(map(self._show, new.outputs)),
            old_name=", ".join(old.outputs),
            new_name=", ".join(new.outputs),
            aspect=aspect,
            before=before,
            after=after,
            node=self._text(new),
            source=new.source,
        )

    def _change(self, kind: str, names: tuple[str, str], aspect: str, before: str, after: str) -> Change:
        old, new = names
        return Change.checked(
            {
                "kind": kind,
                "function": self.name,
                "name": old or self._show(new),
                "old_name": old,
                "new_name": new,
                "aspect": aspect,
                "before": before,
                "after": after,
            }
        )


def _shown(constant: Constant) -> str:
    stored = constant.model_dump()
    return f"{constant.type} {stored.get('values') or f'sha256 {constant.digest()[:12]}'}"


def largest_difference(old: np.ndarray[Any, Any], new: np.ndarray[Any, Any]) -> float | None:
    """Return the largest absolute difference of two arrays, if they have one shape and it is a finite number."""
    if old.shape != new.shape or not old.size or old.dtype.names is not None or new.dtype.names is not None:
        return None
    wide = np.complex128 if "c" in (old.dtype.kind, new.dtype.kind) else np.float64
    with np.errstate(all="ignore"):
        found = float(np.max(np.abs(old.astype(wide) - new.astype(wide))))
    return found if np.isfinite(found) else None
