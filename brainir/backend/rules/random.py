"""JAX calls of operations on PRNG keys."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ..expressions import (
    Expression,
)
from .registry import Types, call, rule

KEY_IMPLEMENTATIONS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}
"""Tag of a PRNG implementation to the name by which JAX knows it."""


@rule("random_seed")
def _random_seed(node: Any, types: Types) -> Expression:
    return call("jax.random.key", node, impl=KEY_IMPLEMENTATIONS[node.impl])


@rule("random_wrap")
def _random_wrap(node: Any, types: Types) -> Expression:
    return call("jax.random.wrap_key_data", node, impl=KEY_IMPLEMENTATIONS[node.impl])


@rule("random_unwrap")
def _random_unwrap(node: Node, types: Types) -> Expression:
    return call("jax.random.key_data", node)


@rule("random_fold_in")
def _random_fold_in(node: Node, types: Types) -> Expression:
    return call("primitives.random_fold_in_p.bind", node)


@rule("random_split")
def _random_split(node: Any, types: Types) -> Expression:
    return call("primitives.random_split_p.bind", node, shape=node.shape)


@rule("random_bits")
def _random_bits(node: Any, types: Types) -> Expression:
    return call("primitives.random_bits_p.bind", node, bit_width=node.bit_width, shape=node.shape)
