"""Arrays in plain attributes of a module: one that a step reads and replaces is a state, unseen by brainstate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import brainstate
import jax

from ..ir.errors import StateError
from ..ir.model import StatePath
from ..ir.printer import format_path

__all__ = ["array_attributes", "refuse_written"]


class _Place(NamedTuple):
    """Where a value is before the step: an attribute of a module, or an item of a list or dict."""

    container: Any
    key: Any
    value: Any


class ArrayAttribute(NamedTuple):
    """An attribute of a module in a graph of modules, and an array in it before the step.

    Parameters
    ----------
    path : tuple of str and int
        Of the module.
    owner : brainstate.graph.Node
    name : str
    array : jax.Array
    places : list of _Place
        On the way to the array, those that can be written to: the attribute, and items of lists and dicts in it.
    """

    path: StatePath
    owner: Any
    name: str
    array: jax.Array
    places: list[_Place]


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
    places: list[_Place] = []
    for place, key in enumerate(path):
        if isinstance(value, brainstate.graph.Node) and key in vars(value):
            owner, depth, held = value, place, vars(value)[key]
            places = [_Place(value, key, held)]
        elif isinstance(value, list | tuple | dict):
            held = value[key]
            if not isinstance(value, tuple):
                places.append(_Place(value, key, held))
        else:
            break  # what holds its leaves in another way, such as a quantity
        value = held
    return ArrayAttribute(tuple(path[:depth]), owner, path[depth], array, places)


def refuse_written(attributes: Iterable[ArrayAttribute], constants: Iterable[Any]) -> None:
    """Refuse a step that has read arrays of an attribute, as constants of its trace, and then replaced its value.

    What it replaces without reading it, such as a current between two parts of a neuron, is no memory.

    Raises
    ------
    StateError
        The attributes have their old values again then.
    """
    read = {id(constant) for constant in constants}
    written = [each for each in attributes if id(each.array) in read and any(map(_is_replaced, each.places))]
    for place in (place for each in written for place in each.places):
        _content(place)[place.key] = place.value
    if written:
        path, owner, name = written[0][:3]
        where = f" at {format_path(path)}" if path else ""
        raise StateError(
            f"{type(owner).__name__}{where} keeps an array in its attribute {name!r}, which the step reads and "
            f"replaces: that is a state; make it a brainstate.HiddenState, and read and write {name}.value"
        )


def _content(place: _Place) -> Any:
    is_module = isinstance(place.container, brainstate.graph.Node)
    return vars(place.container) if is_module else place.container


def _is_replaced(place: _Place) -> bool:
    """Whether a trace has put something of its own in the place of a value."""
    content = _content(place)
    remains = place.key < len(content) if isinstance(content, list) else place.key in content
    return remains and content[place.key] is not place.value and _is_traced(content[place.key])


def _is_traced(value: Any) -> bool:
    """Whether a trace has left something in a value; the keys of a dict in it may have no order."""
    if isinstance(value, dict):
        return any(map(_is_traced, value.values()))
    leaves = jax.tree.leaves(value, is_leaf=lambda each: isinstance(each, dict))
    return any(_is_traced(leaf) if isinstance(leaf, dict) else isinstance(leaf, jax.core.Tracer) for leaf in leaves)
