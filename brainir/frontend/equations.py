"""Primitives whose parameters alone do not say what they are.

Their rules see the whole equation, and can lower functions in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.types import scalar_text
from . import jax_compat
from .rules import Attributes, Operation, UnsupportedError, operation_of

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["RULES"]


def _top_k(lowering: Lowering, equation: Any) -> Attributes:
    _, attributes = operation_of("top_k", equation.params)
    if attributes["axis"] is None:
        attributes["axis"] = equation.invars[0].aval.ndim - 1
    return attributes


def _gather(lowering: Lowering, equation: Any) -> Attributes:
    _, attributes = operation_of("gather", equation.params)
    fill = equation.params["fill_value"]
    if fill is not None:
        # Of keys, it is that of their words.
        element, _ = jax_compat.tensor_type(equation.invars[0].aval).storage
        attributes["fill_value"] = scalar_text(np.asarray(fill).astype(element))
    return attributes


def _scatter(lowering: Lowering, equation: Any) -> Operation:
    params = equation.params
    plain = operation_of("scatter", params)
    jaxpr = params["update_jaxpr"]
    if jaxpr is None or (not jaxpr.eqns and jaxpr.outvars[0] is jaxpr.invars[1]):
        return plain
    if params["update_consts"]:
        raise UnsupportedError("a function that closes over arrays")
    update = lowering.shared(jax_compat.as_closed(jaxpr), "update")
    return Operation("scatter_apply", {"update": update, **plain.attributes})


def _reduce(lowering: Lowering, equation: Any) -> Attributes:
    _, attributes = operation_of("reduce", equation.params)
    return {"computation": lowering.shared(equation.params["jaxpr"], "combine"), **attributes}


def _reduce_window(lowering: Lowering, equation: Any) -> Attributes:
    params = dict(equation.params)
    jaxpr, consts = params.pop("jaxpr"), params.pop("consts")
    _, attributes = operation_of("reduce_window_sum", params)
    return {"computation": lowering.shared(jax_compat.as_closed(jaxpr, consts), "combine"), **attributes}


def _drawn(lowering: Lowering, equation: Any) -> Attributes:
    """Lower what draws from a key: the bits of a Threefry key depend on a setting, which an equation keeps aside."""
    _, attributes = operation_of(equation.primitive.name, equation.params)
    return {**attributes, "partitionable": jax_compat.threefry_partitionable(equation)}


RULES: dict[str, tuple[str, Callable[[Lowering, Any], Attributes | Operation]]] = {
    "gather": ("gather", _gather),
    "random_bits": ("random_bits", _drawn),
    "random_gamma": ("random_gamma", _drawn),
    "random_split": ("random_split", _drawn),
    "reduce": ("reduce", _reduce),
    "reduce_window": ("reduce_window", _reduce_window),
    "scatter": ("scatter", _scatter),  # or scatter_apply
    "top_k": ("top_k", _top_k),
}
"""Primitive name to operation and rule."""
