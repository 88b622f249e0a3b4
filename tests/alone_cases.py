"""The corpus of programs and models as generated modules, for plain arrays; see :mod:`tests.alone`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

import brainir
from brainir.frontend.states import module_states
from tests.alone import Case
from tests.programs import PROGRAMS_HERE


def program_cases() -> Iterator[Case]:
    for name, case in PROGRAMS_HERE.items():
        program = brainir.lower(case.fn, *case.args)
        save = functools.partial(brainir.save_source, program)
        yield Case(name, save, program.entry, case.fn, case.args, case.derivatives)


def model_cases() -> Iterator[Case]:
    """Yield the models; they need brainstate, and are functions of the mantissas of their states."""
    from tests.models import MODELS

    # brainstate's dropout checks its rate through a host callback, which cannot be stored.
    for name, model in MODELS.items():
        if name != "dropout_RNN":
            module, inputs = model.build(), model.inputs(0)
            program = brainir.lower_module(module, *inputs)
            states = brainir.read_states(module, program)
            fn, args = _of_mantissas(_functional(module, inputs), states, inputs)
            yield Case(name, functools.partial(brainir.save_source, program), program.entry, fn, args)


def _functional(module: Any, inputs: tuple[Any, ...]) -> Callable[..., Any]:
    """Return the step of a module as a function of its states by path."""
    import brainstate

    traced = brainstate.transform.StatefulFunction(lambda *inputs: module(*inputs), return_only_write=False)
    accessed = traced.make_jaxpr(*inputs).get_states(*inputs)
    paths = {id(state): path for path, state in module_states(module).items()}

    def step(states: Any, *inputs: Any) -> Any:
        new, out = traced.jaxpr_call([states[paths[id(state)]] for state in accessed], *inputs)
        return {paths[id(state)]: value for state, value in zip(accessed, new, strict=True)}, out

    return step


def _of_mantissas(fn: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a step of quantities as one of their mantissas, and these."""
    import brainunit

    def is_quantity(leaf: Any) -> bool:
        return isinstance(leaf, brainunit.Quantity)

    def mantissas(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.mantissa if is_quantity(leaf) else leaf, tree, is_leaf=is_quantity)

    states, inputs = args
    # A quantity is a pytree around its mantissa.
    structure = jax.tree.structure((states, inputs))

    def plain(states: Any, *inputs: Any) -> Any:
        given, more = jax.tree.unflatten(structure, jax.tree.leaves((states, inputs)))
        return mantissas(fn(given, *more))

    return plain, (mantissas(states), *mantissas(inputs))
