"""Operations that are bound as primitives, where JAX's public function would change the program.

``lax.switch`` clamps its index, ``lax.scan`` and ``lax.while_loop`` drop constants that the body does not need and put
the others into an order of their own, and ``jax.checkpoint`` cannot say that it stands in a backward pass. Generated
source has the public functions, which compute the same. What a key gives depends on a setting of JAX.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import jax.extend.random
import numpy as np
from jax import lax
from jax import numpy as jnp

from ..ir import ops
from ..ir.node import Node
from ..jax_switches import established_primitives
from .closures import constant
from .rules.control import policy_expression

__all__ = ["bind", "is_bound"]

Values = Sequence[Any]
Trace = Callable[[str, Values], Any]
"""From the name of a function of the program, and what it is called with or the types of that, to its closed jaxpr."""


def is_bound(node: Node) -> bool:
    """Whether a node is bound as a primitive."""
    return type(node) in _BINDINGS


def bind(node: Any, operands: Values, trace: Trace) -> Values:
    """Bind the primitive of a node and return its results."""
    return _BINDINGS[type(node)](node, operands, trace)


def _cond(node: ops.Cond, operands: Values, trace: Trace) -> Values:
    index, *rest = operands
    branches = tuple(trace(branch, rest) for branch in node.branches)
    platforms = {"branches_platforms": node.platforms} if node.platforms else {}
    results: Values = lax.cond_p.bind(index, *rest, branches=branches, **platforms)
    return results


def _scan(node: ops.Scan, operands: Values, trace: Trace) -> Values:
    num_scanned = len(operands) - node.num_consts - node.num_carry
    jaxpr = trace(node.body, operands)
    params = _scan_arity(node.num_consts, node.num_carry, num_scanned, len(node.outputs) - node.num_carry)
    changes = {"jaxpr": jaxpr, "length": node.length, "reverse": node.reverse, "unroll": node.unroll}
    if "_split_transpose" in params:
        changes["_split_transpose"] = node.split_transpose
    results: Values = lax.scan_p.bind(*operands, **{**params, **changes})
    return results


@functools.cache
def _scan_arity(num_consts: int, num_carry: int, num_scanned: int, num_stacked: int) -> dict[str, Any]:
    """Return the parameters of a scan, of which some say in a form of each JAX version how many operands are what."""
    zero, one = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((2,), np.float32)

    def scanned(consts: Values, carry: Values, xs: Values) -> Any:
        def body(carry: Values, xs: Values) -> tuple[Values, Values]:
            # Carry and constants must take part, or JAX moves them elsewhere.
            total = sum([*consts, *xs], 0.0)
            return [value + total for value in carry], [total] * num_stacked

        return lax.scan(body, carry, xs, length=2)

    with established_primitives(), jax.disable_jit(False):  # under jax.disable_jit there would be no scan to see
        closed = jax.make_jaxpr(scanned)([zero] * num_consts, [zero] * num_carry, [one] * num_scanned)
    (equation,) = (equation for equation in closed.jaxpr.eqns if equation.primitive is lax.scan_p)
    return dict(equation.params)


def _while(node: ops.While, operands: Values, trace: Trace) -> Values:
    split, first = node.cond_nconsts, node.cond_nconsts + node.body_nconsts
    carry = operands[first:]
    results: Values = lax.while_p.bind(
        *operands,
        cond_nconsts=node.cond_nconsts,
        cond_jaxpr=trace(node.cond, [*operands[:split], *carry]),
        body_nconsts=node.body_nconsts,
        body_jaxpr=trace(node.body, [*operands[split:first], *carry]),
    )
    return results


def _checkpoint(node: ops.Checkpoint, operands: Values, trace: Trace) -> Values:
    closed = trace(node.function, operands)
    jaxpr = closed.jaxpr
    if jaxpr.constvars:
        jaxpr = jaxpr.replace(invars=[*jaxpr.constvars, *jaxpr.invars], constvars=[])
    results: Values = _primitive("checkpoint").bind(
        *closed.consts,
        *operands,
        jaxpr=jaxpr,
        prevent_cse=node.prevent_cse,
        differentiated=node.differentiated,
        policy=_checkpoint_policy(node.policy),
    )
    return results


@functools.cache
def _checkpoint_policy(policy: ops.RematPolicy | None) -> Any:
    """Return a policy of ``jax.checkpoint``, always the same one, because JAX tells others apart."""
    return constant(policy_expression(policy))


def _custom_linear_solve(node: ops.CustomLinearSolve, operands: Values, trace: Trace) -> Values:
    template = _template("custom_linear_solve").params["jaxprs"]
    parts = ("matvec", "vecmat", "solve", "transpose_solve")
    vector = operands[sum(node.const_lengths) :]
    jaxprs, position = {}, 0
    for part, length in zip(parts, node.const_lengths, strict=True):
        constants, position = operands[position : position + length], position + length
        name = getattr(node, part)
        jaxprs[part] = None if name is None else trace(name, [*constants, *vector])
    results: Values = lax.linear_solve_p.bind(
        *operands,
        const_lengths=type(template)(**dict(zip(parts, node.const_lengths, strict=True))),
        jaxprs=type(template)(**jaxprs),
    )
    return results


def _linear_call(node: ops.LinearCall, operands: Values, trace: Trace) -> Values:
    callee = trace(node.function, operands)
    residuals = operands[node.num_fixed - node.num_residuals : node.num_fixed]
    transpose = trace(node.transpose, [*residuals, *callee.out_avals])
    results: Values = _primitive("linear_call").bind(
        *operands,
        callee=callee,
        transpose_thunk=lambda: (transpose, []),
        num_callee_consts=node.num_fixed - node.num_residuals,
        num_res=node.num_residuals,
    )
    return results


def _platform_index(node: ops.PlatformIndex, operands: Values, trace: Trace) -> Values:
    index: Values = _primitive("platform_index").bind(platforms=node.platforms)
    return index


def _iota_2x32_shape(node: ops.Iota2x32Shape, operands: Values, trace: Trace) -> Values:
    results: Values = _words_p().bind(shape=node.shape)
    return results


def _drawn(node: ops.RandomBits | ops.RandomGamma | ops.RandomSplit, operands: Values, trace: Trace) -> Any:
    params = {name: value for name, value in node.attributes().items() if name != "partitionable"}
    primitive = getattr(jax.extend.core.primitives, f"{node.op}_p")
    if jax.config.jax_threefry_partitionable == node.partitionable:  # type: ignore[attr-defined]  # set by name
        return primitive.bind(*operands, **params)
    with jax.threefry_partitionable(node.partitionable):
        return primitive.bind(*operands, **params)


@functools.cache
def _words_p() -> Any:
    """Return the primitive that counts in two words, which only random bits use."""
    make = jax.extend.random.threefry_prng_impl.random_bits
    with jax.disable_jit(False), jax.threefry_partitionable(True):
        traced = jax.make_jaxpr(lambda key: make(key, 32, (2,)))(np.zeros(2, np.uint32))
    return next(equation.primitive for equation in traced.jaxpr.eqns if equation.primitive.name == "iota_2x32_shape")


@functools.cache
def _template(name: str) -> Any:
    """Return an equation with a primitive that JAX does not export: the first one that a small use of it traces to."""
    with established_primitives(), jax.disable_jit(False):
        uses: dict[str, Callable[[Any], Any]] = {
            "checkpoint": jax.checkpoint(lambda x: x + 1),
            "custom_linear_solve": lambda x: lax.custom_linear_solve(lambda y: y, x, lambda _, y: y),
            "linear_call": lambda x: jax.custom_derivatives.linear_call(lambda _, y: y, lambda _, y: y, (), x),
            "platform_index": lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos),
        }
        return jax.make_jaxpr(uses[name])(np.float32(0)).jaxpr.eqns[0]


def _primitive(name: str) -> Any:
    return _template(name).primitive


_BINDINGS: dict[type[Node], Callable[[Any, Values, Trace], Values]] = {
    ops.Checkpoint: _checkpoint,
    ops.Cond: _cond,
    ops.CustomLinearSolve: _custom_linear_solve,
    ops.Iota2x32Shape: _iota_2x32_shape,
    ops.LinearCall: _linear_call,
    ops.PlatformIndex: _platform_index,
    ops.RandomBits: _drawn,
    ops.RandomGamma: _drawn,
    ops.RandomSplit: _drawn,
    ops.Scan: _scan,
    ops.While: _while,
}
