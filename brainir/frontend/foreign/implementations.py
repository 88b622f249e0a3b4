"""What computes a primitive that another package defines, where that says more than the primitive does.

Like :mod:`..jax_compat`, it reads what JAX, and these packages, may rename or move between versions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import numpy as jnp
from jax.interpreters import ad, batching

from ..jax_compat import Equation, moves
from ..rules import UnsupportedError

__all__ = ["implementation", "is_brainevent", "is_for_reverse_mode", "primitive_functions"]


def implementation(equation: Equation) -> Any:
    """Return a function that computes an equation, or None if that says no more than the primitive does.

    Primitives of other packages have an implementation. That of JAX's own primitives compiles and runs the primitive
    itself, but for ``call_hi_primitive``, which holds an object with functions.
    """
    primitive, params = equation.primitive, equation.params
    held = _held_by_hijax(equation)
    if held is not None:
        return _hi_implementation(held)
    kernel = _brainevent_registry().get(primitive.name)
    if kernel is not None:
        entry = next((part["jax_raw"] for part in kernel._kernels.values() if "jax_raw" in part), None)
        own = {name: value for name, value in params.items() if name != "backend"}
        return None if entry is None else lambda *operands: entry.kernel_generator(**own)(*operands)
    function = getattr(primitive.impl, "func", primitive.impl)
    module = getattr(function, "__module__", None) or ""
    if module.startswith(("jax.", "jaxlib.")) and not _is_public(function):
        return _sparse_implementation(equation)
    return functools.partial(primitive.impl, **params)


def is_for_reverse_mode(equation: Equation) -> bool:
    """Whether a primitive has rules for reverse mode alone; its implementation carries them."""
    held = _held_by_hijax(equation)
    return held is not None and _has_reverse_rules(_single(held))


def _held_by_hijax(equation: Equation) -> Any:
    """Return the object that a primitive of hijax holds; None for another primitive."""
    if equation.primitive.name != "call_hi_primitive":
        return None
    (held,) = equation.params.values()  # JAX 0.10 renamed it
    return held


def _single(held: Any) -> Any:
    """Return what such an object maps over a batch, or itself."""
    while type(held).__name__ == "VmapOf":
        held = held.prim
    return held


def _has_reverse_rules(single: Any) -> bool:
    """Whether such an object has rules for reverse mode alone, of which JAX makes that of a ``jax.custom_vjp``."""
    return _is_custom_vjp(single) or (_is_own(single, "vjp_fwd") and not _is_own(single, "jvp"))


def _is_custom_vjp(single: Any) -> bool:
    return type(single).__name__ == "CustomVJPTraced"


def _hi_implementation(held: Any) -> Any:
    """Return what computes a primitive of hijax; with its rules for reverse mode, where it has only those.

    Raises
    ------
    UnsupportedError
        If the rule of its cotangents puts them into references rather than returns them, or asks which are zero.
    """

    def expand(*operands: Any) -> list[Any]:
        return jax.tree.leaves(held.expand(*jax.tree.unflatten(held.in_tree, operands)))

    single = _single(held)
    if not _has_reverse_rules(single):
        return expand
    if _is_custom_vjp(single) and single.symbolic_zeros:
        raise UnsupportedError("a jax.custom_vjp with both generic_batching and symbolic_zeros; leave one of them out")
    if _is_own(single, "vjp_bwd_retval"):
        rule = held.vjp_bwd_retval
    elif _is_custom_vjp(single):
        rule = functools.partial(_custom_vjp_cotangents, held)
    else:
        raise UnsupportedError(f"{type(single).__name__} has a rule vjp_bwd; give it a vjp_bwd_retval in its place")
    moving = [moves(kind) for kind in held.in_avals_flat]

    def forward(*operands: Any) -> tuple[list[Any], Any]:
        perturbed = jax.tree.unflatten(held.in_tree, moving)
        results, residuals, *_ = held.vjp_fwd(perturbed, *jax.tree.unflatten(held.in_tree, operands))
        return jax.tree.leaves(results), residuals

    def backward(residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        found = rule(residuals, jax.tree.unflatten(held.out_tree, cotangents))
        each = held.in_tree.flatten_up_to(found)
        return tuple(
            cotangent if is_moving and not isinstance(cotangent, ad.Zero) else None
            for cotangent, is_moving in zip(each, moving, strict=True)
        )

    ruled = jax.custom_vjp(expand)
    ruled.defvjp(forward, backward)
    return ruled


def _custom_vjp_cotangents(held: Any, residuals: Any, cotangents: Any) -> tuple[Any, ...]:
    """Return what the rule of a ``jax.custom_vjp`` gives, which JAX 0.12 makes a primitive of hijax of.

    Two operands of its own come first, and move nothing: the constants of the function, and those of its rule.
    """
    found, _ = held.bwd(residuals, cotangents)
    return *jax.tree.map(ad.Zero, held.in_avals[:2]), *found


def _is_own(held: Any, method: str) -> bool:
    """Whether the class of a primitive of hijax defines a method that its base in JAX only declares."""
    base = next(kind for kind in type(held).__mro__ if kind.__name__ in ("VJPHiPrimitive", "HiPrim"))
    return getattr(type(held), method) is not getattr(base, method)


_PUBLIC = (jnp, jnp.linalg, jax.lax, jax.nn)


def _is_public(function: Any) -> bool:
    """Whether an implementation is one of JAX's functions for everyone, which says what it computes."""
    name = getattr(function, "__name__", "")
    return any(getattr(module, name, None) is function for module in _PUBLIC)


def primitive_functions(primitive: Any) -> tuple[Any, ...]:
    """Return what a primitive of another package computes with, and its rules; None for those that it has not.

    The operations of brainevent are those of its registry, for good.
    """
    if is_brainevent(primitive):
        return ()
    tables = (ad.primitive_jvps, ad.primitive_transposes, batching.fancy_primitive_batchers)
    return primitive.impl, *(table.get(primitive) for table in tables)


def _sparse_implementation(equation: Equation) -> Any:
    """Return what says in terms of other operations what one of ``jax.experimental.sparse`` computes."""
    for name in ("api", "bcoo", "bcsr", "coo", "csr"):
        module = sys.modules.get(f"jax.experimental.sparse.{name}")
        function = getattr(module, f"_{equation.primitive.name}_impl", None)
        if function is not None:
            return functools.partial(function, **equation.params)
    return None


def is_brainevent(primitive: Any) -> bool:
    """Whether a primitive is an operation of brainevent."""
    return primitive.name in _brainevent_registry()


def _brainevent_registry() -> Mapping[str, Any]:
    module = sys.modules.get("brainevent")
    return module.get_registry() if module is not None else {}
