"""Calls as a person would write them: other expressions that trace to exactly the same operation."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.types import TensorType, is_literal
from .expressions import Apply, Expression, Literal, Name, Operand

__all__ = ["idiom"]

Types = Callable[[str], TensorType]


def idiom(expression: Expression, types: Types) -> Expression:
    """Return an expression that reads better and is the same operation, or the expression itself."""
    match expression:
        case Apply(Name("lax.select_n"), (Operand(which), on_false, on_true)) if types(which).dtype == "bool":
            return Apply(Name("lax.select"), (Operand(which), on_true, on_false))
        case Apply(Name("lax.dot_general"), (Operand(left), Operand(right))) if _is_matmul(
            expression, left, right, types
        ):
            return Apply(Name("jnp.matmul"), expression.arguments)
        case Apply(Name("lax.broadcast_in_dim"), (Operand(value),)) if _is_full(expression, value, types):
            return Apply(Name("lax.full"), (expression.keywords["shape"], Operand(value)))
    return expression


def _is_matmul(expression: Apply, left: str, right: str, types: Types) -> bool:
    """Whether a product of vectors or matrices is what ``@`` does with its operands."""
    if is_literal(left) or is_literal(right):
        return False
    first, second = types(left), types(right)
    if first.ndim not in (1, 2) or second.ndim not in (1, 2) or first.weak_type or second.weak_type:
        return False
    return (
        first.is_inexact
        and first.dtype == second.dtype
        and _given(expression)
        == {
            "dimension_numbers": Literal((((first.ndim - 1,), (0,)), ((), ()))),
            "preferred_element_type": Apply(Name("jnp.dtype"), (Literal(first.dtype),)),
        }
    )


def _is_full(expression: Apply, value: str, types: Types) -> bool:
    """Whether a number is spread over a shape."""
    if not is_literal(value) or types(value).weak_type:
        return False
    given = _given(expression)
    return given == {"shape": given.get("shape"), "broadcast_dimensions": Literal(())}


def _given(expression: Apply) -> dict[str, Expression]:
    """Return the keywords that are not None."""
    return {name: value for name, value in expression.keywords.items() if value != Literal(None)}
