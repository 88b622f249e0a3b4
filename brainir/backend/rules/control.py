"""JAX calls of operations that run functions of the program."""

from __future__ import annotations

from typing import Any

from ...ir.ops import RematPolicy, Unvmap
from ...ir.types import is_literal
from ..expressions import (
    Apply,
    BatchingRuleOf,
    CustomJvpOf,
    CustomVjpOf,
    Expression,
    FunctionOf,
    Item,
    JitOf,
    Join,
    Lambda,
    Literal,
    Name,
    Operand,
    Plain,
    ShardingOf,
    Splat,
    SplitAt,
    Tuple,
    Variable,
)
from .registry import Types, as_keywords, as_operands, call, first_of, member, rule


def _splat(name: str) -> Splat:
    return Splat(Variable(name))


@rule("call")
def _call_function(node: Any, types: Types) -> Expression:
    if not (node.in_shardings or node.out_shardings):
        jitted = JitOf(node.function, node.inline, node.keep_unused, node.donated)
        return Apply(jitted, as_operands(node.inputs))
    plain = {"inline": node.inline, "keep_unused": node.keep_unused, "donate_argnums": node.donated}
    keywords = as_keywords({name: value for name, value in plain.items() if value})
    for name, given in (("in_shardings", node.in_shardings), ("out_shardings", node.out_shardings)):
        if given:
            placed = (Literal(None) if sharding is None else ShardingOf(sharding) for sharding in given)
            keywords[name] = Tuple(tuple(placed))
    return Apply(Apply(Name("jax.jit"), (FunctionOf(node.function),), keywords), as_operands(node.inputs))


@rule("composite")
def _composite(node: Any, types: Types) -> Expression:
    made = (FunctionOf(node.function), Literal(node.name), Literal(node.version))
    composite = Apply(Name("prelude.composite"), made)
    return Apply(composite, as_operands(node.inputs), as_keywords(dict(node.params)))


@rule("custom_vmap")
def _custom_vmap(node: Any, types: Types) -> Expression:
    function = FunctionOf(node.function)
    if node.sequential:
        made = Apply(Name("jax.custom_batching.sequential_vmap"), (function,))
    else:
        made = Apply(Name("prelude.with_batching"), (function, BatchingRuleOf(node.rule)))
    return Apply(made, as_operands(node.inputs))


@rule(*Unvmap.ops())
def _unvmap(node: Any, types: Types) -> Expression:
    return Apply(Name(f"prelude.{node.op}"), as_operands(node.inputs))


@rule("custom_jvp")
def _custom_jvp(node: Any, types: Types) -> Expression:
    if not node.cases:
        return Apply(CustomJvpOf(node.function, node.jvp), as_operands(node.inputs))
    if node.covering:
        (case,), (rule,) = node.cases, node.jvps
        places = tuple(map(Literal, (node.closed_over, case.perturbed, case.moved)))
        covering = Apply(Name("prelude.covering_jvp"), (FunctionOf(node.function), *places, FunctionOf(rule)))
        return Apply(covering, as_operands(node.inputs))
    cases = (
        Tuple((Literal(case.perturbed), Literal(case.moved), FunctionOf(rule)))
        for case, rule in zip(node.cases, node.jvps, strict=True)
    )
    made = (FunctionOf(node.function), Literal(node.closed_over), Tuple(tuple(cases)))
    return Apply(Apply(Name("prelude.custom_jvp"), made), as_operands(node.inputs))


