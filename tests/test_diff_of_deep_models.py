"""Edits in every layer of a deep model and of its gradient leave the rest matched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.program import Program


def transformer(depth: int, activation: Callable[[Any], Any]) -> Program:
    """Return the gradient of a transformer with two heads, layer by layer."""

    def normalize(x: Any, gain: Any, shift: Any) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * gain + shift

    def loss(layers: Any, x: Any) -> Any:
        for layer in layers:
            y = normalize(x, layer["g"], layer["c"])
            q, k, v = ((y @ layer[name]).reshape(5, 2, 2) for name in "qkv")
            scores = jax.nn.softmax(jnp.einsum("thd,shd->hts", q, k))
            x = x + jnp.einsum("hts,shd->thd", scores, v).reshape(5, 4) @ layer["o"]
            y = normalize(x, layer["h"], layer["d"])
            x = x + activation(y @ layer["a"] + layer["e"]) @ layer["b"]
        return x.sum()

    layer = {**{name: jnp.ones((4, 4)) for name in "qkvoab"}, **{name: jnp.ones(4) for name in "gchde"}}
    return brainir.lower(jax.grad(loss), [layer] * depth, jnp.ones((5, 4)))


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.gelu])
def test_an_edit_in_every_layer_of_a_deep_model_leaves_the_rest_matched(activation: Callable[[Any], Any]) -> None:
    def changes(depth: int) -> int:
        found = brainir.diff(transformer(depth, activation), transformer(depth, jax.nn.silu))
        return len(found.changes) - len(found.of_kind("function"))

    assert changes(24) == 24 * changes(1)


def test_an_operation_with_one_result_replaced_by_one_with_several_leaves_the_rest_matched() -> None:
    def net(depth: int, activation: Callable[[Any], Any]) -> Program:
        def loss(weights: Any, x: Any) -> Any:
            for first, second in weights:
                y = (x - jnp.mean(x, -1, keepdims=True)) / jnp.max(x)
                x = x + jax.nn.softmax(activation(y @ first) @ second)
            return jnp.sum(x)

        return brainir.lower(jax.grad(loss), [(jnp.ones((3, 3)), jnp.ones((3, 3)))] * depth, jnp.ones((2, 3)))

    def changes(depth: int) -> int:
        # The gradient calls silu for what it computes and for what its derivative needs.
        found = brainir.diff(net(depth, jnp.tanh), net(depth, jax.nn.silu))
        return len(found.changes) - len(found.of_kind("function"))

    assert changes(8) == 8 * changes(1)
