"""Large programs and large constants lower, are saved and loaded, and run."""

import tracemalloc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import brainir
from tests.compare import assert_same_bits

EQUATIONS, LAYERS, WIDTH, LENGTH = 20_000, 12, 4, 3


def chain(x: Any, w: Any) -> Any:
    for _ in range(EQUATIONS // 4):
        x = jnp.tanh(x) * w + 0.5 * x
    return x


def attention(weights: Any, x: Any) -> Any:
    q, k, v = jnp.split(x @ weights["qkv"], 3, axis=-1)
    scores = jnp.where(jnp.tri(len(x), dtype=bool), q @ k.T, -1e9)
    return jax.nn.softmax(scores) @ v @ weights["out"]


def loss(params: Any, x: Any, target: Any) -> Any:
    for block in params:
        x = x + attention(block, x / (1e-3 + jnp.std(x, axis=-1, keepdims=True)))
        x = x + jax.nn.gelu(x @ block["up"]) @ block["down"]
    return ((x - target) ** 2).mean()


def train_step(params: Any, momentum: Any, x: Any, target: Any) -> Any:
    """Take one step of gradient descent with momentum."""
    value, gradients = jax.value_and_grad(loss)(params, x, target)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradients)
    return jax.tree.map(lambda p, m: p - 0.1 * m, params, momentum), momentum, value


def transformer() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 2 * WIDTH), "down": (2 * WIDTH, WIDTH)}
    params = [
        {name: jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
        for _ in range(LAYERS)
    ]
    x, target = (jnp.asarray(rng.normal(size=(LENGTH, WIDTH)), jnp.float32) for _ in range(2))
    return params, jax.tree.map(jnp.zeros_like, params), x, target


def test_a_jaxpr_of_20000_equations_is_saved_loaded_and_run(tmp_path: Path) -> None:
    args = jnp.linspace(-1.0, 1.0, 4), jnp.linspace(0.5, 1.5, 4)
    brainir.save(brainir.lower(chain, *args), tmp_path / "chain.json")
    program = brainir.load(tmp_path / "chain.json")
    assert program.node_count() == EQUATIONS
    # Not compiled as one: that takes XLA minutes.
    assert_same_bits(brainir.to_callable(program)(*args), chain(*args))


def test_a_train_step_of_a_transformer_with_12_layers_is_saved_loaded_and_run(tmp_path: Path) -> None:
    args = transformer()
    brainir.save(brainir.lower(train_step, *args), tmp_path / "step.json")
    program = brainir.load(tmp_path / "step.json")
    assert_same_bits(jax.jit(brainir.to_callable(program))(*args), jax.jit(train_step)(*args))


def test_a_large_constant_is_copied_no_more_than_needed(tmp_path: Path) -> None:
    table = np.arange(4 << 20, dtype=np.float32)
    tracemalloc.start()
    try:
        program = brainir.lower(lambda x: jnp.asarray(table)[::4096] * x, jnp.float32(2.0))
        _, lowering = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        brainir.save(program, tmp_path / "table.json")
        kept, saving = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # JAX makes an array of its own; the program holds the bytes.
    assert lowering < 2.5 * table.nbytes
    assert saving - kept < 2.5 * table.nbytes
    loaded = brainir.load(tmp_path / "table.json")
    assert (tmp_path / "table.json").stat().st_size < 10_000
    assert_same_bits(brainir.to_callable(loaded)(jnp.float32(2.0)), jnp.asarray(table)[::4096] * jnp.float32(2.0))


def test_an_array_that_several_functions_hold_is_copied_once() -> None:
    weights = jnp.arange(2.0**20).reshape(1 << 10, 1 << 10)
    first, second = jax.jit(lambda x: x @ weights), jax.jit(lambda x: weights @ x)
    x = jnp.ones(1 << 10)
    program = brainir.lower(lambda x: first(x) + second(x) + weights[0], x)
    held = [constant.data for function in program.functions for constant in function.constants if constant.data]
    assert len(held) == 3
    assert len(set(map(id, held))) == 1
    assert_same_bits(brainir.to_callable(program)(x), first(x) + second(x) + weights[0])


def test_functions_nested_30_deep_are_lowered_and_run() -> None:
    # JAX 0.8 needs some 16 frames of Python for each to trace them at all.
    def nested(x: Any, depth: int = 30) -> Any:
        return jnp.sin(x) if depth == 0 else jax.jit(lambda y: nested(y, depth - 1) + 1.0)(x)

    program = brainir.loads(brainir.dumps(brainir.lower(lambda x: nested(x), jnp.float32(0.3))))
    assert len(program.functions) > 30
    assert_same_bits(jax.jit(brainir.to_callable(program))(jnp.float32(0.3)), jax.jit(nested)(jnp.float32(0.3)))
