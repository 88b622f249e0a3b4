"""The programs and the models of the tests as cases."""

from __future__ import annotations

import functools
from typing import Any

import brainir
from tests.models import MODELS, ModelCase, pure_step
from tests.programs import PROGRAMS_HERE

from .functions import PublicFunction

__all__ = ["corpus"]


def _model(case: ModelCase) -> PublicFunction:
    module, inputs = case.build(), case.inputs(0)
    step, states = pure_step(module, inputs), brainir.read_states(module, brainir.lower_module(module, *inputs))
    paths = list(states)

    def of_values(values: Any, *inputs: Any) -> Any:
        new, out = step(dict(zip(paths, values, strict=True)), *inputs)
        return [new[path] for path in paths], out

    return PublicFunction(case.name, "models", of_values, (list(states.values()), *inputs))


@functools.cache
def corpus() -> dict[str, PublicFunction]:
    """Return the cases by name."""
    programs = {name: PublicFunction(name, "programs", case.fn, case.args) for name, case in PROGRAMS_HERE.items()}
    # Dropout of brainstate checks its rate through a host callback.
    return {**programs, **{name: _model(case) for name, case in MODELS.items() if name != "dropout_RNN"}}
