"""The paths of states that a module keeps under keys of other kinds than text and whole numbers."""

from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np

import brainir
from tests.models import MODELS


class Kept(brainstate.nn.Module):
    """Leaky cells in a dictionary with the keys that a test gives."""

    def __init__(self, *keys: Any) -> None:
        super().__init__()
        self.cells = {key: brainstate.HiddenState(jnp.full(3, float(place))) for place, key in enumerate(keys, 1)}

    def update(self, x: Any) -> None:
        """Let all cells leak."""
        for cell in self.cells.values():
            cell.value = 0.9 * cell.value + x


class Rule:
    """A key that can be told from its equals by identity only, and sorts by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __lt__(self, other: "Rule") -> bool:
        return self.number < other.number


def paths(module: Any, *inputs: Any) -> list[Any]:
    """Return the paths of the states of a module's program, after JSON."""
    program = brainir.loads(brainir.dumps(brainir.lower_module(module, *inputs)))
    return [state.path for state in program.interface.states]


def test_keys_of_plain_values_are_what_they_read_as() -> None:
    assert paths(Kept((0, "a"), (1, "b")), jnp.ones(3)) == [("cells", "(0, 'a')"), ("cells", "(1, 'b')")]
    assert paths(Kept(0.5, 2.0), jnp.ones(3)) == [("cells", "0.5"), ("cells", "2.0")]
    assert paths(Kept(np.int64(7)), jnp.ones(3)) == [("cells", 7)]


def test_other_keys_are_the_class_of_what_is_kept_under_them_and_stay_apart() -> None:
    module = Kept(Rule(1), Rule(2))
    assert paths(module, jnp.ones(3)) == [("cells", "HiddenState"), ("cells", "HiddenState_1")]
    program = brainir.lower_module(module, jnp.ones(3))
    states = brainir.read_states(module, program)
    assert [float(value[0]) for value in states.values()] == [1.0, 2.0]
    brainir.write_states(module, program, {path: 10.0 * value for path, value in states.items()})
    assert [float(cell.value[0]) for cell in module.cells.values()] == [10.0, 20.0]


def test_synapses_kept_with_the_neurons_before_them_have_the_path_of_their_class() -> None:
    case = MODELS["LIF_PreExpCu"]
    path = ("inp", "post", "_after_updates", "Expon", "g")
    assert path in paths(case.build(), *case.inputs(0))
