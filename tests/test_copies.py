"""Programs and facts that were worked with are copied like new ones."""

import copy
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

import brainir


def leaky(params: Any, hidden: Any, x: Any) -> Any:
    """Leak, and take the input through a weight."""
    return 0.9 * hidden + x @ params, jnp.tanh(hidden)


ANALYSES: dict[str, Callable[[brainir.Program], object]] = {
    "cost": brainir.cost,
    "find_hidden_groups": brainir.find_hidden_groups,
    "find_hidden_param_op_relations": brainir.find_hidden_param_op_relations,
    "fingerprint": brainir.fingerprint,
    "position_dependence": brainir.position_dependence,
    "to_callable": brainir.to_callable,
}


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_analysed_program_is_copied_whole(name: str, copied: Callable[[Any], Any]) -> None:
    program = brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3))
    ANALYSES[name](program)
    other = copied(program)
    assert other == program
    assert brainir.fingerprint(other) == brainir.fingerprint(program)
    assert str(brainir.position_dependence(other)) == str(brainir.position_dependence(program))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_facts_are_copied_whole(copied: Callable[[Any], Any]) -> None:
    dependence = brainir.position_dependence(brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3)))
    assert copied(dependence).of("hidden_new", "hidden") == dependence.of("hidden_new", "hidden") == "elementwise"


def test_a_deep_copy_has_the_fields_alone() -> None:
    program = brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3))
    brainir.find_hidden_groups(program)
    assert vars(program).keys() > brainir.Program.model_fields.keys() == vars(copy.deepcopy(program)).keys()
