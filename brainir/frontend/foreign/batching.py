"""Primitives of other packages that do another thing in a batch than their implementation does for each example.

A program is lowered for one example; what is there for a batch alone has to be in it, too.
"""

from __future__ import annotations

from typing import Any

import jax
from jax import lax
from jax.extend.core import Primitive

from ..control import FunctionTable
from ..jax_compat import spec_of
from ..rules import Attributes
from ..tracing import make_jaxpr
from ..weak_types import as_weak_as

__all__ = ["RULES"]

_IS_VMAPPED = Primitive("is_vmapped")
_IS_VMAPPED.def_abstract_eval(lambda x: jax.core.ShapedArray((), bool))


def _select_if_vmap(table: FunctionTable, equation: Any) -> Attributes:
    """Lower Equinox's choice in a loop, which a batch makes for each example; for one, the first array is taken."""
    kind = equation.outvars[0].aval

    def select_if_vmap(chosen: Any, first: Any, second: Any) -> Any:
        found = lax.select(lax.bitwise_or(chosen, lax.bitwise_not(_IS_VMAPPED.bind(chosen))), first, second)
        # The result has the type of the first array, whatever the second is.
        return as_weak_as(found, kind)

    traced = make_jaxpr(select_if_vmap)(*(spec_of(atom.aval) for atom in equation.invars))
    return {"function": table.shared(traced, "select_if_vmap")}


RULES = {"select_if_vmap": ("call", _select_if_vmap)}
"""Primitive name to operation and rule."""
