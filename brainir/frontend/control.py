"""Attributes of operations that run functions of the program: control flow, nested jit, remat, linear solves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from ..ir.ops import Sharding
from . import jax_compat
from .jax_scans import scan_arity
from .jaxprs import body_of
from .literals import literal
from .memory.rules import NodeByRules
from .policies import remat_policy
from .rules import Attributes, UnsupportedError, platform_names
from .rules.shardings import sharding_record
from .tracing import evaluated, make_jaxpr, without_source
from .weak_types import as_weak_as

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["RULES"]


def _call(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    unusual = jax_compat.unusual_jit_params(params)
    if unusual:
        raise UnsupportedError(f"a nested jit with {', '.join(unusual)}")
    body = _for_operands(equation, params["jaxpr"])
    return dict(
        function=lowering.shared(body, params["name"], is_kept=body is params["jaxpr"]),
        inline=jax_compat.jit_inlines(params["inline"]),
        keep_unused=bool(params["keep_unused"]),
        donated=tuple(index for index, donated in enumerate(params["donated_invars"]) if donated),
        in_shardings=_shardings(params["in_shardings"]),
        out_shardings=_shardings(params["out_shardings"]),
    )


def _shardings(given: Any) -> tuple[Sharding | None, ...]:
    """Return what a nested jit says of its operands or results; None where the compiler chooses, nothing if always."""
    found = tuple([None if jax_compat.is_unspecified(each) else sharding_record(each) for each in given])
    return found if any(found) else ()


def _plain_call(lowering: Lowering, equation: Any) -> Attributes:
    """Lower a call that adds nothing to its function, such as ``closed_call`` or one that JAX only batches apart."""
    params = equation.params
    # What is closed_call before JAX 0.12, is eval_jaxpr since.
    name = "closed_call" if equation.primitive.name == "eval_jaxpr" else equation.primitive.name
    body = _for_operands(equation, jax_compat.as_closed(body_of(params)))
    return dict(function=lowering.shared(body, str(params.get("name", name))))


def _for_operands(equation: Any, closed: Any) -> Any:
    """Return a jaxpr that takes operands as the equation gives them.

    ``jax.lax.custom_root`` (JAX 0.12) runs what was traced with strongly typed operands with weakly typed ones, and the
    gradient of a loop the other way round. Called with those, it would be traced as another function.
    """
    wanted = [variable.aval for variable in closed.jaxpr.invars]
    if jax_compat.type_texts(equation.invars) == jax_compat.type_texts(closed.jaxpr.invars):
        return closed

    def run(*operands: Any) -> list[Any]:
        given = [as_weak_as(operand, kind) for operand, kind in zip(operands, wanted, strict=True)]
        return evaluated(closed, *given)

    return make_jaxpr(run)(*(jax_compat.spec_of(atom.aval) for atom in equation.invars))


def _composite(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    given = ((name, tree.unflatten(leaves)) for name, leaves, tree in params["attributes"])
    return dict(
        function=lowering.shared(jax_compat.as_closed(body_of(params)), params["name"]),
        name=str(params["name"]),
        version=int(params["version"]),
        params=tuple([(name, _composite_attribute(name, value)) for name, value in given]),
    )


def _composite_attribute(name: str, value: Any) -> Any:
    # Numbers of numpy and types are attributes of another kind in StableHLO.
    if not all(isinstance(leaf, bool | int | float | str) for leaf in jax.tree.leaves(value)):
        raise UnsupportedError(f"its attribute {name}={value!r:.80} is no Python number, text or tuple of these")
    return literal(value, f"attribute {name}")


def _custom_vmap(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    rule = jax_compat.batching_rule(params["rule"])
    return dict(
        function=lowering.shared(params["call"], jax_compat.open_jaxpr(params["call"]).function_name),
        sequential=jax_compat.is_sequential(params["rule"]),
        rule="" if rule is None else lowering.external(rule),
    )


def _cond(lowering: Lowering, equation: Any) -> Attributes:
    branches = equation.params["branches"]
    return dict(
        branches=tuple(lowering.shared(branch, f"branch_{index}") for index, branch in enumerate(branches)),
        platforms=platform_names(equation.params.get("branches_platforms") or ()),
    )


def _scan(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    num_consts, num_carry = scan_arity(params)
    return dict(
        body=lowering.shared(params["jaxpr"], "body"),
        length=int(params["length"]),
        num_consts=num_consts,
        num_carry=num_carry,
        reverse=bool(params["reverse"]),
        unroll=int(params["unroll"]) or max(int(params["length"]), 1),  # since JAX 0.9, 0 stands for all steps
        split_transpose=bool(params.get("_split_transpose", False)),
    )


def _while(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    return dict(
        cond=lowering.shared(params["cond_jaxpr"], "cond"),
        body=lowering.shared(params["body_jaxpr"], "body"),
        cond_nconsts=int(params["cond_nconsts"]),
        body_nconsts=int(params["body_nconsts"]),
    )


def _checkpoint(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    prevent_cse = params["prevent_cse"]
    if not isinstance(prevent_cse, bool):
        raise UnsupportedError(f"jax.checkpoint with prevent_cse={prevent_cse!r}")
    closed = jax_compat.as_closed(params["jaxpr"])
    return dict(
        function=lowering.shared(closed, jax_compat.open_jaxpr(closed).function_name),
        policy=remat_policy(params["policy"]),
        prevent_cse=prevent_cse,
        differentiated=bool(params["differentiated"]),
    )


def _custom_linear_solve(lowering: Lowering, equation: Any) -> Attributes:
    jaxprs, lengths = equation.params["jaxprs"], equation.params["const_lengths"]
    parts = ("matvec", "vecmat", "solve", "transpose_solve")
    given = {part: getattr(jaxprs, part) for part in parts}
    functions = {part: lowering.shared(closed, part) for part, closed in given.items() if closed is not None}
    return dict(functions, const_lengths=tuple(int(getattr(lengths, part)) for part in parts))


def _linear_call(lowering: Lowering, equation: Any) -> Attributes:
    params = equation.params
    made_of = tuple([params[name] for name in ("transpose_thunk", "num_callee_consts", "num_res")])
    return dict(
        lowering.by_rule(equation, "linear", made_of, lambda apart: _transpose(apart, equation)),
        function=lowering.shared(params["callee"], "linear"),
        num_fixed=int(params["num_callee_consts"] + params["num_res"]),
        num_residuals=int(params["num_res"]),
    )


def _transpose(lowering: Lowering, equation: Any) -> NodeByRules:
    return NodeByRules("linear_call", {"transpose": lowering.shared(_traced_transpose(equation), "transpose")})


def _traced_transpose(equation: Any) -> Any:
    """Trace the transpose of a ``linear_call``: residuals and cotangents of the results to those of the operands."""
    params = equation.params
    transpose, consts = params["transpose_thunk"]()
    first = params["num_callee_consts"]
    residuals = equation.invars[first : first + params["num_res"]]
    kinds = [atom.aval for atom in (*residuals, *equation.outvars)]
    if not consts and transpose.in_avals == kinds:
        return jax_compat.as_closed(without_source(transpose.jaxpr), transpose.consts)

    def run(*operands: Any) -> list[Any]:
        return evaluated(transpose, *consts, *operands)

    return make_jaxpr(run)(*map(jax_compat.spec_of, kinds))


RULES = {
    "jit": ("call", _call),
    "closed_call": ("call", _plain_call),
    "core_call": ("call", _plain_call),
    "eval_jaxpr": ("call", _plain_call),
    # What optimize_remat=True leaves of a forward rule; JAX itself differentiates no further.
    "remat_opt": ("call", _plain_call),
    "composite": ("composite", _composite),
    "custom_vmap_call": ("custom_vmap", _custom_vmap),
    "cond": ("cond", _cond),
    "scan": ("scan", _scan),
    "while": ("while", _while),
    "checkpoint": ("checkpoint", _checkpoint),
    "remat2": ("checkpoint", _checkpoint),
    "custom_linear_solve": ("custom_linear_solve", _custom_linear_solve),
    "linear_call": ("linear_call", _linear_call),
}
"""Primitive name to operation and rule."""
