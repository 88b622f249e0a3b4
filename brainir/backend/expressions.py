"""The little language in which backend rules say what JAX call a node is.

An expression is data: the callable evaluates it, the source printer writes it. Dotted names in it come from the rules,
never from a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

from ..ir.ops import MeshShape, Sharding

__all__ = [
    "Apply",
    "Attribute",
    "BatchingRuleOf",
    "CallableOf",
    "CustomJvpOf",
    "CustomOf",
    "CustomVjpOf",
    "DictOf",
    "Expression",
    "ExternalOf",
    "FunctionOf",
    "Item",
    "JitOf",
    "Join",
    "Lambda",
    "ListOf",
    "Literal",
    "MeshOf",
    "Name",
    "Operand",
    "PrimitiveOf",
    "ShardingOf",
    "Splat",
    "SplitAt",
    "Tuple",
    "Variable",
    "walk",
]

Plain: TypeAlias = "bool | int | float | str | tuple[Plain, ...] | None"


@dataclass(frozen=True, slots=True)
class Operand:
    """The value of an operand: a name of the function, or a scalar literal.

    With `as_array`, a literal is given as an array on the device, which JAX does not fold while tracing.
    """

    name: str
    as_array: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A parameter of an enclosing :class:`Lambda`."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A Python literal."""

    value: Plain


@dataclass(frozen=True, slots=True)
class Name:
    """Something that a module holds: ``lax.Precision.HIGHEST``."""

    dotted: str


@dataclass(frozen=True, slots=True)
class FunctionOf:
    """A function of the program: it takes its inputs and returns a tuple of its outputs."""

    function: str


@dataclass(frozen=True, slots=True)
class JitOf:
    """A function of the program under ``jax.jit``."""

    function: str
    inline: bool = False
    keep_unused: bool = False
    donated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomJvpOf:
    """A function of the program with its own JVP rule, or with an error that says why there is none."""

    function: str
    jvp: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class CustomVjpOf:
    """A function of the program with its own forward and backward rules."""

    function: str
    fwd: str
    bwd: str


CustomOf: TypeAlias = CustomJvpOf | CustomVjpOf
CallableOf: TypeAlias = FunctionOf | JitOf | CustomOf
"""What stands for a Python function that is made of functions of the program."""


@dataclass(frozen=True, slots=True)
class ExternalOf:
    """A function that the caller gives under a name; it returns the leaves of its result in a tuple."""

    name: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class BatchingRuleOf:
    """A batching rule that the caller may give under a name, as ``jax.custom_batching`` has it; else it raises."""

    name: str


@dataclass(frozen=True, slots=True)
class PrimitiveOf:
    """What :func:`~brainir.register_primitive` gave a name; it returns a tuple of results."""

    name: str


@dataclass(frozen=True, slots=True)
class MeshOf:
    """A mesh of this shape, of the devices that there are; an abstract one has no devices."""

    shape: MeshShape
    is_abstract: bool = False


@dataclass(frozen=True, slots=True)
class ShardingOf:
    """A sharding on the devices that there are, or on an abstract mesh."""

    sharding: Sharding
    is_abstract: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict."""

    keys: tuple[str | int | tuple[str | int, ...], ...]
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple of values."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Splat:
    """``*value`` among arguments or in a tuple."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Lambda:
    """An anonymous function."""

    parameters: tuple[str, ...]
    body: Expression


@dataclass(frozen=True, slots=True)
class SplitAt:
    """The items of a sequence before and from an index, as a pair of tuples."""

    value: Expression
    index: int


@dataclass(frozen=True, slots=True)
class Join:
    """The items of a pair of tuples, as one tuple."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a sequence."""

    value: Expression
    index: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a value."""

    value: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A call."""

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: Mapping[str, Expression] = field(default_factory=dict)


Expression: TypeAlias = (
    Operand
    | Variable
    | Literal
    | Name
    | FunctionOf
    | JitOf
    | CustomJvpOf
    | CustomVjpOf
    | ExternalOf
    | BatchingRuleOf
    | PrimitiveOf
    | ListOf
    | MeshOf
    | ShardingOf
    | DictOf
    | Tuple
    | Splat
    | Lambda
    | SplitAt
    | Join
    | Item
    | Attribute
    | Apply
)


def walk(expression: Any) -> Iterator[Any]:
    """Yield an expression, or each of several, and all that it is made of."""
    match expression:
        case tuple():
            for each in expression:
                yield from walk(each)
        case Mapping():
            yield from walk(tuple(expression.values()))
        case _ if is_dataclass(expression):
            yield expression
            yield from walk(tuple([getattr(expression, part.name) for part in fields(expression)]))
