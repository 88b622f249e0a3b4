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

from .constant import Constant
from .effects import effectful_functions
from .encoding import dump_bare_function, dump_bare_node, dump_interface
from .interface import Interface
from .kept import kept
from .node_order import Walk, content_hash
from .ops import AnyNode
from .program import Function, Program, require_program

__all__ = [
    "canonical_interface",
    "canonicalize",
    "fingerprint",
    "function_keys",
    "outline",
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
    """Return the sha256 of the canonical form of a program.

    It is the same in every process, and whether or not the data of large constants was loaded.

    Parameters
    ----------
    program : Program
        That verifies.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    VerificationError
        If it is no program.
    """
    require_program(program)
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
    return kept(
        function,
        "_outline",
        lambda: (function.types, len(function.outputs), tuple(sorted([node.op for node in function.nodes]))),
    )


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
    return content_hash(form.digest, *(callee_keys[callee] for callee in form.callees))


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


def canonical_interface(interface: Interface) -> Interface:
    """Return the interface with units and unused states in a fixed order; everything else counts."""
    units = sorted(interface.units, key=lambda unit: unit.model_dump_json())
    return interface.replace(units=tuple(units), unused=tuple(sorted(interface.unused, key=repr)))


# One function


def _form(function: Function, callee_keys: Mapping[str, str], effectful: Collection[str]) -> _Form:
    content = {constant.name: (constant.type, constant.digest()) for constant in function.constants}
    walk = Walk(function, callee_keys, effectful, content)
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
