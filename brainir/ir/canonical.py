"""The canonical form of programs, their fingerprints, and content hashes of functions.

Two programs have one canonical form if they differ only in the names of values and functions, in the order
of independent nodes and of the function table, in how often equal constants and functions are stored, and in
scopes, source lines and metadata. Everything else counts: each attribute, bit, type, unit, role, and which
node feeds which.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from .interface import Interface
from .node import Node
from .ops import AnyNode
from .program import Constant, Function, Program
from .serialization import dump_bare_function, dump_bare_node, dump_interface

__all__ = [
    "canonical_interface",
    "canonicalize",
    "effectful_functions",
    "fingerprint",
    "function_keys",
    "outline",
    "runs_effects",
    "structural_key",
]


_NOTHING: Mapping[str, str] = {}


def canonicalize(program: Program) -> Program:
    """Return the canonical form of a program that verifies.

    Functions are named ``f0`` (the entry), ``f1``, ... by first reference, inputs ``x0``, ..., constants
    ``c0``, ... by first use, results ``v0``, ... in order. Nodes stand in the order in which a walk from the
    effectful nodes (as they run), then from the outputs, first needs them; nodes that nothing needs come
    last, by their content. Equal functions, and equal constants of a function, are stored once. There are no
    scopes, source lines or metadata.
    """
    table = _canonical_table(program)
    return Program(
        entry="f0",
        interface=canonical_interface(program.interface),
        functions=tuple(_rewritten(form, name, callees) for name, form, callees in table),
    )


def fingerprint(program: Program) -> str:
    """Return the sha256 of the canonical form of a program that verifies, as hexadecimal text.

    It is the same in every process, and whether or not the data of large constants was loaded.
    """
    content = hashlib.sha256(dump_interface(canonical_interface(program.interface)).encode())
    for name, form, callees in _canonical_table(program):
        content.update(" ".join((name, form.digest, *(callees[callee] for callee in form.callees), "\n")).encode())
    return content.hexdigest()


def structural_key(function: Function, callee_keys: Mapping[str, str], effectful: Collection[str] = ()) -> str:
    """Return a content hash of one function, equal for functions of one canonical form up to callees.

    Parameters
    ----------
    function : Function
    callee_keys : mapping of str to str
        What stands for each function that the nodes refer to: its own key, or any placeholder.
    effectful : collection of str
        The functions among them that have effects, whose calls must stay in order.

    Raises
    ------
    KeyError
        If a function is referred to that `callee_keys` does not have.
    """
    return _key(_form(function, callee_keys, effectful), callee_keys)


def outline(function: Function) -> tuple[object, ...]:
    """Return what functions of one canonical form have in common and is quick to see.

    Only where it is the same can :func:`structural_key` be.
    """
    return function.types, len(function.outputs), tuple(sorted(node.op for node in function.nodes))


def function_keys(functions: Mapping[str, Function], known: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Return a key for each function of a table; equal functions, and only they, have equal keys.

    Parameters
    ----------
    functions : mapping of str to Function
        By name; every function that they refer to is among them. Derivative rules may lead back to
        themselves.
    known : mapping of str to str
        Keys of functions whose equals are known.
    """
    return _function_keys(functions, known)[1]


@dataclass(frozen=True, slots=True)
class _Form:
    """A function with the canonical order of its nodes and names of its values.

    Parameters
    ----------
    function : Function
        As it is.
    order : list of int
        Indices of its nodes.
    names : dict of str to str
        Canonical names of inputs, constants and results.
    constants : tuple of Constant
        One of each set of equal ones, in canonical order, under its old name.
    digest : str
        Hash of its content, the references blanked.
    callees : tuple of str
        The references in order, with repetitions.
    settled : bool
        Whether the order is the same whatever the referenced functions are.
    """

    function: Function
    order: list[int]
    names: dict[str, str]
    constants: tuple[Constant, ...]
    digest: str
    callees: tuple[str, ...]
    settled: bool


