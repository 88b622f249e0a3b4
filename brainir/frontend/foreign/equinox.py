"""Primitives of Equinox that do more than their implementation says: in a batch, or in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax import lax
from jax.extend.core import Primitive

from ..jax_compat import Literal, spec_of
from ..rules import Attributes, UnsupportedError
from ..tracing import make_jaxpr
from ..weak_types import as_weak_as

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["RULES", "operands_of"]

_IS_VMAPPED = Primitive("is_vmapped")
_IS_VMAPPED.def_abstract_eval(lambda x: jax.core.ShapedArray((), bool))


def _select_if_vmap(lowering: Lowering, equation: Any) -> Attributes:
    """Lower Equinox's choice in a loop, which a batch makes for each example; for one, the first array is taken."""
    kind = equation.outvars[0].aval

    def select_if_vmap(chosen: Any, first: Any, second: Any) -> Any:
        found = lax.select(lax.bitwise_or(chosen, lax.bitwise_not(_IS_VMAPPED.bind(chosen))), first, second)
        # The result has the type of the first array, whatever the second is.
        return as_weak_as(found, kind)

    traced = make_jaxpr(select_if_vmap)(*(spec_of(atom.aval) for atom in equation.invars))
    return {"function": lowering.shared(traced, "select_if_vmap")}


def operands_of(equation: Any) -> Sequence[Any]:
    """Return the operands that the node of an equation has: all but where the process keeps a function of Equinox."""
    operands: Sequence[Any] = equation.invars
    return operands[1:] if equation.primitive.name == "noinline" else operands


def _noinline(lowering: Lowering, equation: Any) -> Attributes:
    """Lower a call of what ``equinox.internal.noinline`` was given, or of a derivative, transpose or batch of it.

    Its derivatives and batches are those of the function, so it needs no rule.
    """
    place = equation.invars[0]
    if not isinstance(place, Literal):
        raise UnsupportedError("which function it runs is an operand; call that function without noinline")

    def run(*operands: Any) -> list[Any]:
        results = equation.primitive.impl(place.val, *operands, **equation.params)
        return [as_weak_as(result, var.aval) for result, var in zip(results, equation.outvars, strict=True)]

    traced = make_jaxpr(run)(*(spec_of(atom.aval) for atom in operands_of(equation)))
    return {"function": lowering.shared(traced, "noinline")}


RULES = {
    "noinline": ("call", _noinline),
    "select_if_vmap": ("call", _select_if_vmap),
}
"""Primitive name to operation and rule."""