@rule("custom_vjp")
def _custom_vjp(node: Any, types: Types) -> Expression:
    if not node.cases:
        return Apply(CustomVjpOf(node.function, node.fwd, node.bwd), as_operands(node.inputs))
    if node.covering:
        (only,), (fwd,), (bwd,) = node.cases, node.fwds, node.bwds
        places = Tuple(tuple(map(Literal, (only.perturbed, only.asked, only.returned))))
        rules = FunctionOf(fwd), FunctionOf(bwd)
        first = FunctionOf(node.function), Literal(node.closed_over)
        return Apply(Apply(Name("prelude.covering_vjp"), (*first, places, *rules)), as_operands(node.inputs))
    forward: dict[tuple[int, ...], str] = {}
    backward: dict[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...], str]]] = {}
    for case, fwd, bwd in zip(node.cases, node.fwds, node.bwds, strict=True):
        forward[case.perturbed] = fwd
        backward.setdefault(case.perturbed, []).append((case.asked, case.returned, bwd))
    alike: dict[Any, list[tuple[int, ...]]] = {}
    for perturbed, fwd in forward.items():
        alike.setdefault((fwd, tuple(backward[perturbed])), []).append(perturbed)
    kinds = (
        Tuple((
            Literal(tuple(perturbed)),
            FunctionOf(fwd),
            Tuple(tuple(Tuple((Literal(asked), Literal(returned), FunctionOf(bwd))) for asked, returned, bwd in rules)),
        ))
        for (fwd, rules), perturbed in alike.items()
    )  # fmt: skip
    made = (FunctionOf(node.function), Literal(node.closed_over), Tuple(tuple(kinds)))
    return Apply(Apply(Name("prelude.custom_vjp"), made), as_operands(node.inputs))


@rule("no_derivative")
def _no_derivative(node: Any, types: Types) -> Expression:
    return Apply(CustomJvpOf(node.function, missing=node.reason), as_operands(node.inputs))


@rule("cond")
def _cond(node: Any, types: Types) -> Expression:
    index, *operands = as_operands(node.inputs)
    if node.platforms:
        wanted = zip(node.platforms, node.branches, strict=True)
        own = {name: FunctionOf(branch) for names, branch in wanted for name in names or ("default",)}
        return Apply(Name("lax.platform_dependent"), tuple(operands), as_keywords(own))
    return Apply(Name("prelude.switch"), (index, Tuple(tuple(map(FunctionOf, node.branches))), *operands))


@rule("scan")
def _scan(node: Any, types: Types) -> Expression:
    names = node.inputs[: node.num_consts]
    carry = as_operands(node.inputs[node.num_consts : node.num_consts + node.num_carry])
    scanned = as_operands(node.inputs[node.num_consts + node.num_carry :])
    keywords = as_keywords({"length": node.length, "reverse": node.reverse, "unroll": node.unroll})
    if len({*names}) < len(names):
        # For lax.scan, which finds out what its body needs, they would be one constant.
        step = Apply(FunctionOf(node.body), (_splat("consts"), _splat("carry"), _splat("xs")))
        body = Lambda(("consts", "carry", "xs"), SplitAt(step, node.num_carry))
        consts = Tuple(tuple(_apart(names, index, types) for index in range(len(names))))
        return Join(Apply(Name("prelude.scan"), (body, consts, Tuple(carry), Tuple(scanned)), keywords))
    step = Apply(FunctionOf(node.body), (*as_operands(names), _splat("carry"), _splat("xs")))
    body = Lambda(("carry", "xs"), SplitAt(step, node.num_carry))
    return Join(Apply(Name("lax.scan"), (body, Tuple(carry), Tuple(scanned)), keywords))


def _apart(names: tuple[str, ...], index: int, types: Types) -> Expression:
    """Return a constant; where it is one that stands before, a copy, so that its gradient is one of its own."""
    operand = Operand(names[index])
    is_repeated = names[index] in names[:index] and not is_literal(names[index]) and types(names[index]).is_inexact
    return Apply(Name("jnp.copy"), (operand,)) if is_repeated else operand


@rule("while")
def _while(node: Any, types: Types) -> Expression:
    split = node.cond_nconsts + node.body_nconsts
    cond_consts = as_operands(node.inputs[: node.cond_nconsts])
    body_consts = as_operands(node.inputs[node.cond_nconsts : split])
    proceed = Item(Apply(FunctionOf(node.cond), (*cond_consts, _splat("carry"))), 0)
    advance = Apply(FunctionOf(node.body), (*body_consts, _splat("carry")))
    return Apply(
        Name("lax.while_loop"),
        (Lambda(("carry",), proceed), Lambda(("carry",), advance), Tuple(as_operands(node.inputs[split:]))),
    )


