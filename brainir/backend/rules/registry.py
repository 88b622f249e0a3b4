"""The table of backend rules, the decorator that enters a rule in it, and how common parts are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...ir.errors import EmissionError
from ...ir.model import Model
from ...ir.node import Node
from ...ir.ops import layout_of
from ...ir.types import TensorType
from ..expressions import Apply, Expression, Item, Literal, Name, Operand, Plain, ShardingOf

__all__ = [
    "RULES",
    "Types",
    "as_keywords",
    "as_operands",
    "call",
    "dtype",
    "first_of",
    "layout",
    "member",
    "record",
    "rule",
    "sharding_parameter",
]

Types = Callable[[str], TensorType]
Rule = Callable[[Any, Types], Expression]

RULES: dict[str, Rule] = {}
"""Operation to the JAX call that it is. A rule gets the node and a function from operand to type.

The call gives one value for a node with one result, unless the node runs functions: then it gives a tuple.
"""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Enter the decorated function as the rule of these operations."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, rule))
        return rule

    return register


def call(dotted: str, node: Node, **keywords: Plain | Expression) -> Apply:
    """Call a JAX function with the operands of a node in order."""
    return Apply(Name(dotted), as_operands(node.inputs), as_keywords(keywords))


def as_keywords(keywords: Mapping[str, Plain | Expression]) -> dict[str, Expression]:
    """Return keywords whose plain values are literals."""
    return {
        name: Literal(value) if value is None or isinstance(value, bool | int | float | str | tuple) else value
        for name, value in keywords.items()
    }


def record(dotted: str, held: Model) -> Apply:
    """Return a record of JAX with the fields that one of the IR has."""
    return Apply(Name(dotted), (), as_keywords(dict(held)))


def as_operands(names: tuple[str, ...]) -> tuple[Expression, ...]:
    """Return operands by name."""
    return tuple(map(Operand, names))


def first_of(node: Node, results: Expression) -> Expression:
    """Return the results of a call that gives a sequence, as rules do: a single one alone."""
    return Item(results, 0) if len(node.outputs) == 1 else results


def layout(node: Node) -> dict[str, Expression]:
    """Return the keyword of public functions that says how a result lies on explicit axes, where a node says it."""
    return {} if layout_of(node) is None else {"out_sharding": sharding_parameter(node)}


def sharding_parameter(node: Node) -> Expression:
    """Return the parameter of primitives that says so; None where a node does not."""
    sharding = layout_of(node)
    return Literal(None) if sharding is None else ShardingOf(sharding, is_abstract=True)


def member(of: str, name: str) -> Name:
    """Return a member of something in JAX, ``lax.Precision.HIGHEST``, by a name that comes from a file.

    Raises
    ------
    EmissionError
        If it is no public name.
    """
    if not name.isidentifier() or name.startswith("_"):
        raise EmissionError(f"{of} has no member {name!r}; correct the attribute of the node")
    return Name(f"{of}.{name}")


def dtype(name: str) -> Expression:
    """Return an element type."""
    return Apply(Name("jnp.dtype"), (Literal(name),))
