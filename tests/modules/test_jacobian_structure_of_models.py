"""The structure of per-position derivatives of every model, against the Jacobians that JAX computes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.jacobians import check_structures
from tests.models import MODELS, ModelCase

# Dropout checks its probability in a debug callback, which a program cannot hold.
CASES = [case for name, case in MODELS.items() if name != "dropout_RNN"]


def inputs_at(case: ModelCase, program: brainir.Program, t: int) -> list[Any]:
    """Return the flat inputs of step `t`, with hidden states that are moved at random."""
    rng = np.random.default_rng(t)
    leaves: list[Any] = []
    states = brainir.read_states(case.build(), program)
    for state in program.interface.states:
        for leaf in jax.tree.leaves(states[state.path]):
            noise = rng.normal(size=np.shape(leaf)) if state.role == "hidden" else 0.0
            leaves.append(jnp.asarray(leaf + noise, leaf.dtype) if state.role == "hidden" else leaf)
    return [*leaves, *jax.tree.leaves(case.inputs(t))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_structure_agrees_with_the_jacobians_of_two_steps(case: ModelCase) -> None:
    program = brainir.lower_module(case.build(), *case.inputs(0))
    check_structures(program, [inputs_at(case, program, t) for t in range(2)])


def structure_of(name: str) -> Any:
    case = MODELS[name]
    (group,) = brainir.find_hidden_groups(brainir.lower_module(case.build(), *case.inputs(0)))
    return group.jacobian_structure


def test_structure_of_the_guide_is_as_sparse_as_the_model() -> None:
    structure = structure_of("ALIF_STPExpCu_Dense")
    kept = {(row, column) for row in range(5) for column in range(5) if structure.at(row, column)}
    V, a, u, x, g = range(5)
    assert kept == {
        (V, V),
        (V, a),
        (V, g),
        (a, V),
        (a, a),
        (u, V),
        (u, a),
        (u, u),
        (x, V),
        (x, a),
        (x, u),
        (x, x),
        (g, g),
    }
    decay = structure.at(g, g)
    assert decay.constant
    assert decay.uniform
    np.testing.assert_allclose(decay.value, np.exp(-0.1 / 10.0), rtol=1e-6)


def test_two_timescales_in_one_grouped_state_have_a_known_matrix() -> None:
    structure = structure_of("TwoTimescales")
    found = [[structure.at(row, column).value for column in range(2)] for row in range(2)]
    np.testing.assert_allclose(found, [[0.8, -0.1], [0.04, 0.945]], rtol=1e-6)
