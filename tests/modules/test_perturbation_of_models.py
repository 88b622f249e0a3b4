"""The gradient by a perturbation is dL/dh, on every model: the sum is put into the traced module by hand."""

import functools
from collections.abc import Sequence
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.states import module_states
from tests.models import MODELS
from tests.quick_compile import quick_options


def squares(tree: Any) -> jax.Array:
    """Return a number that every inexact leaf counts for, in a way that is not linear."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum((jnp.sum(jnp.sin(jnp.abs(leaf) * 0.7)) for leaf in leaves), jnp.float32(0))


def evaluated(jaxpr: Any, operands: Sequence[Any], added: dict[Any, Any]) -> list[Any]:
    """Evaluate a jaxpr equation by equation, with something added to some of its variables as they are defined."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    known = dict(zip((*inner.invars, *inner.constvars), (*operands, *jaxpr.consts), strict=True))
    for equation in inner.eqns:
        values = [each.val if hasattr(each, "val") else known[each] for each in equation.invars]
        bound = equation.primitive.get_bind_params(equation.params)
        functions, params = bound if isinstance(bound, tuple) else ((), bound)  # older versions split the functions off
        results = equation.primitive.bind(*functions, *values, **params)
        results = results if equation.primitive.multiple_results else [results]
        known.update((var, value) for var, value in zip(equation.outvars, results, strict=True))
        known.update((var, known[var] + added[var]) for var in equation.outvars if var in added)
    return [each.val if hasattr(each, "val") else known[each] for each in inner.outvars]


@pytest.mark.parametrize("name", MODELS)
def test_gradient_by_a_perturbation_is_that_of_a_sum_put_in_by_hand(name: str) -> None:
    case = MODELS[name]
    module, inputs = case.build(), case.inputs(0)
    program = brainir.lower_module(module, *inputs)
    found = brainir.add_hidden_perturbation(program)
    traced = brainstate.transform.StatefulFunction(module, return_only_write=False)
    traced.make_jaxpr(*inputs)
    jaxpr, accessed = traced.get_jaxpr(*inputs), traced.get_states(*inputs)
    paths = {id(state): path for path, state in module_states(module).items()}
    values = [state.value for state in accessed]
    old = jax.tree.leaves((inputs, values))
    outvars = getattr(jaxpr, "jaxpr", jaxpr).outvars
    first = len(outvars) - len(jax.tree.leaves(values))
    counts = np.cumsum([first, *(len(jax.tree.leaves(value)) for value in values)])
    place = {paths.get(id(state)): int(start) for state, start in zip(accessed, counts[:-1], strict=True)}
    new = [outvars[place[path]] for path in found.perturb_hidden_paths]
    computed = {var for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns for var in equation.outvars}
    zeros = [jnp.asarray(each) for each in found.init_perturb_data()]

    def by_hand(perturbations: Any) -> Any:
        added: dict[Any, Any] = {}
        for var, each in zip(new, perturbations, strict=True):
            if var in computed:
                added[var] = added.get(var, 0) + each
        results = evaluated(jaxpr, old, added)
        # A state that the step hands on as it is gets its sum where it is returned.
        passed = zip(found.perturb_hidden_paths, new, perturbations, strict=True)
        news = [results[place[path]] + (0 if var in computed else each) for path, var, each in passed]
        return squares((results[:first], news))

    externals = dict.fromkeys(("_check_p",), lambda *operands: None)
    step = brainir.to_callable(found.program, externals=externals if name == "dropout_RNN" else None)
    states = brainir.read_states(module, program)

    def total(perturbations: Any) -> Any:
        after, out = step(states, *inputs, *perturbations)
        return squares((out, [after[path] for path in found.perturb_hidden_paths]))

    @functools.partial(jax.jit, compiler_options=quick_options())
    def both(perturbations: Any) -> Any:
        return jax.grad(total)(perturbations), jax.grad(by_hand)(perturbations)

    gradients, expected = both(zeros)
    for path, one, two in zip(found.perturb_hidden_paths, gradients, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6, err_msg=str(path))
