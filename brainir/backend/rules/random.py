"""JAX calls of operations on PRNG keys."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ..expressions import Apply, Expression, Lambda, Name, Variable
from .registry import Types, as_keywords, as_operands, call, dtype, layout, rule

KEY_IMPLEMENTATIONS = {
    "fry": "threefry2x32",
    "fry4": "threefry4x32",
    "phx2": "philox2x32",
    "phx4": "philox4x32",
    "rbg": "rbg",
    "urbg": "unsafe_rbg",
}
"""Tag of a PRNG implementation to the name by which JAX knows it."""


@rule("random_seed")
def _random_seed(node: Any, types: Types) -> Expression:
    options = as_keywords({"impl": KEY_IMPLEMENTATIONS[node.impl]})
    shape = types(node.inputs[0]).shape
    if not shape:
        return Apply(Name("jax.random.key"), as_operands(node.inputs), options)
    function: Expression = Lambda(("seed",), Apply(Name("jax.random.key"), (Variable("seed"),), options))
    for _ in shape:
        function = Apply(Name("jax.vmap"), (function,))
    return Apply(function, as_operands(node.inputs))


@rule("random_wrap")
def _random_wrap(node: Any, types: Types) -> Expression:
    return call("jax.random.wrap_key_data", node, impl=KEY_IMPLEMENTATIONS[node.impl])


@rule("random_unwrap")
def _random_unwrap(node: Node, types: Types) -> Expression:
    return call("jax.random.key_data", node)


@rule("random_bits", "random_fold_in", "random_gamma", "random_split", "threefry2x32")
def _bound(node: Node, types: Types) -> Expression:
    # Whether bits are those under jax_threefry_partitionable, a module checks once.
    params = {name: value for name, value in node.attributes().items() if name != "partitionable"}
    return call(f"primitives.{node.op}_p.bind", node, **params)


@rule("random_clone")
def _random_clone(node: Node, types: Types) -> Expression:
    return call("jax.random.clone", node)


@rule("rng_bit_generator")
def _rng_bit_generator(node: Any, types: Types) -> Expression:
    algorithm = Name(f"lax.RandomAlgorithm.{node.algorithm}")
    return call(
        "lax.rng_bit_generator", node, shape=node.shape, dtype=dtype(node.dtype), algorithm=algorithm, **layout(node)
    )


@rule("rng_uniform")
def _rng_uniform(node: Any, types: Types) -> Expression:
    return call("lax.rng_uniform_p.bind", node, shape=node.shape)
