"""The table of type rules, and the decorator that enters a rule in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import BrainIRError
from ..node import Node
from ..program import Function
from ..types import TensorType

__all__ = ["BY_TYPES", "RULES", "Callees", "Shape", "TypeRuleError", "Types", "rule", "rule_by_types"]


class TypeRuleError(BrainIRError):
    """The operands or attributes of a node do not fit its operation."""


Types = tuple[TensorType, ...]
Callees = Mapping[str, Function]
Shape = tuple[int, ...]

RULES: dict[str, Callable[[Any, Types, Callees], Types]] = {}
"""The rule of every operation that has one: node, operand types and functions to result types."""

BY_TYPES: dict[str, Callable[[str, Types], Types]] = {}
"""The rule of operations whose attributes do not matter: operation and operand types to result types."""

N = TypeVar("N", bound=Node)


def rule(
    *schemas: type[N],
) -> Callable[[Callable[[N, Types, Callees], Types]], Callable[[N, Types, Callees], Types]]:
    """Enter the decorated function as the rule of the operations of these schemas."""

    def register(function: Callable[[N, Types, Callees], Types]) -> Callable[[N, Types, Callees], Types]:
        RULES.update({op: function for schema in schemas for op in schema.ops()})
        return function

    return register


def rule_by_types(
    *schemas: type[Node],
) -> Callable[[Callable[[str, Types], Types]], Callable[[str, Types], Types]]:
    """Enter the decorated function as the rule of the operations of these schemas, whose attributes do not matter."""

    def register(function: Callable[[str, Types], Types]) -> Callable[[str, Types], Types]:
        BY_TYPES.update({op: function for schema in schemas for op in schema.ops()})
        rule(*schemas)(lambda node, operands, _: function(node.op, operands))
        return function

    return register
