"""Nodes, functions and interfaces as JSON text: fixed key order, fields at their default left out.

There is one line for each node, constant, state, argument and unit, so that a line diff shows what changed.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .constant import Constant
from .errors import FormatError
from .interface import Interface
from .model import Model
from .node import Node
from .program import Function
from .trees import DEEPEST_TREE, tree_depth

__all__ = [
    "array_text",
    "dump_bare_function",
    "dump_bare_node",
    "dump_function",
    "dump_interface",
    "dump_node",
    "encode",
    "object_text",
]


def dump_interface(interface: Interface, indent: str = "") -> str:
    """Write an interface as JSON text, one state, argument or unit to a line.

    Raises
    ------
    FormatError
        If a pytree nests deeper than a file holds.
    """
    if (depth := max(map(tree_depth, interface.trees()))) > DEEPEST_TREE:
        raise FormatError(
            f"a pytree of the interface nests {depth} levels deep and a file holds {DEEPEST_TREE}; "
            "flatten the arguments, states or result of the model"
        )
    fields = []
    for name, value in _record(interface).items():
        lines = name in ("states", "arguments", "units")
        fields.append((name, array_text(map(encode, value), f"{indent} ") if lines else encode(value)))
    return object_text(fields, indent)


def dump_function(function: Function, indent: str = "") -> str:
    """Write a function as JSON text, one constant or node to a line."""
    parts = function.inputs, function.types, function.constants, map(dump_node, function.nodes), function.outputs
    return dump_bare_function(*parts, name=function.name, indent=indent)


def dump_bare_function(
    inputs: tuple[str, ...],
    types: tuple[str, ...],
    constants: Iterable[Constant],
    nodes: Iterable[str],
    outputs: tuple[str, ...],
    name: str = "",
    indent: str = "",
) -> str:
    """Write a function as :func:`dump_function` does, from the lines of its nodes."""
    fields = [("name", encode(name)), ("inputs", encode(inputs)), ("types", encode(types))]
    for field, lines in (("constants", [encode(constant.model_dump()) for constant in constants]), ("nodes", [*nodes])):
        if lines:
            fields.append((field, array_text(lines, f"{indent} ")))
    return object_text([*fields, ("outputs", encode(outputs))], indent)


def dump_node(node: Node) -> str:
    """Write a node as one line of JSON."""
    record = {"op": node.op, "inputs": node.inputs, "outputs": node.outputs, "types": node.types}
    for name, default in _node_fields(type(node)):
        value = getattr(node, name)
        if not _same(value, default):
            record[name] = value
    return encode(record)


def dump_bare_node(
    node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...], callees: Mapping[str, str] | None = None
) -> str:
    """Write a node as :func:`dump_node` does, with other operands and results, without scope and source.

    Parameters
    ----------
    node : Node
    inputs, outputs : tuple of str
    callees : mapping of str to str, optional
        What stands for the functions that it refers to; nothing without it.
    """
    record: dict[str, Any] = {"op": node.op, "inputs": inputs, "outputs": outputs, "types": node.types}
    references = node.reference_names()
    for name, default in _node_fields(type(node))[:-2]:
        value = getattr(node, name)
        if name in references and value is not None:
            names = (value,) if isinstance(value, str) else value
            found = tuple("" if callees is None else callees.get(callee, callee) for callee in names)
            value = found[0] if isinstance(value, str) else found
        if not _same(value, default):
            record[name] = value
    return encode(record)


@functools.cache
def _node_fields(schema: type[Node]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, schema.model_fields[name].default) for name in (*schema.attribute_names(), "scope", "source"))


def _same(value: object, default: object) -> bool:
    # Equal values of different kinds, such as 0.0 and -0.0, are written differently.
    return value is default or (value == default and repr(value) == repr(default))


def _record(model: object) -> dict[str, Any]:
    if not isinstance(model, Model):
        raise TypeError(f"{type(model).__name__} is not stored in programs")
    values = ((name, getattr(model, name), info.default) for name, info in type(model).model_fields.items())
    return {name: value for name, value, default in values if name in ("op", "kind") or not _same(value, default)}


_encoder = json.JSONEncoder(ensure_ascii=False, default=_record).encode
# Legal in JSON, but they end lines for some readers, cannot be encoded, or change how a line looks in review.
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def encode(value: object) -> str:
    """Write a value, a record or a tuple of them on one line."""
    text = _encoder(value)
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(lambda at: f"\\u{ord(at[0]):04x}", text)


def object_text(fields: Iterable[tuple[str, str]], indent: str) -> str:
    """Write an object from the texts of its values, one field to a line."""
    return "{\n" + ",\n".join(f'{indent} "{name}": {text}' for name, text in fields) + f"\n{indent}}}"


def array_text(items: Iterable[str], indent: str) -> str:
    """Write an array from the texts of its items, one to a line."""
    lines = f",\n{indent} ".join(items)
    return f"[\n{indent} {lines}\n{indent}]" if lines else "[]"
