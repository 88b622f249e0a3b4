"""One table: how each operation is called in JAX. The callable evaluates the entries, the source prints them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ir.node import Node
from ..ir.ops import Binary, Compare, Cumulative, Reduce, Scatter, Unary, UnaryAccuracy
from ..ir.types import TensorType, is_literal, parse_scalar
from .expressions import (
    Apply,
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
    Splat,
    SplitAt,
    Tuple,
    Variable,
)

__all__ = ["KEY_IMPLEMENTATIONS", "RULES", "expression_of"]

Types = Callable[[str], TensorType]
Rule = Callable[[Any, Types], Expression]

RULES: dict[str, Rule] = {}
"""Operation to the JAX call that it is. A rule gets the node and a function from operand to type.

The call gives one value for a node with one result, unless the node runs functions: then it gives a tuple.
"""

KEY_IMPLEMENTATIONS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}
"""Tag of a PRNG implementation to the name by which JAX knows it."""

_LAX_NAMES = {"and": "bitwise_and", "not": "bitwise_not", "or": "bitwise_or", "xor": "bitwise_xor"}
_PRIMITIVES = {
    "add_any": "primitives.add_jaxvals_p.bind",
    "copy": "lax.copy_p.bind",
    "eq_to": "lax.eq_to_p.bind",
    "le_to": "lax.le_to_p.bind",
    "lt_to": "lax.lt_to_p.bind",
}


def expression_of(node: Node, types: Types) -> Expression:
    """Return the JAX call that a node is."""
    return RULES[node.op](node, types)


def _rule(*ops: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, rule))
        return rule

    return register


def _call(dotted: str, node: Node, **keywords: Plain | Expression) -> Apply:
    """Call a JAX function with the operands of a node in order."""
    return Apply(Name(dotted), _operands(node.inputs), _keywords(keywords))


def _keywords(keywords: Mapping[str, Plain | Expression]) -> dict[str, Expression]:
    return {
        name: Literal(value) if value is None or isinstance(value, bool | int | float | str | tuple) else value
        for name, value in keywords.items()
    }


def _operands(names: tuple[str, ...]) -> tuple[Expression, ...]:
    return tuple(map(Operand, names))


def _dtype(name: str) -> Expression:
    return Apply(Name("jnp.dtype"), (Literal(name),))


def _splat(name: str) -> Splat:
    return Splat(Variable(name))


@_rule(*Unary.ops(), *Binary.ops(), *Compare.ops(), "select_n", "clamp")
def _same_name(node: Node, types: Types) -> Expression:
    return _call(_PRIMITIVES.get(node.op) or f"lax.{_LAX_NAMES.get(node.op, node.op)}", node)


@_rule(*UnaryAccuracy.ops())
def _unary_accuracy(node: Any, types: Types) -> Expression:
    if node.accuracy is None:
        return _call(f"lax.{node.op}", node)
    return _call(f"lax.{node.op}", node, accuracy=Name(f"lax.AccuracyMode.{node.accuracy}"))


@_rule("integer_pow")
def _integer_pow(node: Any, types: Types) -> Expression:
    return _call("lax.integer_pow", node, y=node.y)


@_rule("round")
def _round(node: Any, types: Types) -> Expression:
    return _call("lax.round", node, rounding_method=Apply(Name("lax.RoundingMethod"), (Literal(node.rounding_method),)))


@_rule("reduce_precision")
def _reduce_precision(node: Any, types: Types) -> Expression:
    return _call("lax.reduce_precision", node, exponent_bits=node.exponent_bits, mantissa_bits=node.mantissa_bits)


@_rule("convert_element_type")
def _convert_element_type(node: Any, types: Types) -> Expression:
    operand = types(node.inputs[0])
    # The public function gives strong types, converts numbers at once, and drops conversions that change nothing.
    changes = operand.dtype != node.new_dtype or operand.weak_type
    if not node.weak_type and changes and not is_literal(node.inputs[0]):
        return _call("lax.convert_element_type", node, new_dtype=_dtype(node.new_dtype))
    keywords = {"new_dtype": _dtype(node.new_dtype), "weak_type": node.weak_type, "sharding": None}
    value = Operand(node.inputs[0], as_array=is_literal(node.inputs[0]))
    return Apply(Name("lax.convert_element_type_p.bind"), (value,), _keywords(keywords))


@_rule("bitcast_convert_type")
def _bitcast_convert_type(node: Any, types: Types) -> Expression:
    return _call("lax.bitcast_convert_type", node, new_dtype=_dtype(node.new_dtype))


@_rule("broadcast_in_dim")
def _broadcast_in_dim(node: Any, types: Types) -> Expression:
    keywords = {"shape": node.shape, "broadcast_dimensions": node.broadcast_dimensions}
    if types(node.inputs[0]).shape != node.shape:
        return _call("lax.broadcast_in_dim", node, **keywords)
    return _call("lax.broadcast_in_dim_p.bind", node, **keywords, sharding=None)


@_rule("reshape")
def _reshape(node: Any, types: Types) -> Expression:
    if types(node.inputs[0]).shape != node.new_sizes:
        return _call("lax.reshape", node, new_sizes=node.new_sizes)
    return _call("lax.reshape_p.bind", node, new_sizes=node.new_sizes, dimensions=None, sharding=None)


@_rule("squeeze", "rev")
def _dimensions(node: Any, types: Types) -> Expression:
    return _call(f"lax.{node.op}", node, dimensions=node.dimensions)


@_rule("transpose")
def _transpose(node: Any, types: Types) -> Expression:
    if node.permutation != tuple(range(len(node.permutation))):
        return _call("lax.transpose", node, permutation=node.permutation)
    return _call("lax.transpose_p.bind", node, permutation=node.permutation)


@_rule("slice")
def _slice(node: Any, types: Types) -> Expression:
    return _call(
        "lax.slice",
        node,
        start_indices=node.start_indices,
        limit_indices=node.limit_indices,
        strides=node.strides,
    )


@_rule("split")
def _split(node: Any, types: Types) -> Expression:
    pieces = _call("lax.split", node, sizes=node.sizes, axis=node.axis)
    return Item(pieces, 0) if len(node.outputs) == 1 else pieces


@_rule("concatenate")
def _concatenate(node: Any, types: Types) -> Expression:
    if len(node.inputs) == 1:
        return _call("lax.concatenate_p.bind", node, dimension=node.dimension)
    return Apply(Name("lax.concatenate"), (Tuple(_operands(node.inputs)),), {"dimension": Literal(node.dimension)})


@_rule("stack")
def _stack(node: Any, types: Types) -> Expression:
    return Apply(Name("jnp.stack"), (Tuple(_operands(node.inputs)),), {"axis": Literal(node.axis)})


@_rule("unstack")
def _unstack(node: Any, types: Types) -> Expression:
    pieces = _call("jnp.unstack", node, axis=node.axis)
    return Item(pieces, 0) if len(node.outputs) == 1 else pieces


@_rule("tile")
def _tile(node: Any, types: Types) -> Expression:
    return _call("jnp.tile", node, reps=node.reps)


def _indexing(node: Any, numbers: str) -> dict[str, Expression]:
    fields = {name: getattr(node.dimension_numbers, name) for name in type(node.dimension_numbers).model_fields}
    return {
        "dimension_numbers": Apply(Name(numbers), (), _keywords(fields)),
        "indices_are_sorted": Literal(node.indices_are_sorted),
        "unique_indices": Literal(node.unique_indices),
        "mode": Name(f"lax.GatherScatterMode.{node.mode.upper()}"),
    }


@_rule("gather")
def _gather(node: Any, types: Types) -> Expression:
    keywords = _indexing(node, "lax.GatherDimensionNumbers")
    keywords["slice_sizes"] = Literal(node.slice_sizes)
    if node.fill_value is not None:
        value = parse_scalar(node.fill_value, types(node.inputs[0]).dtype)
        keywords["fill_value"] = Literal(value.item())
    return Apply(Name("lax.gather"), _operands(node.inputs), keywords)


@_rule(*Scatter.ops())
def _scatter(node: Any, types: Types) -> Expression:
    return Apply(Name(f"lax.{node.op}"), _operands(node.inputs), _indexing(node, "lax.ScatterDimensionNumbers"))


@_rule("pad")
def _pad(node: Any, types: Types) -> Expression:
    return _call("lax.pad", node, padding_config=node.padding_config)


@_rule("iota")
def _iota(node: Any, types: Types) -> Expression:
    keywords = {"dtype": _dtype(node.dtype), "shape": node.shape, "dimension": node.dimension}
    return Apply(Name("lax.broadcasted_iota"), (), _keywords(keywords))


@_rule("dynamic_slice")
def _dynamic_slice(node: Any, types: Types) -> Expression:
    operand, *starts = _operands(node.inputs)
    return Apply(Name("lax.dynamic_slice_p.bind"), (operand, *starts), _keywords({"slice_sizes": node.slice_sizes}))


@_rule("dynamic_update_slice")
def _dynamic_update_slice(node: Node, types: Types) -> Expression:
    return _call("lax.dynamic_update_slice_p.bind", node)


@_rule("dot_general")
def _dot_general(node: Any, types: Types) -> Expression:
    return _call(
        "lax.dot_general",
        node,
        dimension_numbers=node.dimension_numbers,
        precision=_precision(node.precision),
        preferred_element_type=None if node.preferred_element_type is None else _dtype(node.preferred_element_type),
    )


def _precision(precision: str | tuple[str, str] | None) -> Expression:
    if precision is None:
        return Literal(None)
    if isinstance(precision, str):
        return Name(f"lax.Precision.{precision}")
    return Tuple(tuple(Name(f"lax.Precision.{part}") for part in precision))


@_rule(*Reduce.ops())
def _reduce(node: Any, types: Types) -> Expression:
    return _call(f"lax.{node.op}", node, axes=node.axes)


@_rule("argmax", "argmin")
def _arg_reduce(node: Any, types: Types) -> Expression:
    (axis,) = node.axes
    return _call(f"lax.{node.op}", node, axis=axis, index_dtype=_dtype(node.index_dtype))


@_rule(*Cumulative.ops())
def _cumulative(node: Any, types: Types) -> Expression:
    return _call(f"lax.{node.op}", node, axis=node.axis, reverse=node.reverse)


@_rule("random_seed")
def _random_seed(node: Any, types: Types) -> Expression:
    return _call("jax.random.key", node, impl=KEY_IMPLEMENTATIONS[node.impl])


@_rule("random_wrap")
def _random_wrap(node: Any, types: Types) -> Expression:
    return _call("jax.random.wrap_key_data", node, impl=KEY_IMPLEMENTATIONS[node.impl])


@_rule("random_unwrap")
def _random_unwrap(node: Node, types: Types) -> Expression:
    return _call("jax.random.key_data", node)


@_rule("random_fold_in")
def _random_fold_in(node: Node, types: Types) -> Expression:
    return _call("primitives.random_fold_in_p.bind", node)


@_rule("random_split")
def _random_split(node: Any, types: Types) -> Expression:
    return _call("primitives.random_split_p.bind", node, shape=node.shape)


@_rule("random_bits")
def _random_bits(node: Any, types: Types) -> Expression:
    return _call("primitives.random_bits_p.bind", node, bit_width=node.bit_width, shape=node.shape)


@_rule("call")
def _call_function(node: Any, types: Types) -> Expression:
    jitted = JitOf(node.function, node.inline, node.keep_unused, node.donated)
    return Apply(jitted, _operands(node.inputs))


@_rule("custom_jvp")
def _custom_jvp(node: Any, types: Types) -> Expression:
    return Apply(CustomJvpOf(node.function, node.jvp), _operands(node.inputs))


@_rule("custom_vjp")
def _custom_vjp(node: Any, types: Types) -> Expression:
    return Apply(CustomVjpOf(node.function, node.fwd, node.bwd), _operands(node.inputs))


@_rule("cond")
def _cond(node: Any, types: Types) -> Expression:
    index, *operands = _operands(node.inputs)
    return Apply(Name("lax.switch"), (index, Tuple(tuple(map(FunctionOf, node.branches))), *operands))


@_rule("scan")
def _scan(node: Any, types: Types) -> Expression:
    consts = _operands(node.inputs[: node.num_consts])
    carry = _operands(node.inputs[node.num_consts : node.num_consts + node.num_carry])
    scanned = _operands(node.inputs[node.num_consts + node.num_carry :])
    step = Apply(FunctionOf(node.body), (*consts, _splat("carry"), _splat("xs")))
    body = Lambda(("carry", "xs"), SplitAt(step, node.num_carry))
    keywords = {"length": node.length, "reverse": node.reverse, "unroll": node.unroll}
    return Join(Apply(Name("lax.scan"), (body, Tuple(carry), Tuple(scanned)), _keywords(keywords)))


@_rule("while")
def _while(node: Any, types: Types) -> Expression:
    split = node.cond_nconsts + node.body_nconsts
    cond_consts = _operands(node.inputs[: node.cond_nconsts])
    body_consts = _operands(node.inputs[node.cond_nconsts : split])
    proceed = Item(Apply(FunctionOf(node.cond), (*cond_consts, _splat("carry"))), 0)
    advance = Apply(FunctionOf(node.body), (*body_consts, _splat("carry")))
    return Apply(
        Name("lax.while_loop"),
        (Lambda(("carry",), proceed), Lambda(("carry",), advance), Tuple(_operands(node.inputs[split:]))),
    )
