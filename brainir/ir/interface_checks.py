"""The invariants of an interface, and of how it fits the entry."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from .errors import VerificationError
from .interface import Interface, State
from .model import PathKey, StatePath
from .printer import format_path
from .program import Function
from .trees import (
    DEEPEST_TREE,
    Aux,
    ClassName,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    Static,
    StaticDict,
    Tree,
    customs,
)
from .violation import violation

__all__ = ["check_interface", "is_name"]

_CLASS = re.compile(r"[\w.\-]{1,200}:[\w.<>]{1,200}")
_MAX_STATIC_DEPTH = 100


def is_name(name: str) -> bool:
    """Whether a text can name a function, an argument or a field: a Python identifier that is no keyword."""
    # Python itself reads identifiers in NFKC form: two names that differ only there would become one.
    plain = name.isascii() or unicodedata.normalize("NFKC", name) == name
    return plain and name.isidentifier() and not keyword.iskeyword(name) and len(name) <= 200


def check_interface(interface: Interface, entry: Function) -> None:
    """Check an interface against the entry.

    Parameters
    ----------
    interface : Interface
    entry : Function
        Whose values were checked.

    Raises
    ------
    VerificationError
        At the first invariant that does not hold.
    """
    units = {unit.text for unit in interface.units}
    if len(units) < len(interface.units):
        raise _repeated([unit.text for unit in interface.units], "units", "list each unit once")
    names = [argument.name for argument in interface.arguments]
    if len(set(names)) < len(names):
        raise _repeated(names, "arguments", "rename one of them")
    for argument in interface.arguments:
        if not is_name(argument.name):
            raise violation(
                f"interface: the argument name {argument.name!r} is not a Python identifier",
                "rename the argument",
            )
    paths = (*(state.path for state in interface.states), *interface.unused)
    if len(set(paths)) < len(paths):
        raise _repeated(paths, "states (or unused paths)", "give each state its own path")
    counts = [_check_tree(state.tree, units, f"state {format_path(state.path)}") for state in interface.states]
    inputs = sum(counts) + sum(
        _check_tree(argument.tree, units, f"argument {argument.name}") for argument in interface.arguments
    )
    returned = [count for state, count in zip(interface.states, counts, strict=True) if state.returned]
    outputs = sum(returned) + _check_tree(interface.result, units, "result")
    for what, leaves, found in (("input", inputs, entry.inputs), ("output", outputs, entry.outputs)):
        if leaves != len(found):
            raise violation(
                f"interface: {leaves} {what} leaves, but the entry {entry.name!r} has {len(found)} {what}s",
                f"give each {what} of the entry one leaf, states first",
            )
    _check_origins(interface)
    _check_states(interface.states, counts, entry)
    _check_kind(interface, counts, units)


def _repeated(names: Sequence[object], what: str, remedy: str) -> VerificationError:
    ((name, _),) = Counter(names).most_common(1)
    return violation(f"interface: two {what} are named {name!r}", remedy)


def _check_tree(tree: Tree, units: set[str], where: str) -> int:
    """Check a pytree and return how many leaves it has."""
    if isinstance(tree, LeafTree) and tree.unit is None:
        return 1
    leaves = 0
    pending: list[tuple[Tree, int]] = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        if level > DEEPEST_TREE:
            raise violation(f"interface, {where}: the tree is deeper than {DEEPEST_TREE}", "flatten the tree")
        if isinstance(node, LeafTree):
            leaves += 1
            if node.unit is not None and node.unit not in units:
                raise violation(
                    f"interface, {where}: the unit {node.unit!r} is not in Interface.units",
                    "add the unit or take it from the leaf",
                )
            continue
        problem = _tree_problem(node)
        if problem:
            raise violation(f"interface, {where}: {problem}", "write the tree as the frontend does")
        pending.extend((child, level + 1) for child in getattr(node, "children", ()))
    return leaves


def _tree_problem(tree: Tree) -> str | None:
    if isinstance(tree, DictTree):
        keys: tuple[PathKey | StatePath, ...] = tree.keys
    elif isinstance(tree, CustomTree):
        keys = tree.keys
        if not _CLASS.fullmatch(tree.type):
            return f"{tree.type!r} does not name a class as module:qualified.name"
        if tree.aux is not None and (problem := _static_problem(tree.aux.value)):
            return problem
    elif isinstance(tree, NamedTupleTree | DataclassTree):
        keys = tree.fields
        static = tree.static if isinstance(tree, DataclassTree) else ()
        names = [*tree.fields, *(name for name, _ in static)]
        if wrong := [name for name in names if not is_name(name)]:
            return f"{wrong[0]!r} is not the name of a field"
        if len(set(names)) != len(names):
            return "a field appears twice"
        if not _CLASS.fullmatch(tree.type):
            return f"{tree.type!r} does not name a class as module:qualified.name"
        if problem := next(filter(None, (_static_problem(value) for _, value in static)), None):
            return problem
    else:
        return None
    if len(keys) != len(tree.children):
        return f"a {tree.kind} has {len(keys)} keys and {len(tree.children)} children"
    return "a key appears twice" if len(set(keys)) != len(keys) else None


def _static_problem(value: Static) -> str | None:
    """Return what is wrong with what a container holds besides arrays."""
    pending: list[tuple[Static, int]] = [(value, 0)]
    while pending:
        held, depth = pending.pop()
        if depth > _MAX_STATIC_DEPTH:
            return f"what it holds besides arrays is deeper than {_MAX_STATIC_DEPTH}"
        if isinstance(held, ClassName) and not _CLASS.fullmatch(held.type):
            return f"{held.type!r} does not name a class as module:qualified.name"
        if isinstance(held, StaticDict):
            if len({key for key, _ in held.items}) != len(held.items):
                return "a key appears twice"
            pending += [(inner, depth + 1) for _, inner in held.items]
        if isinstance(held, tuple):
            pending += [(inner, depth + 1) for inner in held]
    return None


def _check_origins(interface: Interface) -> None:
    """Check that arguments and states bring what custom containers are made of besides arrays."""
    inputs = [*(state.tree for state in interface.states), *(argument.tree for argument in interface.arguments)]
    inputs += [tree for tree in (interface.params, interface.hidden) if tree is not None]
    found = [*customs([*inputs, interface.result])]
    known = {tree.origin: _own_structure(tree) for tree in found if tree.aux is not None}
    known |= {tree.origin: _own_structure(tree) for tree in customs(inputs)} if found else {}
    for tree in found:
        if known.get(tree.origin) != _own_structure(tree):
            raise violation(
                f"interface: no argument has a {tree.type} like the one with origin {tree.origin}",
                "give containers one origin only if they are alike, one of them in an argument or all with an aux",
            )


def _own_structure(tree: CustomTree) -> tuple[str, tuple[PathKey, ...], Aux | None]:
    return tree.type, tree.keys, tree.aux


def _check_states(states: tuple[State, ...], counts: list[int], entry: Function) -> None:
    inputs, outputs = entry.signature if states else ((), ())
    start, back = 0, 0
    for state, count in zip(states, counts, strict=True):
        where = f"interface, state {format_path(state.path)}"
        kinds = inputs[start : start + count]
        start += count
        if state.returned:
            returned = slice(back, back + count)
            for name, new, kind in zip(entry.outputs[returned], outputs[returned], kinds, strict=True):
                if new != kind:
                    raise violation(
                        f"{where}: it is {kind}, but its new value {name!r} is {new}",
                        "a state keeps its shape and element type; convert the new value",
                    )
            back += count
        if state.role == "hidden" and count != 1 and state.type != "HiddenTreeState":
            raise violation(f"{where}: a hidden state is one array, not {count}", "make each array a state")
        if state.num_state < 1 or (state.num_state > 1 and state.role != "hidden"):
            raise violation(
                f"{where}: num_state {state.num_state} does not fit a {state.role} state",
                "only hidden states are grouped; write 1",
            )
        if state.num_state > 1 and count == 1 and kinds[0].shape[-1:] != (state.num_state,):
            raise violation(
                f"{where}: num_state is {state.num_state}, unlike the last axis of {kinds[0]}",
                "write the length of the last axis",
            )


def _check_kind(interface: Interface, counts: list[int], units: set[str]) -> None:
    if interface.kind != "step":
        if interface.params is not None or interface.hidden is not None:
            raise violation(
                f"interface: params and hidden belong to a step, not to a {interface.kind}", "leave them out"
            )
        if interface.kind == "function" and (interface.states or interface.unused):
            raise violation("interface: a function has no states", "use the kind 'step' or 'module'")
        return
    if interface.params is None or interface.hidden is None:
        raise violation("interface: a step needs the trees params and hidden", "add them")
    params = _check_tree(interface.params, units, "params")
    hidden = _check_tree(interface.hidden, units, "hidden")
    if params + hidden != sum(counts):
        raise violation(
            f"interface: params and hidden have {params} + {hidden} leaves, the states {sum(counts)}",
            "make one state of each leaf, params first",
        )
    position = 0
    for state, count in zip(interface.states, counts, strict=True):
        if state.role == ("hidden" if position < params else "param"):
            raise violation(
                f"interface, state {format_path(state.path)}: its role {state.role!r} is out of place; "
                f"the first {params} leaves are params",
                "list the states of params first, then those of hidden",
            )
        position += count
