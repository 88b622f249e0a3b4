"""The states of a module: their paths, which a file can hold, and their values, read and written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import brainstate
import jax
import numpy as np

from ..ir.errors import StateError
from ..ir.interface import State
from ..ir.model import PathKey, StatePath
from ..ir.printer import format_path, format_tree
from ..ir.program import Program, Value, require_program
from ..ir.trees import leaf_paths
from .jax_compat import tensor_type
from .trees import TreeReader

__all__ = ["DEFAULT_RANDOM", "module_states", "read_states", "structure_change", "write_states"]

GraphPath: TypeAlias = tuple[Hashable, ...]
"""A path as brainstate has it, whose keys can be of any kind."""

DEFAULT_RANDOM: StatePath = ("brainstate", "random", "DEFAULT")
"""Where programs have brainstate's random state, which no module holds."""


def module_states(module: Any, leaves: Iterable[tuple[GraphPath, Any]] | None = None) -> dict[StatePath, Any]:
    """Return the states of a brainstate module by path, in the order of its graph.

    brainpy keeps the synapses of ``align_pre`` under keys that are neither text nor whole numbers. Such a key becomes
    text: what it reads as if it consists of plain values, else the class of what is kept under it.

    Parameters
    ----------
    module : brainstate.nn.Module
    leaves : iterable, optional
        Paths and leaves of the graph of the module, where they are known.
    """
    leaves = brainstate.graph.iter_leaf(module) if leaves is None else leaves
    states = {tuple(path): leaf for path, leaf in leaves if isinstance(leaf, brainstate.State)}
    if all(_is_path_key(key) for path in states for key in path):
        return states
    held = {tuple(path): node for path, node in module.nodes().items()} | states
    stored = _stored_paths(states, held)
    return {stored[path]: state for path, state in states.items()}


def _stored_paths(paths: Iterable[GraphPath], held: Mapping[GraphPath, Any]) -> dict[GraphPath, StatePath]:
    """Return paths of text and whole numbers, no two of them the same, for these and for all that they begin with."""
    stored: dict[GraphPath, StatePath] = {(): ()}
    taken = set[StatePath]()
    for prefix in dict.fromkeys(path[:length] for path in paths for length in range(1, len(path) + 1)):
        around, key = stored[prefix[:-1]], _stored_key(prefix[-1], held.get(prefix))
        place, count = (*around, key), 0
        while place in taken:
            count += 1
            place = (*around, f"{key}_{count}")
        taken.add(place)
        stored[prefix] = place
    return stored


def _is_path_key(key: Hashable) -> TypeGuard[PathKey]:
    return type(key) in (str, int)


def _stored_key(key: Hashable, held: Any) -> PathKey:
    if _is_path_key(key):
        return key
    if isinstance(key, np.integer):
        return int(key)
    return str(key) if _is_plain(key) else type(held).__name__


def _is_plain(key: Hashable) -> bool:
    """Whether a key says the same in every process: text, a number, or a tuple of such."""
    if isinstance(key, tuple):
        return all(map(_is_plain, key))
    return key is None or isinstance(key, str | bool | int | float)


def read_states(module: Any, program: Program) -> dict[StatePath, Any]:
    """Return the values of a module's states as the program of its step takes them.

    Parameters
    ----------
    module : brainstate.nn.Module
    program : Program
        From :func:`~brainir.lower_module`.

    Returns
    -------
    dict
        From path to value as the module holds it, quantities and pytrees included.

    Raises
    ------
    StateError
        If the module has no state under a path of the program.
    """
    require_program(program)
    states = _matched(module, program)
    return {path: state.value for path, state in states.items()}


def write_states(module: Any, program: Program, states: Mapping[StatePath, Any]) -> None:
    """Put new values into a module's states.

    Parameters
    ----------
    module : brainstate.nn.Module
    program : Program
        From :func:`~brainir.lower_module`.
    states : mapping
        As :func:`read_states` returns it. Parameters may be left out.

    Raises
    ------
    StateError
        If a path is not a state of the program, a state that the step writes is missing, or a value has another
        structure, unit, shape or dtype than the program was lowered for. Nothing is written then.
    """
    require_program(program)
    if not isinstance(states, Mapping):
        raise StateError(f"states is a dict from path to value, as read_states gives it, not {type(states).__name__}")
    matched = _matched(module, program)
    unknown = [path for path in states if path not in matched]
    if unknown:
        known = ", ".join(map(repr, matched))
        raise StateError(
            f"{format_path(unknown[0])} is not a state of program {program.entry!r}; its states are {known}"
        )
    missing = [state.path for state in program.interface.states if state.returned and state.path not in states]
    if missing:
        raise StateError(f"no value is given for state {format_path(missing[0])}")
    for state, leaves in program.state_inputs():
        if state.path in states:
            _check_value(state, states[state.path], leaves, matched[state.path].value)
    for path, value in states.items():
        matched[path].value = value


def _check_value(state: State, value: Any, leaves: Sequence[Value], held: Any) -> None:
    """Refuse a value that the program does not take, which would otherwise be found in a later step."""
    found = [str(tensor_type(leaf)).lstrip("~") for leaf in jax.tree.leaves(jax.eval_shape(lambda: value))]
    wanted = [leaf.type.lstrip("~") for leaf in leaves]
    if found != wanted:
        raise StateError(
            f"the value for state {format_path(state.path)} is {', '.join(found) or 'empty'}, but the program was "
            f"lowered for {', '.join(wanted) or 'an empty one'}; convert it, or lower the module again"
        )
    if change := structure_change(state.path, held, value):
        raise StateError(
            f"the value for state {format_path(state.path)} would change {change}; give it as read_states does"
        )


def _matched(module: Any, program: Program) -> dict[StatePath, Any]:
    if program.interface.kind != "module":
        raise StateError(f"program {program.entry!r} is a {program.interface.kind}, it has no module states")
    present = module_states(module)
    present[DEFAULT_RANDOM] = brainstate.random.DEFAULT
    matched = {}
    for state in program.interface.states:
        if not state.reachable and state.path not in present:
            raise StateError(
                f"the step uses a {state.type} that the module graph does not lead to, so its value cannot be found; "
                "make it an attribute of the module"
            )
        if state.path not in present:
            listed = ", ".join(format_path(path) for path in present)
            raise StateError(f"the module has no state {format_path(state.path)}; it has {listed}")
        matched[state.path] = present[state.path]
    return matched


def structure_change(path: StatePath, old: Any, new: Any) -> str | None:
    """Return what differs between two values of a state in pytree structure or unit, if anything does."""
    kept: Any = jax.tree.structure(old)
    if kept == jax.tree.structure(new):
        return None
    reader = TreeReader()
    before, after = (reader.read(value, format_path(path)) for value in (old, new))
    if reader.is_same(before, after):
        return None
    units = [[leaf.unit or "none" for _, leaf in leaf_paths(tree)] for tree in (before, after)]
    if len(units[0]) == len(units[1]) and units[0] != units[1]:
        return f"its unit from {', '.join(units[0])} to {', '.join(units[1])}"
    return f"its structure from {format_tree(before)} to {format_tree(after)}"