def _key(form: _Form, callee_keys: Mapping[str, str]) -> str:
    return _hash(form.digest, *(callee_keys[callee] for callee in form.callees))


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# The table of functions


def _canonical_table(program: Program) -> Iterator[tuple[str, _Form, dict[str, str]]]:
    """Yield new name and form of each distinct function, in order, and the new names of all functions."""
    forms, keys = _function_keys(program.table)
    first: dict[str, str] = {}
    for function in program.functions:
        first.setdefault(keys[function.name], function.name)
    names: dict[str, str] = {}
    # Functions that the entry does not reach follow, by content.
    for root in (keys[program.entry], *sorted(first)):
        waiting = deque([root])
        while waiting:
            key = waiting.popleft()
            if key not in names:
                names[key] = f"f{len(names)}"
                waiting.extend(keys[callee] for callee in forms[first[key]].callees)
    new_names = {old: names[key] for old, key in keys.items()}
    for key, name in names.items():
        yield name, forms[first[key]], new_names


def _function_keys(
    functions: Mapping[str, Function], known: Mapping[str, str] = _NOTHING
) -> tuple[dict[str, _Form], dict[str, str]]:
    """Return form and key of each function, no form of those known; equal functions, and only they, have equal keys."""
    forms: dict[str, _Form] = {}
    keys = dict(known)
    unknown = {
        name: {callee for callee in body.callees if callee not in known}
        for name, body in functions.items()
        if name not in known
    }
    if not unknown:
        return forms, keys
    effectful = effectful_functions(functions)
    callers: dict[str, list[str]] = {}
    for name, callees in unknown.items():
        for callee in callees:
            callers.setdefault(callee, []).append(name)
    ready = [name for name, callees in unknown.items() if not callees]
    while ready:
        name = ready.pop()
        forms[name] = _form(functions[name], keys, effectful)
        keys[name] = _key(forms[name], keys)
        for caller in callers.get(name, ()):
            unknown[caller].discard(name)
            if not unknown[caller]:
                ready.append(caller)
    # What is left leads to a derivative rule that leads back to itself. There, functions are equal if no
    # chain of references tells them apart: start with all equal, and refine until no class splits.
    cyclic = [name for name in functions if name not in keys]
    keys.update(dict.fromkeys(cyclic, ""))
    classes, refined = 0, len(set(map(keys.__getitem__, cyclic)))
    while refined > classes:
        classes = refined
        for name in cyclic:
            if name not in forms or not forms[name].settled:
                forms[name] = _form(functions[name], keys, effectful)
        keys.update({name: _key(forms[name], keys) for name in cyclic})
        refined = len({keys[name] for name in cyclic})
    return forms, keys


def effectful_functions(functions: Mapping[str, Function]) -> set[str]:
    """Return the names of the functions that have effects when they run."""
    callers: dict[str, set[str]] = {}
    waiting = []
    for function in functions.values():
        for node in function.nodes:
            if node.traits.effectful:
                waiting.append(function.name)
            if node.reference_names():
                for callee in _executed(node):
                    callers.setdefault(callee, set()).add(function.name)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(callers.get(name, ()))
    return found


def runs_effects(node: Node, effectful: Collection[str]) -> bool:
    """Whether a node has effects itself, or runs one of the functions that have."""
    return node.traits.effectful or any(callee in effectful for callee in _executed(node))


def _executed(node: Node) -> Iterator[str]:
    """Yield the functions that a node runs: all it refers to but derivative rules."""
    for attribute in node.reference_names():
        value = getattr(node, attribute)
        if value is not None and attribute not in node.rule_names():
            yield from (value,) if isinstance(value, str) else value


def canonical_interface(interface: Interface) -> Interface:
    """Return the interface with units and unused states in a fixed order; everything else counts."""
    units = sorted(interface.units, key=lambda unit: unit.model_dump_json())
    return interface.replace(units=tuple(units), unused=tuple(sorted(interface.unused, key=repr)))


# One function


