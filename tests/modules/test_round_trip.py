"""A module and the function regenerated from its JSON are the same function: values, states, gradients."""

from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.canonical import function_keys
from tests.compare import assert_same_bits, lowered, stablehlo
from tests.models import MODELS, ModelCase, pure_step
from tests.quick_compile import quick_options

# brainstate's dropout checks its rate through a host callback, which has a test of its own.
STORABLE = [case for name, case in MODELS.items() if name != "dropout_RNN"]
cases = pytest.mark.parametrize("case", STORABLE, ids=lambda case: case.name)


def regenerated(case: ModelCase) -> tuple[brainir.Program, Callable[..., Any]]:
    """Lower a model, write it as JSON, read it back, and emit it."""
    program = brainir.lower_module(case.build(), *case.inputs(0))
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    return loaded, brainir.to_callable(loaded)


@cases
def test_regenerated_step_equals_the_module_to_the_bit_over_100_steps(case: ModelCase) -> None:
    program, step = regenerated(case)
    jitted = jax.jit(step)
    module = case.build()
    original = brainstate.transform.jit(lambda *inputs: module(*inputs))
    states = brainir.read_states(module, program)
    for t in range(100):
        states, out = jitted(states, *case.inputs(t))
        assert_same_bits(out, original(*case.inputs(t)), f"out of step {t}")
        assert_same_bits(states, brainir.read_states(module, program), f"states after step {t}")


RATES = ("ValinaRNNCell", "GRUCell", "LSTMCell", "GatedGRU", "LRU", "two_layer_GRU", "nested_inputs")


@pytest.mark.parametrize("name", RATES)
def test_regenerated_step_of_a_rate_network_is_the_same_executable(name: str) -> None:
    case = MODELS[name]
    program, step = regenerated(case)
    module = case.build()
    states = brainir.read_states(module, program)
    ours, original = (lowered(fn, states, *case.inputs(0)) for fn in (step, pure_step(module, case.inputs(0))))
    assert stablehlo(ours) == stablehlo(original)


@cases
def test_regenerated_step_equals_the_module_to_the_bit_without_jit(case: ModelCase) -> None:
    program, step = regenerated(case)
    module = case.build()
    states = brainir.read_states(module, program)
    for t in range(3):
        states, out = step(states, *case.inputs(t))
        assert_same_bits(out, module(*case.inputs(t)), f"out of step {t}")
        assert_same_bits(states, brainir.read_states(module, program), f"states after step {t}")


def loss_over_20_steps(step: Callable[..., Any], case: ModelCase) -> Callable[[Any, Any], jax.Array]:
    """Return a loss of moving and fixed states that sees every output and the final states."""
    sequence = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(case.inputs(t) for t in range(20)))

    def squares(tree: Any) -> jax.Array:
        leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return sum((jnp.sum(leaf * leaf) for leaf in leaves), jnp.float32(0))

    def loss(moving: Any, fixed: Any) -> jax.Array:
        def advance(states: Any, inputs: Any) -> tuple[Any, jax.Array]:
            states, out = step(states, *inputs)
            return states, squares(out)

        states, losses = jax.lax.scan(advance, {**moving, **fixed}, sequence)
        return jnp.sum(losses) + squares(states)

    return loss


@cases
def test_gradients_over_20_steps_equal_those_of_the_original(case: ModelCase) -> None:
    program, step = regenerated(case)
    module = case.build()
    original, states = pure_step(module, case.inputs(0)), brainir.read_states(module, program)
    moves = {
        path: all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(value))
        for path, value in states.items()
    }
    moving = {path: value for path, value in states.items() if moves[path]}
    fixed = {path: value for path, value in states.items() if not moves[path]}
    ours, wanted = (lowered(jax.value_and_grad(loss_over_20_steps(fn, case)), moving, fixed) for fn in (step, original))
    loss, gradients = ours.compile(compiler_options=quick_options())(moving, fixed)
    # With the same StableHLO they are the same executable.
    if stablehlo(ours) != stablehlo(wanted):
        assert_same_bits((loss, gradients), wanted.compile(compiler_options=quick_options())(moving, fixed))
    weights = [gradients[state.path] for state in program.interface.states if state.role == "param"]
    assert any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(weights))


@cases
def test_lowering_the_regenerated_function_gives_the_same_functions_again(case: ModelCase) -> None:
    program, step = regenerated(case)
    order = [state.path for state in program.interface.states]
    states = brainir.read_states(case.build(), program)
    values = tuple(
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), states[path]) for path in order
    )

    def in_order(given: Any, inputs: Any) -> Any:
        new, out = step(dict(zip(order, given, strict=True)), *inputs)
        return [new[state.path] for state in program.interface.states if state.returned], out

    again = brainir.lower(in_order, values, case.inputs(0))
    assert function_keys(again.table)[again.entry] == function_keys(program.table)[program.entry]


@pytest.mark.parametrize("name", ["GRUCell", "ALIF_STPExpCu_Dense"])
def test_a_loop_over_a_regenerated_step_is_lowered_with_its_states_by_path(name: str) -> None:
    case = MODELS[name]
    program, step = regenerated(case)
    states = brainir.read_states(case.build(), program)
    inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(case.inputs, range(3)))

    def run(states: Any, inputs: Any) -> Any:
        return jax.lax.scan(lambda states, x: step(states, *x), states, inputs)

    whole = brainir.to_callable(brainir.loads(brainir.dumps(brainir.lower(run, states, inputs))))
    assert_same_bits(jax.jit(whole)(states, inputs), jax.jit(run)(states, inputs))


def test_a_program_does_not_change_when_the_model_has_run() -> None:
    case = MODELS["ALIF_STPExpCu_Dense"]
    module = case.build()
    before = brainir.dumps(brainir.lower_module(module, *case.inputs(0)))
    for t in range(3):
        module(*case.inputs(t))
    assert brainir.dumps(brainir.lower_module(module, *case.inputs(0))) == before


def test_lowering_leaves_the_states_as_they_were() -> None:
    case = MODELS["ALIF_STPExpCu_Dense"]
    module = case.build()
    before = {path: state.value for path, state in module.states().items()}
    brainir.lower_module(module, *case.inputs(0))
    for path, state in module.states().items():
        assert state.value is before[path]


def test_written_states_are_what_the_module_goes_on_with() -> None:
    case = MODELS["LIF_ExpCu"]
    program, step = regenerated(case)
    reference, module = case.build(), case.build()
    states = brainir.read_states(module, program)
    for t in range(5):
        reference(*case.inputs(t))
        states, _ = step(states, *case.inputs(t))
    brainir.write_states(module, program, states)
    assert_same_bits(module(*case.inputs(5)), reference(*case.inputs(5)))
