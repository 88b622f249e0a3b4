"""The paths of states that a module keeps under keys of other kinds than text and whole numbers."""

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

import brainir
from brainir.ir.printer import format_path
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


class Projections(brainstate.nn.Module):
    """Two projections, under keys that begin alike."""

    def __init__(self) -> None:
        super().__init__()
        kinds = {"slow": 0.9, "fast": 0.5}
        self.leaks = {f"projection with synapses that are {kind}": leak for kind, leak in kinds.items()}
        self.currents = {key: brainstate.HiddenState(jnp.zeros(4)) for key in self.leaks}
        self.weights = {key: brainstate.ParamState(jnp.full((3, 4), leak)) for key, leak in self.leaks.items()}

    def update(self, x: Any) -> Any:
        """Return the sum of both currents."""
        for key, current in self.currents.items():
            current.value = self.leaks[key] * current.value + x @ self.weights[key].value
        return sum(current.value for current in self.currents.values())


def test_states_under_long_keys_that_begin_alike_have_unlike_names() -> None:
    module, x, target = Projections(), jnp.ones(3), jnp.ones(4)
    program = brainir.lower_module(module, x)
    assert len({format_path(state.path) for state in program.interface.states}) == 4
    learner = brainir.compile_learner(program, loss=lambda out, target: jnp.sum((out - target) ** 2))
    states = brainir.read_states(module, program)
    params = {path: value for path, value in states.items() if path[0] == "weights"}
    carry, _, _ = learner.step(params, learner.init(states), x, target)
    *_, found = brainir.to_callable(learner.program)(learner.named(params), learner.named(carry), x, target)
    *_, expected = learner.step(params, carry, x, target)
    assert len(found) == 2
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6), found, learner.named(expected))


def test_synapses_kept_with_the_neurons_before_them_have_the_path_of_their_class() -> None:
    case = MODELS["LIF_PreExpCu"]
    path = ("inp", "post", "_after_updates", "Expon", "g")
    assert path in paths(case.build(), *case.inputs(0))
