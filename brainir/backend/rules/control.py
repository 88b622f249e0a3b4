"""JAX calls of operations that run functions of the program."""

from __future__ import annotations

from typing import Any

from ..expressions import (
    Apply,
    CustomJvpOf,
    CustomVjpOf,
    Expression,
    FunctionOf,
    Item,
    JitOf,
    Join,
    Lambda,
    Name,
    Splat,
    SplitAt,
    Tuple,
    Variable,
)
from .registry import Types, as_keywords, as_operands, rule


def _splat(name: str) -> Splat:
    return Splat(Variable(name))


@rule("call")
def _call_function(node: Any, types: Types) -> Expression:
    jitted = JitOf(node.function, node.inline, node.keep_unused, node.donated)
    return Apply(jitted, as_operands(node.inputs))


@rule("custom_jvp")
def _custom_jvp(node: Any, types: Types) -> Expression:
    return Apply(CustomJvpOf(node.function, node.jvp), as_operands(node.inputs))


@rule("custom_vjp")
def _custom_vjp(node: Any, types: Types) -> Expression:
    return Apply(CustomVjpOf(node.function, node.fwd, node.bwd), as_operands(node.inputs))


@rule("cond")
def _cond(node: Any, types: Types) -> Expression:
    index, *operands = as_operands(node.inputs)
    return Apply(Name("lax.switch"), (index, Tuple(tuple(map(FunctionOf, node.branches))), *operands))


@rule("scan")
def _scan(node: Any, types: Types) -> Expression:
    consts = as_operands(node.inputs[: node.num_consts])
    carry = as_operands(node.inputs[node.num_consts : node.num_consts + node.num_carry])
    scanned = as_operands(node.inputs[node.num_consts + node.num_carry :])
    step = Apply(FunctionOf(node.body), (*consts, _splat("carry"), _splat("xs")))
    body = Lambda(("carry", "xs"), SplitAt(step, node.num_carry))
    keywords = {"length": node.length, "reverse": node.reverse, "unroll": node.unroll}
    return Join(Apply(Name("lax.scan"), (body, Tuple(carry), Tuple(scanned)), as_keywords(keywords)))


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
