"""Primitives of other packages: what computes them, and tracing of that and of their derivative rules.

Like :mod:`.jax_compat`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.interpreters import ad, batching

from ..jax_compat import Equation, moves, spec_of
from ..jax_rules import avals, operand_specs, rule_specs, with_float0
from ..rules import UnsupportedError
from ..tracing import make_jaxpr

__all__ = [
    "as_weak_as",
    "implementation",
    "is_brainevent",
    "noted_results",
    "primitive_functions",
    "solve_linear",
    "trace_implementation_jvp",
    "trace_primitive",
    "trace_primitive_jvp",
    "trace_primitive_jvp_case",
]


def implementation(equation: Equation) -> Any:
    """Return a function that computes an equation, or None if that says no more than the primitive does.

    Primitives of other packages have an implementation. That of JAX's own primitives compiles and runs the primitive
    itself, but for ``call_hi_primitive``, which holds an object with functions.
    """
    primitive, params = equation.primitive, equation.params
    if primitive.name == "call_hi_primitive":
        (held,) = params.values()  # JAX 0.10 renamed it
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


def _hi_implementation(held: Any) -> Any:
    """Return what computes a primitive of hijax; with its rules for reverse mode, where it has none for forward mode.

    Raises
    ------
    UnsupportedError
        If the rule of its cotangents puts them into references rather than returns them.
    """

    def expand(*operands: Any) -> list[Any]:
        return jax.tree.leaves(held.expand(*jax.tree.unflatten(held.in_tree, operands)))

    single = held
    while type(single).__name__ == "VmapOf":
        single = single.prim
    if _is_own(single, "jvp") or not _is_own(single, "vjp_fwd"):
        return expand
    if not _is_own(single, "vjp_bwd_retval"):
        raise UnsupportedError(f"{type(single).__name__} has a rule vjp_bwd; give it a vjp_bwd_retval in its place")
    moving = [moves(kind) for kind in held.in_avals_flat]

    def forward(*operands: Any) -> tuple[list[Any], Any]:
        perturbed = jax.tree.unflatten(held.in_tree, moving)
        results, residuals, *_ = held.vjp_fwd(perturbed, *jax.tree.unflatten(held.in_tree, operands))
        return jax.tree.leaves(results), residuals

    def backward(residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        found = held.vjp_bwd_retval(residuals, jax.tree.unflatten(held.out_tree, cotangents))
        each = held.in_tree.flatten_up_to(found)
        return tuple(
            cotangent if is_moving and not isinstance(cotangent, ad.Zero) else None
            for cotangent, is_moving in zip(each, moving, strict=True)
        )

    ruled = jax.custom_vjp(expand)
    ruled.defvjp(forward, backward)
    return ruled


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
    for name in ("bcoo", "bcsr", "coo", "csr"):
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


def noted_results(value: Any) -> tuple[Any, Any] | None:
    """Return what Equinox notes in a parameter of its primitives: how results make a tree, and its static leaves.

    None for anything else. Each use of a primitive writes its note into a new object, which equals itself only, though
    its type and the other parameters say it all.
    """
    kind = type(value)
    if (kind.__module__, kind.__qualname__) != ("equinox.internal._primitive", "Flatten") or not value.called():
        return None
    structure, static = value.get()
    return structure, static


def trace_primitive(equation: Equation) -> Any:
    """Trace the implementation of a primitive that is defined outside JAX.

    Raises
    ------
    Exception
        Whatever the implementation raises when it cannot be traced.
    """
    compute = implementation(equation)

    def run(*operands: Any) -> list[Any]:
        found = compute(*operands)
        results = found if equation.primitive.multiple_results else [found]
        return [as_weak_as(result, var.aval) for result, var in zip(results, equation.outvars, strict=True)]

    return make_jaxpr(run)(*operand_specs(equation))


def as_weak_as(value: Any, kind: Any) -> Any:
    """Return a value of an element type with the weak type that a primitive says its result has, or not."""
    if jax.typeof(value).weak_type == kind.weak_type:
        return value
    return jax.lax.convert_element_type_p.bind(value, new_dtype=kind.dtype, weak_type=kind.weak_type, sharding=None)


def trace_primitive_jvp(equation: Equation) -> Any:
    """Trace the derivative rule of a primitive: operands and inexact tangents to results and inexact tangents.

    Raises
    ------
    NotImplementedError
        If the primitive has no such rule.
    """
    return _trace_jvp(equation, functools.partial(equation.primitive.bind, **equation.params))


def trace_implementation_jvp(equation: Equation) -> Any:
    """Trace the derivative of a primitive's implementation; signature as in :func:`trace_primitive_jvp`.

    Raises
    ------
    Exception
        Whatever JAX or the implementation raises when it cannot be differentiated.
    """
    return _trace_jvp(equation, implementation(equation))


def trace_primitive_jvp_case(equation: Equation, perturbed: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Trace the derivative rule of a primitive where only some operands are perturbed; as :func:`trace_jvp_case`."""
    kinds, outputs = avals(equation)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        def run(*moving: Any) -> list[Any]:
            operands = {**dict(enumerate(primals)), **dict(zip(perturbed, moving, strict=True))}
            results = equation.primitive.bind(*operands.values(), **equation.params)
            return list(results) if equation.primitive.multiple_results else [results]

        results, moved = jax.jvp(run, tuple(primals[place] for place in perturbed), tuple(tangents))
        return results, [tangent for tangent, kind in zip(moved, outputs, strict=True) if moves(kind)]

    closed = make_jaxpr(rule)([spec_of(kind) for kind in kinds], [spec_of(kinds[place]) for place in perturbed])
    return closed, tuple(place for place, kind in enumerate(outputs) if moves(kind))


def _trace_jvp(equation: Equation, function: Any) -> Any:
    kinds, outputs = avals(equation)

    def run(*operands: Any) -> list[Any]:
        results = function(*operands)
        return list(results) if equation.primitive.multiple_results else [results]

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results, moved = jax.jvp(run, tuple(primals), tuple(with_float0(tangents, kinds)))
        return results, [tangent for tangent, kind in zip(moved, outputs, strict=True) if moves(kind)]

    return make_jaxpr(rule)(*rule_specs(kinds))


def solve_linear(functions: Sequence[Any], constants: Sequence[Any], vector: Any) -> Any:
    """Solve a linear system as ``jax.lax.custom_linear_solve`` does, with a product of the transpose that is given.

    Parameters
    ----------
    functions : sequence of callable
        Products of a vector with the matrix and with its transpose, and solvers of both systems. Each takes the
        constants and a vector.
    constants : sequence of array
    vector : array
        The right-hand side.
    """
    template = _template_of_solve()
    operands = [jax.ShapeDtypeStruct(kind.shape, kind.dtype) for kind in map(jax.typeof, (*constants, vector))]
    jaxprs = type(template["jaxprs"])(*(make_jaxpr(function)(*operands) for function in functions))
    lengths = type(template["const_lengths"])(*[len(constants)] * len(functions))
    (solution,) = jax.lax.linear_solve_p.bind(
        *[*constants] * len(functions), vector, const_lengths=lengths, jaxprs=jaxprs
    )
    return solution


@functools.cache
def _template_of_solve() -> Mapping[str, Any]:
    """Return the parameters of a linear solve, which are of classes that JAX does not export."""
    with jax.disable_jit(False):
        traced = make_jaxpr(lambda x: jax.lax.custom_linear_solve(lambda y: y, x, lambda _, y: y))(np.float32(0))
    return dict(traced.jaxpr.eqns[0].params)