@rule("checkpoint")
def _checkpoint(node: Any, types: Types) -> Expression:
    keywords = {"policy": policy_expression(node.policy), "prevent_cse": node.prevent_cse}
    wrapped = Apply(Name("jax.checkpoint"), (FunctionOf(node.function),), as_keywords(keywords))
    if not (node.differentiated and node.prevent_cse and node.inputs):
        return Apply(wrapped, as_operands(node.inputs))
    # In a backward pass JAX keeps the compiler from taking what is computed again from the forward pass.
    operands = tuple(Operand(name, as_array=is_literal(name)) for name in node.inputs)
    return Apply(wrapped, (Splat(Apply(Name("lax.optimization_barrier"), (Tuple(operands),))),))


def policy_expression(policy: RematPolicy | None) -> Expression:
    """Return a policy of ``jax.checkpoint``."""
    if policy is None:
        return Literal(None)
    made = member("jax.checkpoint_policies", policy.name)
    match policy.name:
        case "save_only_these_names" | "save_any_names_but_these" | "save_anything_except_these_names":
            return Apply(made, tuple(map(Literal, policy.names)))
        case "save_from_both_policies":
            return Apply(made, tuple(map(policy_expression, policy.policies)))
        case "save_and_offload_only_these_names":
            keywords: dict[str, Plain | Expression] = {
                "names_which_can_be_saved": policy.names,
                "names_which_can_be_offloaded": policy.offloaded,
                "offload_src": policy.source,
                "offload_dst": policy.destination,
            }
            return Apply(made, (), as_keywords(keywords))
        case "offload_dot_with_no_batch_dims":
            return Apply(made, (Literal(policy.source), Literal(policy.destination)))
    return made


@rule("name")
def _name(node: Any, types: Types) -> Expression:
    return call("ad_checkpoint.checkpoint_name", node, name=node.name)


@rule("optimization_barrier")
def _optimization_barrier(node: Any, types: Types) -> Expression:
    return first_of(node, Apply(Name("lax.optimization_barrier"), (Tuple(as_operands(node.inputs)),)))


@rule("custom_linear_solve")
def _custom_linear_solve(node: Any, types: Types) -> Expression:
    matvec, vecmat, solve, transpose = node.const_lengths
    operands = as_operands(node.inputs)
    first, second = matvec + vecmat, matvec + vecmat + solve
    multiply = Apply(FunctionOf(node.matvec), (*operands[:matvec], _splat("x")))
    vector = operands[second + transpose :]
    has_aux = len(node.outputs) > len(vector)

    def solver(function: str, consts: tuple[Expression, ...]) -> Lambda:
        solution = Apply(FunctionOf(function), (*consts, _splat("b")))
        return Lambda(("mv", "b"), SplitAt(solution, len(vector)) if has_aux else solution)

    keywords: dict[str, Expression] = {}
    if node.transpose_solve is not None:
        keywords["transpose_solve"] = solver(node.transpose_solve, operands[second : second + transpose])
    if node.vecmat == node.matvec:
        keywords["symmetric"] = Literal(True)
    if has_aux:
        keywords["has_aux"] = Literal(True)
    arguments = (Lambda(("x",), multiply), Tuple(vector), solver(node.solve, operands[first:second]))
    solution = Apply(Name("lax.custom_linear_solve"), arguments, keywords)
    return Join(solution) if has_aux else solution


@rule("linear_call")
def _linear_call(node: Any, types: Types) -> Expression:
    operands = as_operands(node.inputs)
    fixed = operands[: node.num_fixed - node.num_residuals]
    residuals = Tuple(operands[node.num_fixed - node.num_residuals : node.num_fixed])
    run = Lambda(("r", "x"), Apply(FunctionOf(node.function), (*fixed, _splat("r"), _splat("x"))))
    transpose = Lambda(("r", "ct"), Apply(FunctionOf(node.transpose), (_splat("r"), _splat("ct"))))
    arguments = (run, transpose, residuals, Tuple(operands[node.num_fixed :]))
    return Apply(Name("jax.custom_derivatives.linear_call"), arguments)
