"""Arrays in plain attributes of a module: one that a step reads and replaces is a state, unseen by brainstate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import brainstate
import jax

from ..ir.errors import StateError
from ..ir.model import StatePath
from ..ir.printer import format_path

__all__ = ["ArrayAttribute", "array_attributes", "refuse_written"]


class ArrayAttribute(NamedTuple):
    """An attribute of a module in a graph of modules, its value before the step, and an array that this holds."""

    path: StatePath
    owner: Any
    name: str
    value: Any
    array: jax.Array


def array_attributes(module: Any, leaves: Iterable[tuple[Sequence[Any], Any]]) -> list[ArrayAttribute]:
    """Find the attributes of a module, and of the modules in it, that hold arrays outside of states.

    Parameters
    ----------
    module : brainstate.nn.Module
    leaves : iterable
        Paths and leaves of the graph of the module.
    """
    return [_attribute(module, path, leaf) for path, leaf in leaves if isinstance(leaf, jax.Array)]


def _attribute(module: Any, path: Sequence[Any], array: jax.Array) -> ArrayAttribute:
    """Return the attribute of the innermost module on a path, which holds an array."""
    owner, depth, value = module, 0, module
    for place, key in enumerate(path):
        if isinstance(value, brainstate.graph.Node) and key in vars(value):
            owner, depth, value = value, place, vars(value)[key]
        elif isinstance(value, list | tuple | dict):
            value = value[key]
        else:
            break  # what holds its leaves in another way, such as a quantity
    name = path[depth]
    return ArrayAttribute(tuple(path[:depth]), owner, name, vars(owner).get(name), array)


def refuse_written(attributes: Iterable[ArrayAttribute], constants: Iterable[Any]) -> None:
    """Refuse a step that has read arrays of an attribute, as constants of its trace, and then replaced its value.

    What it replaces without reading it, such as a current between two parts of a neuron, is no memory.

    Raises
    ------
    StateError
        The attributes have their old values again then.
    """
    read = {id(constant) for constant in constants}
    written = [each for each in attributes if id(each.array) in read and _is_traced(vars(each.owner).get(each.name))]
    for each in written:
        setattr(each.owner, each.name, each.value)
    if written:
        path, owner, name = written[0][:3]
        where = f" at {format_path(path)}" if path else ""
        raise StateError(
            f"{type(owner).__name__}{where} keeps an array in its attribute {name!r}, which the step reads and "
            f"replaces: that is a state; make it a brainstate.HiddenState, and read and write {name}.value"
        )


def _is_traced(value: Any) -> bool:
    """Whether a trace has left something in a value; a dict, whose keys may have no order, is not looked into."""
    leaves = jax.tree.leaves(value, is_leaf=lambda each: isinstance(each, dict))
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
