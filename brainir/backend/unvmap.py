"""Primitives whose result is one for all examples of a batch, under the names that Equinox and brainstate give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

__all__ = ["is_vmapped", "unvmap_all", "unvmap_any", "unvmap_max"]


def _unvmapped(name: str, whole: Callable[[Any], Any], of_batch: Callable[[Any], Any] | None = None) -> Any:
    """Return a primitive that gives one result, for a batch that of all examples as one array if not `of_batch`."""

    def batched(operands: Any, axes: Any) -> Any:
        return (of_batch or primitive.bind)(*operands), None

    primitive = Primitive(name)
    primitive.def_impl(whole)
    primitive.def_abstract_eval(lambda x: jax.core.ShapedArray((), jax.eval_shape(whole, x).dtype))
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(whole, multiple_results=False))
    return primitive.bind


is_vmapped = _unvmapped("is_vmapped", lambda x: jnp.bool_(False), lambda x: jnp.bool_(True))
unvmap_all = _unvmapped("unvmap_all", jnp.all)
unvmap_any = _unvmapped("unvmap_any", jnp.any)
unvmap_max = _unvmapped("unvmap_max", jnp.max)