def _form(function: Function, callee_keys: Mapping[str, str], effectful: Collection[str]) -> _Form:
    content = {constant.name: (constant.type, constant.digest()) for constant in function.constants}
    walk = _Walk(function, callee_keys, effectful, content)
    names = {name: f"x{position}" for position, name in enumerate(function.inputs)}
    merged: dict[tuple[str, str], str] = {}

    def rename(operand: str) -> str:
        if operand in content:
            return merged.setdefault(content[operand], f"c{len(merged)}")
        return names.get(operand, operand)

    nodes: list[str] = []
    callees: list[str] = []
    results = 0
    for index in walk.order:
        node = function.nodes[index]
        inputs = tuple(map(rename, node.inputs))
        outputs = tuple([f"v{results + rank}" for rank in range(len(node.outputs))])
        results += len(outputs)
        names.update(zip(node.outputs, outputs, strict=True))
        nodes.append(dump_bare_node(node, inputs, outputs))
        if node.reference_names():
            callees.extend(node.callees())
    outputs = tuple(map(rename, function.outputs))
    for key in sorted(content.values()):
        merged.setdefault(key, f"c{len(merged)}")
    held = {content[constant.name]: constant for constant in reversed(function.constants)}
    held.update((content[constant.name], constant) for constant in function.constants if constant.data is not None)
    hashes = tuple(Constant(name=name, type=key[0], sha256=key[1]) for key, name in merged.items())
    bare = dump_bare_function(tuple(map(rename, function.inputs)), function.types, hashes, nodes, outputs)
    names.update((name, merged[key]) for name, key in content.items())
    digest = hashlib.sha256(bare.encode()).hexdigest()
    return _Form(
        function, walk.order, names, tuple(map(held.__getitem__, merged)), digest, tuple(callees), walk.settled
    )


