"""Passes keep the steps of all models: values to the bit operation by operation, gradients up to rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis.passes import DEFAULT_PASSES, UnrollScans
from tests.compare import assert_same_bits
from tests.models import MODELS

PASSES = (*DEFAULT_PASSES, "cond_to_select", UnrollScans(max_length=8), *DEFAULT_PASSES)


def squares(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum((jnp.sum(jnp.sin(leaf)) for leaf in leaves), jnp.float32(0))


def values_and_gradient(program: brainir.Program, states: Any, inputs: Any) -> Any:
    """Run a step with its gradient, operation by operation; hosts are answered with nothing."""
    callbacks = [node for each in program.functions for node in each.nodes if node.op.endswith("_callback")]
    hosts = {node.name: lambda *args: None for node in callbacks}
    step = brainir.to_callable(program, externals=hosts)
    moving = {
        path: value
        for path, value in states.items()
        if all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(value))
    }

    def total(part: Any) -> Any:
        found = step({**states, **part}, *inputs)
        return squares(found), found

    gradient, found = jax.grad(total, has_aux=True)(moving)
    return found, gradient


@pytest.mark.parametrize("name", MODELS)
def test_passes_keep_the_step_of_a_model_and_its_gradient(name: str) -> None:
    case = MODELS[name]
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    rewritten = brainir.run_passes(program, PASSES)
    assert rewritten.node_count() <= program.node_count()
    assert brainir.find_hidden_groups(rewritten) or not brainir.find_hidden_groups(program)
    states = brainir.read_states(module, program)
    with jax.disable_jit():
        expected, wanted = values_and_gradient(program, states, case.inputs(1))
        found, gradient = values_and_gradient(rewritten, states, case.inputs(1))
    assert_same_bits(found, expected, name)
    for one, two in zip(*map(jax.tree.leaves, (gradient, wanted)), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5, atol=1e-6)
    # What passes make does not depend on names or on where the program was read, and is made once.
    again = brainir.run_passes(brainir.loads(brainir.dumps(program)), PASSES)
    assert brainir.fingerprint(again) == brainir.fingerprint(rewritten)
    assert brainir.fingerprint(brainir.run_passes(rewritten, PASSES)) == brainir.fingerprint(rewritten)
