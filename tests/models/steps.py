"""Steps of models as functions without side effects."""

from collections.abc import Callable
from typing import Any

import brainstate

from brainir.frontend.states import module_states


def pure_step(module: brainstate.nn.Module, inputs: tuple[Any, ...]) -> Callable[..., Any]:
    """Return the step of a model, as brainstate traces it, as a function of states by path and inputs."""
    traced = brainstate.transform.StatefulFunction(lambda *inputs: module(*inputs), return_only_write=False)
    accessed = traced.make_jaxpr(*inputs).get_states(*inputs)
    paths = {id(state): path for path, state in module_states(module).items()}

    def step(states: dict[Any, Any], *inputs: Any) -> Any:
        new, out = traced.jaxpr_call([states[paths[id(state)]] for state in accessed], *inputs)
        return {paths[id(state)]: value for state, value in zip(accessed, new, strict=True)}, out

    return step
