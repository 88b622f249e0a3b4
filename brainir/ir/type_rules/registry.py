"""The table of type rules, and the decorator that enters a rule in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import BrainIRError
from ..node import Node
from ..program import Function
from ..types import TensorType

__all__ = ["BY_TYPES", "RULES", "Callees", "Shape", "TypeRuleError", "Types", "rule"]


class TypeRuleError(BrainIRError):
    """The operands or attributes of a node do not fit its operation."""


Types = tuple[TensorType, ...]
Callees = Mapping[str, Function]
Shape = tuple[int, ...]

RULES: dict[str, Callable[[Any, Types, Callees], Types]] = {}
"""The rule of every operation that has one: node, operand types and functions to result types."""

BY_TYPES: set[str] = set()
"""The operations whose result types follow from those of their operands, whatever their attributes."""

N = TypeVar("N", bound=Node)


def rule(
    *schemas: type[N],
    by_types: bool = False,
) -> Callable[[Callable[[N, Types, Callees], Types]], Callable[[N, Types, Callees], Types]]:
    """Enter the decorated function as the rule of the operations of these schemas.

    With `by_types` it reads no attributes.
    """

    def register(function: Callable[[N, Types, Callees], Types]) -> Callable[[N, Types, Callees], Types]:
        ops = [op for schema in schemas for op in schema.ops()]
        RULES.update(dict.fromkeys(ops, function))
        BY_TYPES.update(ops if by_types else ())
        return function

    return register
