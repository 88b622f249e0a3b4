"""The table of type rules, and the decorator that enters a rule in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import BrainIRError
from ..node import Node
from ..program import Function
from ..types import TensorType

__all__ = ["RULES", "Callees", "Shape", "TypeRuleError", "Types", "rule"]


class TypeRuleError(BrainIRError):
    """The operands or attributes of a node do not fit its operation."""


Types = tuple[TensorType, ...]
Callees = Mapping[str, Function]
Shape = tuple[int, ...]

RULES: dict[str, Callable[[Any, Types, Callees], Types]] = {}
"""The rule of every operation that has one: node, operand types and functions to result types."""

N = TypeVar("N", bound=Node)


def rule(
    *schemas: type[N],
) -> Callable[[Callable[[N, Types, Callees], Types]], Callable[[N, Types, Callees], Types]]:
    """Enter the decorated function as the rule of the operations of these schemas."""

    def register(function: Callable[[N, Types, Callees], Types]) -> Callable[[N, Types, Callees], Types]:
        RULES.update({op: function for schema in schemas for op in schema.ops()})
        return function

    return register
