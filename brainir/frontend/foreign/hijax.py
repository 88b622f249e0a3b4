"""What computes a primitive of JAX's experimental hijax: an object with functions.

Like :mod:`..jax_compat`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import ad

from ..jax_compat import Equation, moves
from ..rules import UnsupportedError
from ..tracing import evaluated

__all__ = ["computation", "has_rule_apart", "held_by"]


def held_by(equation: Equation) -> Any:
    """Return the object that a primitive of hijax holds; None for another primitive."""
    if equation.primitive.name != "call_hi_primitive":
        return None
    (held,) = equation.params.values()  # JAX 0.10 renamed it
    return held


def has_rule_apart(held: Any) -> bool:
    """Whether JAX has a rule for forward mode for such an object that what computes it does not carry."""
    return type(held).__name__ not in _ESTABLISHED and not _has_reverse_rules(_single(held))


def computation(held: Any) -> Callable[..., Sequence[Any]]:
    """Return what computes the results of such an object from its operands.

    It carries the rules for reverse mode of an object that has only those. What is an operation of JAX in another form
    is that operation.

    Raises
    ------
    UnsupportedError
        If the rule of its cotangents puts them into references rather than returns them, or asks which are zero.
    """

    def expand(*operands: Any) -> list[Any]:
        return jax.tree.leaves(held.expand(*jax.tree.unflatten(held.in_tree, operands)))

    established = _ESTABLISHED.get(type(held).__name__)
    if established is not None:
        return established(held)
    return _with_reverse_rules(held, expand) if _has_reverse_rules(_single(held)) else expand


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


def _is_own(single: Any, method: str) -> bool:
    """Whether the class of such an object defines a method that its base in JAX only declares."""
    base = next(kind for kind in type(single).__mro__ if kind.__name__ in ("VJPHiPrimitive", "HiPrim"))
    return getattr(type(single), method) is not getattr(base, method)


def _with_reverse_rules(held: Any, expand: Callable[..., list[Any]]) -> Any:
    """Give what computes an object its rules for reverse mode."""
    rule, moving = _rule_of_cotangents(held), [moves(kind) for kind in held.in_avals_flat]

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


def _rule_of_cotangents(held: Any) -> Callable[[Any, Any], Any]:
    single = _single(held)
    if _is_custom_vjp(single) and single.symbolic_zeros:
        raise UnsupportedError("a jax.custom_vjp with both generic_batching and symbolic_zeros; leave one of them out")
    if _is_own(single, "vjp_bwd_retval"):
        found: Callable[[Any, Any], Any] = held.vjp_bwd_retval
        return found
    if _is_custom_vjp(single):
        return functools.partial(_custom_vjp_cotangents, held)
    raise UnsupportedError(f"{type(single).__name__} has a rule vjp_bwd; give it a vjp_bwd_retval in its place")


def _custom_vjp_cotangents(held: Any, residuals: Any, cotangents: Any) -> tuple[Any, ...]:
    """Return what the rule of a ``jax.custom_vjp`` gives, which JAX 0.12 makes a primitive of hijax of.

    Two operands of its own come first, and move nothing: the constants of the function, and those of its rule.
    """
    found, _ = held.bwd(residuals, cotangents)
    return *jax.tree.map(ad.Zero, held.in_avals[:2]), *found


def _checkpoint(held: Any) -> Callable[..., Any]:
    options = {name: held.params[name] for name in ("policy", "prevent_cse") if name in held.params}
    return jax.checkpoint(functools.partial(evaluated, held.params["jaxpr"]), **options)


def _checkpoint_name(held: Any) -> Callable[..., list[Any]]:
    return lambda operand: [checkpoint_name(operand, held.params["name"])]


_ESTABLISHED: Mapping[str, Callable[[Any], Callable[..., Any]]] = {
    "CheckpointName": _checkpoint_name,
    "RematTraced": _checkpoint,
}
"""The class of what is an operation of JAX in another form, and that operation."""