def _rewritten(form: _Form, name: str, callees: Mapping[str, str]) -> Function:
    """Return a function in canonical form, under new names for itself and its references."""
    function, names = form.function, form.names

    def renamed(operands: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([names.get(operand, operand) for operand in operands])

    nodes: list[AnyNode] = []
    for index in form.order:
        node = function.nodes[index].with_callees(callees)
        changes = {"inputs": renamed(node.inputs), "outputs": renamed(node.outputs), "scope": "", "source": ""}
        nodes.append(node.model_copy(update=changes))
    return Function(
        name=name,
        inputs=renamed(function.inputs),
        types=function.types,
        constants=tuple(constant.replace(name=names[constant.name]) for constant in form.constants),
        nodes=tuple(nodes),
        outputs=renamed(function.outputs),
    )


# The order of nodes


class _Walk:
    """The canonical order of the nodes of a function.

    Parameters
    ----------
    function, callee_keys, effectful
        As :func:`structural_key` takes them.
    content : dict of str to pair of str
        Type and hash of each constant, by name.

    Attributes
    ----------
    order : list of int
        Indices of the nodes.
    settled : bool
        Whether the order is the same whatever the referenced functions are.
    """

    def __init__(
        self,
        function: Function,
        callee_keys: Mapping[str, str],
        effectful: Collection[str],
        content: dict[str, tuple[str, str]],
    ) -> None:
        self.order: list[int] = []
        self.settled = True
        self._nodes = function.nodes
        self._producer = {name: index for index, node in enumerate(function.nodes) for name in node.outputs}
        self._ordered = bytearray(len(function.nodes))
        for index, node in enumerate(function.nodes):
            # Before the outputs, which may need effectful nodes in another order than they run in.
            if runs_effects(node, effectful):
                self._visit(index)
        for output in function.outputs:
            if output in self._producer:
                self._visit(self._producer[output])
        if len(self.order) < len(self._nodes):
            self._place: dict[str, object] = {**content}
            self._place.update((name, f"x{position}") for position, name in enumerate(function.inputs))
            self._visit_dead(dict(callee_keys))

    def _visit(self, root: int) -> None:
        """Append a node, after all it needs, operands in order."""
        entered: set[int] = set()
        stack = [root]
        while stack:
            index = stack[-1]
            if self._ordered[index]:
                stack.pop()
            elif index in entered:
                stack.pop()
                self._ordered[index] = 1
                self.order.append(index)
            else:
                entered.add(index)
                operands = (self._producer.get(operand) for operand in reversed(self._nodes[index].inputs))
                stack.extend(operand for operand in operands if operand is not None and not self._ordered[operand])

    def _visit_dead(self, callee_keys: dict[str, str]) -> None:
        """Append the nodes that neither outputs nor effects need.

        Only their content and their place in the graph give these an order. They are coloured by both; nodes
        of equal colour can change places, so any of them may come first, and what is left is coloured anew.
        """
        dead = [index for index in range(len(self._nodes)) if not self._ordered[index]]
        self.settled = not any(self._nodes[index].reference_names() for index in dead)
        content = {index: _content(self._nodes[index], callee_keys) for index in dead}
        placed = 0
        pending = [dead]
        while pending:
            part = pending.pop()
            if len(part) == 1:
                self._visit(part[0])
                continue
            for position in range(placed, len(self.order)):
                outputs = self._nodes[self.order[position]].outputs
                self._place.update((name, f"v{position}.{rank}") for rank, name in enumerate(outputs))
            placed = len(self.order)
            users = self._users(part)
            colors = self._colors(part, users, content)
            groups = _connected(users)
            if len(groups) > 1:
                groups.sort(key=lambda group: sorted(colors[index] for index in group), reverse=True)
                pending.extend(groups)
                continue
            sinks = sorted((index for index in part if not users[index]), key=colors.__getitem__)
            for index, following in zip(sinks, [*sinks[1:], None], strict=True):
                self._visit(index)
                if following is not None and colors[following] == colors[index]:
                    break
            if rest := [index for index in part if not self._ordered[index]]:
                pending.append(rest)

    def _users(self, part: list[int]) -> dict[int, list[tuple[int, int, int]]]:
        """Return for each node its users in the part: rank of the result, position of the operand, user."""
        users: dict[int, list[tuple[int, int, int]]] = {index: [] for index in part}
        for index in part:
            for position, operand in enumerate(self._nodes[index].inputs):
                producer = self._producer.get(operand)
                if producer in users:
                    rank = self._nodes[producer].outputs.index(operand)
                    users[producer].append((rank, position, index))
        return users

    def _colors(
        self, part: list[int], users: dict[int, list[tuple[int, int, int]]], content: dict[int, str]
    ) -> dict[int, str]:
        """Colour nodes by content, operands and users, until no colour splits."""
        colors = {index: content[index] for index in part}
        classes, refined = 0, len(set(colors.values()))
        while refined > classes:
            classes = refined
            for index in part:
                operands: list[tuple[object, int]] = []
                for operand in self._nodes[index].inputs:
                    producer = self._producer.get(operand)
                    if producer in colors:
                        operands.append((colors[producer], self._nodes[producer].outputs.index(operand)))
                    else:
                        operands.append((self._place.get(operand, operand), -1))
                colors[index] = _hash(colors[index], operands)
            for index in reversed(part):
                above = sorted((rank, position, colors[user]) for rank, position, user in users[index])
                colors[index] = _hash(colors[index], above)
            refined = len(set(colors.values()))
        return colors


def _content(node: Node, callee_keys: dict[str, str]) -> str:
    return dump_bare_node(node, (), (), callee_keys)


def _connected(users: dict[int, list[tuple[int, int, int]]]) -> list[list[int]]:
    """Split nodes into groups that no edge joins, each in program order."""
    neighbours: dict[int, list[int]] = {index: [] for index in users}
    for index, edges in users.items():
        for _, _, user in edges:
            neighbours[index].append(user)
            neighbours[user].append(index)
    groups = []
    seen: set[int] = set()
    for start in users:
        group, waiting = [], [start]
        while waiting:
            index = waiting.pop()
            if index not in seen:
                seen.add(index)
                group.append(index)
                waiting.extend(neighbours[index])
        if group:
            groups.append(sorted(group))
    return groups
