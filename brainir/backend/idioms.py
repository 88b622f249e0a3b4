"""Calls as a person would write them: other expressions that trace to exactly the same operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..ir.ops import Cond, ConvertElementType, PlatformIndex
from ..ir.program import Function
from ..ir.types import TensorType, is_literal
from .expressions import Apply, Expression, FunctionOf, Literal, Name, Operand

__all__ = ["idiom", "platform_places", "predicates", "two_way_cond"]

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


def predicates(function: Function, uses: Counter[str]) -> dict[str, str]:
    """Return the indices of two-way conds that are nothing but a boolean, which ``lax.cond`` converts itself."""
    found = {}
    for node in function.nodes:
        if not isinstance(node, Cond) or len(node.branches) != 2 or node.platforms or uses[node.inputs[0]] != 1:
            continue
        index = function.producers.get(node.inputs[0])
        if not isinstance(index, ConvertElementType) or index.types != ("i32[]",) or is_literal(index.inputs[0]):
            continue
        if function.type_of(index.inputs[0]).dtype == "bool":
            found[node.inputs[0]] = index.inputs[0]
    return found


def platform_places(function: Function, uses: Counter[str]) -> frozenset[str]:
    """Return the indices that only say which code is for the platform, which ``lax.platform_dependent`` asks itself."""
    asked = Counter(node.inputs[0] for node in function.nodes if isinstance(node, Cond) and node.platforms)
    places = (node.outputs[0] for node in function.nodes if isinstance(node, PlatformIndex))
    return frozenset(place for place in places if 0 < asked[place] == uses[place])


def two_way_cond(node: Cond, predicate: str) -> Expression:
    """Return a cond as ``lax.cond`` with its branches in the order true, false."""
    if_false, if_true = map(FunctionOf, node.branches)
    return Apply(Name("lax.cond"), (Operand(predicate), if_true, if_false, *map(Operand, node.inputs[1:])))
