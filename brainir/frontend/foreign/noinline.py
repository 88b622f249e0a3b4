"""Functions that Equinox compiles apart from the program, as calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..control import FunctionTable
from ..jax_compat import is_literal, spec_of
from ..rules import Attributes, UnsupportedError
from ..tracing import make_jaxpr
from ..weak_types import as_weak_as

__all__ = ["RULES", "operands_of"]

_NAME = "noinline"


def operands_of(equation: Any) -> Sequence[Any]:
    """Return the operands that the node of an equation has: all but where the process keeps a function of Equinox."""
    operands: Sequence[Any] = equation.invars
    return operands[1:] if equation.primitive.name == _NAME else operands


def _noinline(table: FunctionTable, equation: Any) -> Attributes:
    """Lower a call of what ``equinox.internal.noinline`` was given, or of a derivative, transpose or batch of it.

    Its derivatives and batches are those of the function, so it needs no rule.
    """
    place = equation.invars[0]
    if not is_literal(place):
        raise UnsupportedError("which function it runs is an operand; call that function without noinline")

    def run(*operands: Any) -> list[Any]:
        results = equation.primitive.impl(place.val, *operands, **equation.params)
        return [as_weak_as(result, var.aval) for result, var in zip(results, equation.outvars, strict=True)]

    traced = make_jaxpr(run)(*(spec_of(atom.aval) for atom in operands_of(equation)))
    return {"function": table.shared(traced, _NAME)}


RULES = {_NAME: ("call", _noinline)}
"""Primitive name to operation and rule."""
