"""Type rules of typed PRNG keys and the bits drawn from them."""

from __future__ import annotations

from .. import ops
from ..errors import BrainIRError
from ..types import TensorType
from .checks import check_count, check_kind, check_sizes, common_shape, list_types, same_dtype
from .element_types import FLOAT, INTEGER
from .registry import Callees, TypeRuleError, Types, rule


def _words(impl: str) -> int:
    try:
        return TensorType(f"key<{impl}>", ()).storage[1][0]
    except BrainIRError as error:
        raise TypeRuleError(str(error)) from None


def _key(operands: Types) -> TensorType:
    if not operands or not operands[0].is_key:
        raise TypeRuleError(f"the first operand must be typed keys, not {operands[0] if operands else 'missing'}")
    return operands[0]


@rule(ops.RandomSeed)
def _random_seed(node: ops.RandomSeed, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, INTEGER)
    _words(node.impl)
    return (TensorType(f"key<{node.impl}>", operands[0].shape),)


@rule(ops.RandomWrap)
def _random_wrap(node: ops.RandomWrap, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    words = _words(node.impl)
    if kind.dtype != "uint32" or kind.shape[-1:] != (words,):
        raise TypeRuleError(f"the words of {node.impl} keys are uint32 with {words} on the last axis, not {kind}")
    return (TensorType(f"key<{node.impl}>", kind.shape[:-1]),)


@rule(ops.RandomKeys)
def _random_keys(node: ops.RandomKeys, operands: Types, _: Callees) -> Types:
    if node.op == "random_clone":
        check_count(operands, 1)
        return operands  # of anything, as lax has it: old keys are numbers
    keys = _key(operands)
    if node.op == "random_unwrap":
        check_count(operands, 1)
        return (TensorType("uint32", (*keys.shape, _words(keys.key_tag))),)
    check_count(operands, 2)
    data = operands[1]
    check_kind(data.dtype, INTEGER, "the data")
    if not keys.shape or not data.shape:
        return (TensorType(keys.dtype, keys.shape or data.shape),)
    # Not an elementwise operation, so axes of length one repeat, as in lax.
    pairs = list(zip(keys.shape, data.shape, strict=False))
    if keys.ndim != data.ndim or any(a != b and 1 not in (a, b) for a, b in pairs):
        raise TypeRuleError(f"the shapes of the keys {keys} and the data {data} do not fit")
    return (TensorType(keys.dtype, tuple([b if a == 1 else a for a, b in pairs])),)


@rule(ops.RandomSplit)
def _random_split(node: ops.RandomSplit, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    keys = _key(operands)
    return (TensorType(keys.dtype, (*keys.shape, *check_sizes(node.shape, "shape"))),)


@rule(ops.RandomBits)
def _random_bits(node: ops.RandomBits, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    keys = _key(operands)
    if node.bit_width not in (8, 16, 32, 64):
        raise TypeRuleError(f"bit_width is 8, 16, 32 or 64, not {node.bit_width}")
    return (TensorType(f"uint{node.bit_width}", (*keys.shape, *check_sizes(node.shape, "shape"))),)


@rule(ops.RandomGamma)
def _random_gamma(_node: ops.RandomGamma, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    keys, alpha = _key(operands), operands[1]
    check_kind(alpha.dtype, FLOAT, "the shape parameter")
    if keys.shape != alpha.shape[: keys.ndim]:
        raise TypeRuleError(f"there must be a key for each shape parameter: {list_types(operands)}")
    return (alpha,)


@rule(ops.Threefry2x32)
def _threefry2x32(_node: ops.Threefry2x32, operands: Types, _: Callees) -> Types:
    check_count(operands, 4)
    if same_dtype(operands) != "uint32":
        raise TypeRuleError(f"key and counter are uint32, not {list_types(operands)}")
    return (TensorType("uint32", common_shape(operands)),) * 2


@rule(ops.RngBitGenerator)
def _rng_bit_generator(node: ops.RngBitGenerator, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, INTEGER, "the state of the generator")
    check_kind(node.dtype, INTEGER, "the bits")
    return (operands[0], TensorType(node.dtype, check_sizes(node.shape, "shape")))


@rule(ops.RngUniform)
def _rng_uniform(node: ops.RngUniform, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    if operands[0].shape or operands[1].shape:
        raise TypeRuleError(f"the bounds must be scalars, not {list_types(operands)}")
    return (TensorType(same_dtype(operands), check_sizes(node.shape, "shape")),)
