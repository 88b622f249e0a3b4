"""Arrays in plain attributes of a module: one that a step reads and replaces is a state, unseen by brainstate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax

from ..ir.errors import StateError
from ..ir.model import StatePath
from ..ir.printer import format_path

__all__ = ["ArrayAttribute", "array_attributes", "refuse_written"]


class ArrayAttribute(NamedTuple):
    """An attribute of a module in a graph of modules, and the arrays that its value holds before the step."""

    path: StatePath
    module: Any
    name: str
    value: Any
    arrays: Sequence[jax.Array]


def array_attributes(module: Any) -> list[ArrayAttribute]:
    """Find the attributes of a module, and of the modules in it, that hold arrays outside of states."""
    found = []
    for path, node in module.nodes().items():
        for name, value in vars(node).items():
            arrays = [leaf for leaf in _leaves(value) if isinstance(leaf, jax.Array)]
            if arrays:
                found.append(ArrayAttribute(tuple(path), node, name, value, arrays))
    return found


def refuse_written(attributes: Iterable[ArrayAttribute], constants: Iterable[Any]) -> None:
    """Refuse a step that has read arrays of an attribute, as constants of its trace, and then replaced its value.

    What it replaces without reading it, such as a current between two parts of a neuron, is no memory.

    Raises
    ------
    StateError
        The attributes have their old values again then.
    """
    read = {id(constant) for constant in constants}
    written = [
        each
        for each in attributes
        if any(id(array) in read for array in each.arrays)
        and any(isinstance(leaf, jax.core.Tracer) for leaf in _leaves(getattr(each.module, each.name, None)))
    ]
    for each in written:
        setattr(each.module, each.name, each.value)
    if written:
        path, owner, name = written[0][:3]
        where = f" at {format_path(path)}" if path else ""
        raise StateError(
            f"{type(owner).__name__}{where} keeps an array in its attribute {name!r}, which the step reads and "
            f"replaces: that is a state; make it a brainstate.HiddenState, and read and write {name}.value"
        )


def _leaves(value: Any) -> list[Any]:
    """Return the leaves of a value, but for what is in dicts, whose keys may have no order."""
    return jax.tree.leaves(value, is_leaf=lambda each: isinstance(each, dict))
