"""Passes keep the steps of real models: values to the bit operation by operation, gradients up to rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis.passes import DEFAULT_PASSES, UnrollScans
from tests.compare import assert_same_bits
from tests.models import MODELS, ModelCase

PASSES = (*DEFAULT_PASSES, "cond_to_select", UnrollScans(max_length=8), *DEFAULT_PASSES)

# Units and surrogates, time as an argument, random numbers, a fused gate matrix.
SUITE = ("ALIF_STPExpCu_Dense", "GifRef_ExpCu", "poisson_LIF_Delta", "LSTMCell")


def squares(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum((jnp.sum(jnp.sin(leaf)) for leaf in leaves), jnp.float32(0))


def check(case: ModelCase) -> None:
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    rewritten = brainir.run_passes(program, PASSES)
    assert rewritten.node_count() <= program.node_count()
    assert brainir.find_hidden_groups(rewritten) or not brainir.find_hidden_groups(program)
    before, after = brainir.to_callable(program), brainir.to_callable(rewritten)
    states = brainir.read_states(module, program)
    with jax.disable_jit():
        for t in range(2):
            expected = before(states, *case.inputs(t))
            assert_same_bits(after(states, *case.inputs(t)), expected, f"step {t}")
            states = expected[0]
        moving = {
            path: value
            for path, value in states.items()
            if all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(value))
        }
        gradients = [
            jax.grad(lambda part, step=step: squares(step({**states, **part}, *case.inputs(2))))(moving)
            for step in (before, after)
        ]
    for got, wanted in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SUITE)
def test_passes_keep_the_step_of_a_model_and_its_gradient(name: str) -> None:
    check(MODELS[name])
