"""What every value of every model depends on: the Jacobian by JAX is zero where the analysis says so."""

import jax
import numpy as np
import pytest

import brainir
from tests.dependence import check_every_value
from tests.models import MODELS

# Dropout checks its probability in a debug callback, which a program cannot hold.
CASES = [name for name in MODELS if name != "dropout_RNN"]


@pytest.mark.parametrize("name", CASES)
def test_values_depend_on_what_the_analysis_says_and_on_nothing_else(name: str) -> None:
    case = MODELS[name]
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    rng = np.random.default_rng(1)
    inputs = []
    for state in program.interface.states:
        for leaf in jax.tree.leaves(states[state.path]):
            moves = state.role == "hidden" and np.issubdtype(leaf.dtype, np.floating)
            inputs.append((leaf + rng.normal(size=leaf.shape)).astype(leaf.dtype) if moves else leaf)
    check_every_value(program, [*inputs, *jax.tree.leaves(case.inputs(0))], count=1, changes=False)
