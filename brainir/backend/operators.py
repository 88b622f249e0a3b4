"""Which calls are exactly one of Python's operators, and how tightly that operator binds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.types import TensorType

__all__ = ["ATOM", "OperatorOperand", "operator_of"]

ATOM = 9
"""Binding of what needs no parentheses anywhere."""

_COMPARISON = 1


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of Python.

    Parameters
    ----------
    symbol : str
    binding : int
        How tightly it binds; a larger number is tighter.
    """

    symbol: str
    binding: int

    def binding_of_operand(self, position: int) -> int:
        """Return how tightly an operand has to bind to stand without parentheses.

        From the left, operators of one kind need none; comparisons always do.
        """
        return self.binding + (position == 1 or self.binding == _COMPARISON)


@dataclass(frozen=True, slots=True)
class OperatorOperand:
    """What decides whether Python's operator does with an operand what JAX's function does.

    Parameters
    ----------
    type : TensorType
    is_array : bool
        Whether it is a JAX array whoever calls.
    is_literal : bool
    """

    type: TensorType
    is_array: bool
    is_literal: bool


_INFIX = {
    "lax.add": Operator("+", 5),
    "lax.sub": Operator("-", 5),
    "lax.mul": Operator("*", 6),
    "lax.div": Operator("/", 6),
    "jnp.matmul": Operator("@", 6),
    "lax.bitwise_and": Operator("&", 4),
    "lax.bitwise_or": Operator("|", 2),
    "lax.bitwise_xor": Operator("^", 3),
    "lax.eq": Operator("==", _COMPARISON),
    "lax.ne": Operator("!=", _COMPARISON),
    "lax.lt": Operator("<", _COMPARISON),
    "lax.le": Operator("<=", _COMPARISON),
    "lax.gt": Operator(">", _COMPARISON),
    "lax.ge": Operator(">=", _COMPARISON),
}
_PREFIX = {"lax.neg": Operator("-", 7), "lax.bitwise_not": Operator("~", 7)}
_ARITHMETIC = frozenset("+-*/@")
_BITWISE = frozenset("&|^~")

# Python numbers have these element types, with and without 64-bit types.
_WEAK_TYPES = frozenset(("int32", "int64", "float32", "float64", "complex64", "complex128"))


def operator_of(function: str, operands: Sequence[OperatorOperand]) -> Operator | None:
    """Return the operator that on these operands is exactly the same as a function, if there is one."""
    operator = _INFIX.get(function) if len(operands) == 2 else _PREFIX.get(function)
    if operator is None or not any(operand.is_array for operand in operands):
        return None
    first = operands[0]
    # Python would turn around a comparison, and numpy compute with a number of its own, on the left.
    if not first.is_array and not (first.is_literal and operator.symbol in _ARITHMETIC):
        return None
    kind = first.type
    if any((other.type.dtype, other.type.weak_type) != (kind.dtype, kind.weak_type) for other in operands):
        return None
    if not _takes(operator.symbol, kind) or (kind.weak_type and kind.dtype not in _WEAK_TYPES):
        return None
    return operator


def _takes(symbol: str, kind: TensorType) -> bool:
    """Whether an operator does with elements of a type what JAX's function does."""
    if symbol == "/":
        return kind.is_inexact
    if symbol in _BITWISE:
        return kind.is_integer or kind.dtype == "bool"
    return kind.is_inexact or kind.is_integer or (kind.dtype == "bool" and symbol not in _ARITHMETIC)
