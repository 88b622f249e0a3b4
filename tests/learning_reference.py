"""What online gradients are, computed naively from their definitions, on models with hooks.

D-RTRL is reverse differentiation of all steps, with the paths stopped that it does not follow. ES-D-RTRL is computed
with whole Jacobians of all states, without knowledge of groups, positions or forms of weights.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from tests.online_models import Hooks, OnlineModel, apply, identity, loss

Tree = Any


def backpropagated(
    case: OnlineModel, params: Tree, hidden: Tree, xs: Any, targets: Any, windows: Sequence[tuple[int, int]] = ()
) -> Tree:
    """Return the gradient of the loss of each step, then of the summed losses of each window.

    The path through recurrent weights is cut; in windows, only before them. A weight behind another weight and a
    layer below another get their gradient from the step whose loss is taken, or from the window.
    """
    steps = len(targets)
    rows = steps + len(windows)
    weights, cut, credit = np.zeros((rows, steps)), np.zeros((rows, steps), bool), np.zeros((rows, steps), bool)
    weights[range(steps), range(steps)] = 1
    credit[range(steps), range(steps)] = True
    for row, (start, stop) in enumerate(windows, start=steps):
        weights[row, start:stop] = cut[row, start:stop] = credit[row, start:stop] = True
    if case.exact_bptt:
        cut[:] = credit[:] = True

    def summed(params: Tree, weights: Any, cut: Any, credit: Any) -> Any:
        def body(hidden: Tree, given: Any) -> Any:
            x, target, weight, through, credited = given
            at = Hooks(cut=_open(through), below=_open(credited), behind=_open(credited))
            hidden, out = case.model(params, hidden, x, at)
            return hidden, weight * loss(out, target)

        return jax.lax.scan(body, hidden, (xs, targets, weights, cut, credit))[1].sum()

    weights = weights.astype(targets.dtype)
    return jax.vmap(jax.grad(summed), in_axes=(None, 0, 0, 0))(params, weights, cut, credit)


def _open(is_open: Any) -> Any:
    return lambda value: jnp.where(is_open, value, jax.lax.stop_gradient(value))


def low_rank(case: OnlineModel, params: Tree, hidden: Tree, xs: Any, targets: Any, decay: float) -> Tree:
    """Return the gradients of ES-D-RTRL of each step.

    For each use of a weight, with data x and result y, and h all states in a row::

        xbar <- decay xbar + x ;  fbar <- decay D fbar + (1 - decay) F ;  D = dh_t / dh_{t-1}, F = dh_t / dy

    without the paths that a trace does not follow. With signals s at the exit and s' at the entry, the gradient of y
    is ``s fbar_t / c_t``, and ``s' fbar_{t-1} / c_{t-1}``, which meet xbar of the same step in the rule of the
    operation. ``s D`` and ``s F`` are gradients of the loss of one step, in which the new states are not held; so
    ``s fbar_t = decay (s D) fbar_{t-1} + (1 - decay) s F``. What is left of the gradient of the step is added.
    """
    closed = Hooks(*(jax.lax.stop_gradient,) * 4)
    inside = Hooks(cut=jax.lax.stop_gradient, behind=jax.lax.stop_gradient, past=jax.lax.stop_gradient)
    data_of, result_of = _uses(case, params, hidden, xs[0])
    flat, unflatten = ravel_pytree(hidden)

    def run(state: Any, added: Any, params: Tree, x: Any, at: Hooks) -> tuple[Any, Any, Any]:
        data = {}

        def weigh(name: str, rule: Any, x: Any, *weights: Any) -> Any:
            data[name] = x
            return apply(name, rule, x, *weights) + added[name]

        new, out = case.model(params, unflatten(state), x, replace(at, weigh=weigh))
        return ravel_pytree({name: new[name] for name in hidden})[0], out, data

    def body(now: Any, given: Any) -> Any:
        state, old_x, old_f, count = now
        x, target = given
        nothing = _zeros(result_of)

        def changed(state: Any, added: Any) -> Any:
            new, _, data = run(state, added, params, x, closed)
            return new, (new, data)

        def objective(state: Any, added: Any, params: Tree, at: Hooks) -> Any:
            return loss(run(state, added, params, x, at)[1], target)

        (transition, direct), (new, data) = jax.jacrev(changed, argnums=(0, 1), has_aux=True)(state, nothing)
        new_x = jax.tree.map(lambda old, now: decay * old + now, old_x, data)
        new_f = {name: decay * _product(transition, old_f[name]) + (1 - decay) * direct[name] for name in old_f}
        to_state, to_result = jax.grad(objective, argnums=(0, 1))(state, nothing, params, inside)
        entry = jax.grad(objective)(state, nothing, params, replace(inside, past=identity)) - to_state
        at_exit = {name: decay * _product(to_state, old_f[name]) + (1 - decay) * to_result[name] for name in old_f}
        at_entry = {name: _product(entry, old_f[name]) for name in old_f}
        corrections = 1 - decay ** (count + 1), jnp.where(count > 0, 1 - decay**count, 1)

        def credited(params: Tree) -> Any:
            total = objective(state, nothing, params, Hooks())

            def weigh(name: str, rule: Any, x: Any, *weights: Any) -> Any:
                nonlocal total
                total += jnp.vdot(apply(name, rule, new_x.get(name), *weights), at_exit[name]) / corrections[0]
                total += jnp.vdot(apply(name, rule, old_x.get(name), *weights), at_entry[name]) / corrections[1]
                total -= jnp.vdot(apply(name, rule, data[name], *weights), to_result[name])
                return nothing[name]

            case.model(params, unflatten(state), x, Hooks(weigh=weigh))
            return total

        return (new, new_x, new_f, count + 1), jax.grad(credited)(params)

    start_f = {name: jnp.zeros((flat.size, *y.shape), flat.dtype) for name, y in result_of.items()}
    start = (flat, _zeros(data_of), start_f, jnp.zeros((), flat.dtype))
    return jax.lax.scan(body, start, (xs, targets))[1]


def _uses(case: OnlineModel, params: Tree, hidden: Tree, x: Any) -> tuple[Tree, Tree]:
    """Return shape and dtype of the data and the result of each use of a weight, by name."""

    def record(params: Tree, hidden: Tree, x: Any) -> Any:
        found: tuple[Tree, Tree] = {}, {}

        def weigh(name: str, rule: Any, x: Any, *weights: Any) -> Any:
            y = apply(name, rule, x, *weights)
            found[0][name], found[1][name] = x, y
            return y

        case.model(params, hidden, x, Hooks(weigh=weigh))
        return found

    return jax.eval_shape(record, params, hidden, x)


def _zeros(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)


def _product(left: Any, right: Any) -> Any:
    return jnp.tensordot(left, right, axes=1)
