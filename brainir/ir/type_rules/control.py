"""Type rules of operations that run functions of the program."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..program import Function
from ..types import TensorType
from .checks import check_axes, check_count, check_kind, check_platforms, list_types
from .element_types import ORDERED, PLAIN
from .meshes import count_pieces
from .registry import Callees, TypeRuleError, Types, rule


def _inputs(function: Function) -> Types:
    return function.signature[0]


def _outputs(function: Function) -> Types:
    return function.signature[1]


def match_types(found: Types, wanted: Types, what: str) -> None:
    """Check that types are as they must be; `what` they are stands in the error."""
    if found is wanted or found == wanted:
        return
    if len(found) != len(wanted):
        raise TypeRuleError(f"{what} must be {len(wanted)} values, not {len(found)}")
    position = next(index for index, kind in enumerate(wanted) if found[index] != kind)
    raise TypeRuleError(f"{what}: number {position} must be {wanted[position]}, not {found[position]}")


def _match_cotangents(found: Types, operands: Types, what: str) -> None:
    """Check the shapes of cotangents; JAX takes them in any element type, such as the one that a rule computes in."""
    if len(found) == len(operands):
        operands = tuple([TensorType(own.dtype, kind.shape) for own, kind in zip(found, operands, strict=True)])
    match_types(found, operands, what)


def _inexact(kinds: Types) -> Types:
    return tuple([kind for kind in kinds if kind.is_inexact])


def _results_of(function: Function, operands: Types) -> Types:
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    return _outputs(function)


@rule(ops.Call)
def _call(node: ops.Call, operands: Types, callees: Callees) -> Types:
    results = _results_of(callees[node.function], operands)
    if node.donated:
        check_axes(node.donated, len(operands), "donated")
    _check_shardings(node.in_shardings, operands, "in_shardings")
    _check_shardings(node.out_shardings, results, "out_shardings")
    return results


def _check_shardings(given: tuple[ops.Sharding | None, ...], kinds: Types, what: str) -> None:
    if given and len(given) != len(kinds):
        raise TypeRuleError(f"{what} must be {len(kinds)}, not {len(given)}")
    for kind, sharding in zip(kinds, given, strict=False):
        if sharding is not None:
            count_pieces(kind.shape, sharding.spec, sharding.mesh)


@rule(ops.Composite, ops.CustomVmap, ops.UseMesh)
def _plain_call(node: Any, operands: Types, callees: Callees) -> Types:
    return _results_of(callees[node.function], operands)


@rule(ops.CustomJvp)
def _custom_jvp(node: ops.CustomJvp, operands: Types, callees: Callees) -> Types:
    function, jvp = callees[node.function], callees[node.jvp]
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    results = _outputs(function)
    match_types(_inputs(jvp), (*operands, *_inexact(operands)), f"the inputs of {jvp.name} (operands, then tangents)")
    match_types(_outputs(jvp), (*results, *_inexact(results)), f"the outputs of {jvp.name} (results, then tangents)")
    seen = _seen_by_rules(node, operands, len(node.jvps))
    for case, jvp_case in zip(node.cases, map(callees.__getitem__, node.jvps), strict=True):
        match_types(
            _inputs(jvp_case),
            (*seen, *_inexact_at(case.perturbed, seen, "perturbed")),
            f"the inputs of {jvp_case.name} (operands, then tangents of the perturbed)",
        )
        match_types(
            _outputs(jvp_case),
            (*results, *_inexact_at(case.moved, results, "moved")),
            f"the outputs of {jvp_case.name} (results, then tangents of those that move)",
        )
    return results


@rule(ops.NoDerivative)
def _no_derivative(node: ops.NoDerivative, operands: Types, callees: Callees) -> Types:
    function = callees[node.function]
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    return _outputs(function)


def _seen_by_rules(node: ops.CustomJvp | ops.CustomVjp, operands: Types, count: int) -> Types:
    """Return the types of the operands that the rules of cases see."""
    if not 0 <= node.closed_over <= len(operands):
        raise TypeRuleError(f"closed_over {node.closed_over} must not exceed {len(operands)} operands")
    if node.closed_over and not node.cases:
        raise TypeRuleError(f"closed_over is for rules of cases; without cases it must be 0, not {node.closed_over}")
    if len(node.cases) != count:
        raise TypeRuleError(f"there must be a rule for each case, not {count} for {len(node.cases)}")
    if node.covering and count != 1:
        raise TypeRuleError(f"there must be one case that covers the others, not {count}")
    keys = [(case.perturbed, getattr(case, "asked", ())) for case in node.cases]
    if len(set(keys)) != len(keys):
        raise TypeRuleError("two cases have the same zeros")
    return operands[node.closed_over :]


def _inexact_at(positions: tuple[int, ...], kinds: Types, name: str) -> Types:
    check_axes(positions, len(kinds), name)
    chosen = tuple([kinds[position] for position in positions])
    if list(positions) != sorted(positions) or _inexact(chosen) != chosen:
        raise TypeRuleError(f"{name} {positions} must be inexact values in order")
    return chosen


@rule(ops.CustomVjp)
def _custom_vjp(node: ops.CustomVjp, operands: Types, callees: Callees) -> Types:
    function, fwd, bwd = callees[node.function], callees[node.fwd], callees[node.bwd]
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    results, forward = _outputs(function), _outputs(fwd)
    match_types(_inputs(fwd), operands, f"the inputs of {fwd.name} (operands)")
    match_types(forward[: len(results)], results, f"the first outputs of {fwd.name} (results, then residuals)")
    residuals = forward[len(results) :]
    match_types(
        _inputs(bwd),
        (*residuals, *_inexact(results)),
        f"the inputs of {bwd.name} (residuals, then cotangents)",
    )
    _match_cotangents(_outputs(bwd), _inexact(operands), f"the outputs of {bwd.name} (cotangents of the operands)")
    if len(node.fwds) != len(node.bwds):
        raise TypeRuleError(f"there must be as many fwds as bwds, not {len(node.fwds)} and {len(node.bwds)}")
    seen = _seen_by_rules(node, operands, len(node.fwds))
    for case, fwd, bwd in zip(
        node.cases, *(map(callees.__getitem__, names) for names in (node.fwds, node.bwds)), strict=True
    ):
        _inexact_at(case.perturbed, seen, "perturbed")
        match_types(_inputs(fwd), seen, f"the inputs of {fwd.name} (operands)")
        match_types(
            _outputs(fwd)[: len(results)], results, f"the first outputs of {fwd.name} (results, then residuals)"
        )
        match_types(
            _inputs(bwd),
            (*_outputs(fwd)[len(results) :], *_inexact_at(case.asked, results, "asked")),
            f"the inputs of {bwd.name} (residuals, then cotangents that are asked)",
        )
        _match_cotangents(
            _outputs(bwd),
            _inexact_at(case.returned, seen, "returned"),
            f"the outputs of {bwd.name} (cotangents that are returned)",
        )
    return results


@rule(ops.Cond)
def _cond(node: ops.Cond, operands: Types, callees: Callees) -> Types:
    if not node.branches or not operands:
        raise TypeRuleError("it takes an index operand and at least one branch")
    if operands[0] != TensorType("int32", ()):
        raise TypeRuleError(f"the index must be i32[], not {operands[0]}")
    if node.platforms:
        check_platforms(node.platforms)
        if len(node.platforms) != len(node.branches):
            raise TypeRuleError(f"there are {len(node.platforms)} platforms for {len(node.branches)} branches")
    first = callees[node.branches[0]]
    match_types(operands[1:], _inputs(first), f"the operands after the index (inputs of {first.name})")
    for name in node.branches:
        match_types(_inputs(callees[name]), _inputs(first), f"the inputs of {name} (like those of {first.name})")
        match_types(_outputs(callees[name]), _outputs(first), f"the outputs of {name} (like those of {first.name})")
    return _outputs(first)


@rule(ops.Scan)
def _scan(node: ops.Scan, operands: Types, callees: Callees) -> Types:
    body, first = callees[node.body], node.num_consts + node.num_carry
    if node.num_consts < 0 or node.num_carry < 0 or first > len(operands):
        raise TypeRuleError(
            f"{node.num_consts} constants and {node.num_carry} carried values exceed {len(operands)} operands"
        )
    if node.length < 0 or node.unroll < 1:
        raise TypeRuleError(f"length must be at least 0 and unroll at least 1, not {node.length} and {node.unroll}")
    carry, scanned = operands[node.num_consts : first], operands[first:]
    for kind in scanned:
        if kind.shape[:1] != (node.length,):
            raise TypeRuleError(f"the first axis of the scanned operand {kind} must have length {node.length}")
    items = tuple([TensorType(kind.dtype, kind.shape[1:]) for kind in scanned])
    match_types(_inputs(body), (*operands[:first], *items), f"the inputs of {body.name} (constants, carry, slices)")
    outputs = _outputs(body)
    match_types(outputs[: node.num_carry], carry, f"the first outputs of {body.name} (carry)")
    stacked = tuple([TensorType(kind.dtype, (node.length, *kind.shape)) for kind in outputs[node.num_carry :]])
    return (*carry, *stacked)


@rule(ops.While)
def _while(node: ops.While, operands: Types, callees: Callees) -> Types:
    cond, body, first = callees[node.cond], callees[node.body], node.cond_nconsts + node.body_nconsts
    if node.cond_nconsts < 0 or node.body_nconsts < 0 or first > len(operands):
        raise TypeRuleError(f"{node.cond_nconsts} and {node.body_nconsts} constants exceed {len(operands)} operands")
    carry = operands[first:]
    constants = operands[: node.cond_nconsts], operands[node.cond_nconsts : first]
    match_types(_inputs(cond), (*constants[0], *carry), f"the inputs of {cond.name} (constants, carry)")
    match_types(_inputs(body), (*constants[1], *carry), f"the inputs of {body.name} (constants, carry)")
    match_types(_outputs(body), carry, f"the outputs of {body.name} (carry)")
    _predicate(cond, carry)
    return carry


def _predicate(cond: Function, carry: Types) -> None:
    found = _outputs(cond)
    if len(found) != 1 or found[0].dtype != "bool":
        raise TypeRuleError(f"{cond.name} must return one bool[], not {list_types(found)}")
    # jax.vmap makes loops whose predicate has the batch axes, which then lead every carried value.
    shape = found[0].shape
    if shape and any(kind.shape[: len(shape)] != shape for kind in carry):
        raise TypeRuleError(f"the axes of {cond.name}'s batched predicate {found[0]} must lead every carried value")


_TAKEN_BY_POLICIES = {
    "everything_saveable": (),
    "nothing_saveable": (),
    "dots_saveable": (),
    "dots_with_no_batch_dims_saveable": (),
    "save_only_these_names": ("names",),
    "save_any_names_but_these": ("names",),
    "save_anything_except_these_names": ("names",),
    "save_from_both_policies": ("policies",),
    "save_and_offload_only_these_names": ("names", "offloaded", "source", "destination"),
    "offload_dot_with_no_batch_dims": ("source", "destination"),
}


def _check_policy(policy: ops.RematPolicy) -> None:
    if policy.name not in _TAKEN_BY_POLICIES:
        raise TypeRuleError(f"{policy.name!r} is not a policy; there are {', '.join(_TAKEN_BY_POLICIES)}")
    for field in ("names", "offloaded", "source", "destination", "policies"):
        if getattr(policy, field) and field not in _TAKEN_BY_POLICIES[policy.name]:
            raise TypeRuleError(f"the policy {policy.name} takes no {field}")
    for names in (policy.names, policy.offloaded):
        if list(names) != sorted(set(names)):
            raise TypeRuleError(f"the names of a policy are sorted, each there once, not {names}")
    if policy.name == "save_from_both_policies" and len(policy.policies) != 2:
        raise TypeRuleError(f"save_from_both_policies combines two policies, not {len(policy.policies)}")
    for part in policy.policies:
        _check_policy(part)


@rule(ops.Checkpoint)
def _checkpoint(node: ops.Checkpoint, operands: Types, callees: Callees) -> Types:
    if node.policy is not None:
        _check_policy(node.policy)
    function = callees[node.function]
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    return _outputs(function)


@rule(ops.CheckpointName)
def _name(node: ops.CheckpointName, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    return operands


@rule(ops.Unvmap)
def _unvmap(node: ops.Unvmap, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    (operand,) = operands
    if node.op == "is_vmapped":
        return (TensorType(dtype="bool", shape=()),)
    check_kind(operand.dtype, ORDERED if node.op == "unvmap_max" else PLAIN)
    return (TensorType(dtype=operand.dtype if node.op == "unvmap_max" else "bool", shape=()),)


@rule(ops.OptimizationBarrier)
def _optimization_barrier(node: ops.OptimizationBarrier, operands: Types, callees: Callees) -> Types:
    return operands


@rule(ops.CustomLinearSolve)
def _custom_linear_solve(node: ops.CustomLinearSolve, operands: Types, callees: Callees) -> Types:
    lengths = node.const_lengths
    if min(lengths) < 0 or sum(lengths) > len(operands):
        raise TypeRuleError(f"const_lengths {lengths} must not be negative, nor exceed {len(operands)} operands")
    vector = operands[sum(lengths) :]
    position = 0
    for name, length in zip((node.matvec, node.vecmat, node.solve, node.transpose_solve), lengths, strict=True):
        constants, position = operands[position : position + length], position + length
        if name is not None:
            function = callees[name]
            match_types(_inputs(function), (*constants, *vector), f"the inputs of {name} (constants, vector)")
            match_types(_outputs(function)[: len(vector)], vector, f"the first outputs of {name} (vector)")
        elif length:
            raise TypeRuleError(f"const_lengths {lengths} counts constants of a function that is missing")
    return _outputs(callees[node.solve])


@rule(ops.LinearCall)
def _linear_call(node: ops.LinearCall, operands: Types, callees: Callees) -> Types:
    function, transpose = callees[node.function], callees[node.transpose]
    if not 0 <= node.num_residuals <= node.num_fixed <= len(operands):
        raise TypeRuleError(f"{node.num_residuals} of {node.num_fixed} fixed operands exceed {len(operands)} operands")
    match_types(operands, _inputs(function), f"the operands (inputs of {function.name})")
    residuals = operands[node.num_fixed - node.num_residuals : node.num_fixed]
    results = _outputs(function)
    match_types(_inputs(transpose), (*residuals, *results), f"the inputs of {transpose.name} (residuals, cotangents)")
    match_types(_outputs(transpose), operands[node.num_fixed :], f"the outputs of {transpose.name} (cotangents)")
    return results
