"""Programs and facts that were worked with are pickled and copied like new ones."""

import copy
import pickle
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


def again(item: object) -> object:
    """Return what another process would receive."""
    return pickle.loads(pickle.dumps(item))


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("copied", [again, copy.copy, copy.deepcopy])
def test_an_analysed_program_is_copied_whole(name: str, copied: Callable[[Any], Any]) -> None:
    program = brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3))
    ANALYSES[name](program)
    other = copied(program)
    assert other == program
    assert brainir.fingerprint(other) == brainir.fingerprint(program)
    assert str(brainir.position_dependence(other)) == str(brainir.position_dependence(program))


@pytest.mark.parametrize("copied", [again, copy.copy, copy.deepcopy])
def test_facts_are_copied_whole(copied: Callable[[Any], Any]) -> None:
    dependence = brainir.position_dependence(brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3)))
    assert copied(dependence).of("hidden_new", "hidden") == dependence.of("hidden_new", "hidden") == "elementwise"


def test_a_pickled_program_has_its_fields_alone() -> None:
    program = brainir.lower_step(leaky, jnp.ones((3, 4)), jnp.zeros(4), jnp.ones(3))
    before = pickle.dumps(brainir.loads(brainir.dumps(program)))
    loaded = brainir.loads(brainir.dumps(program))
    brainir.find_hidden_groups(loaded)
    assert len(pickle.dumps(loaded)) == len(before)
