"""Costs of whole models beside those of XLA's compiled program, and the traces of the guide's network."""

import jax
import pytest

import brainir
from tests.models import MODELS

TOLERANCE = 0.2
"""What XLA simplifies away, and what it adds by writing an operation with others, of all floating point operations."""


@pytest.mark.parametrize("name", ["ALIF_STPExpCu_Dense", "LIF_ExpCo", "Izhikevich_Delta", "LRU", "LSTMCell"])
def test_flops_of_a_model_are_those_of_the_compiled_program(name: str) -> None:
    case = MODELS[name]
    module = case.build()
    program = brainir.run_passes(brainir.lower_module(module, *case.inputs(0)))
    states = brainir.read_states(module, program)
    compiled = jax.jit(brainir.to_callable(program)).lower(states, *case.inputs(0)).compile()
    expected = compiled.cost_analysis()["flops"]
    assert abs(brainir.cost(program).flops - expected) <= TOLERANCE * expected


def test_two_of_the_five_traces_of_the_guide_are_dead() -> None:
    case = MODELS["ALIF_STPExpCu_Dense"]
    (trace,) = brainir.cost(brainir.lower_module(case.build(), *case.inputs(0))).traces
    assert (trace.states, trace.live_states) == (5, 3)
    assert trace.d_rtrl == 4 * (7 * 4 + 4) * 5
    assert trace.d_rtrl_live == 4 * (7 * 4 + 4) * 3


@pytest.mark.parametrize("name", ["GRUCell", "LRU", "LSTMCell"])
def test_operations_of_a_rate_network_are_exactly_those_that_xla_counts_before_it_optimizes(name: str) -> None:
    case = MODELS[name]
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    expected = jax.jit(brainir.to_callable(program)).lower(states, *case.inputs(0)).cost_analysis()
    found = brainir.cost(program)
    assert (found.flops, found.transcendentals) == (expected["flops"], expected["transcendentals"])
