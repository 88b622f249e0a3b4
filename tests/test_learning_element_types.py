"""Online learning where states are complex, or of several precisions; states in parts are in `online_models`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.ir.errors import AnalysisError
from tests.online_models import loss
from tests.quick_compile import quick_options

N_IN, N, STEPS = 3, 4, 20
Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def _normal(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(shape).normal(0, 0.5, shape))


def _complex(*shape: int) -> Any:
    return _normal(*shape) + 1j * _normal(2, *shape)[1]


def _agrees_with_backpropagation(step: Step, params: Any, hidden: Any, tolerance: float) -> None:
    """Compare gradients of a run, of single steps and of windows with those of the whole sequence."""
    xs, targets = _normal(STEPS, N_IN), _normal(STEPS, N)
    program = brainir.lower_step(step, params, hidden, xs[0])
    learner = brainir.compile_learner(program, loss=loss)
    windows = brainir.compile_learner(program, loss=loss, window=4)

    def backpropagated(params: Any) -> Any:
        outs = jax.lax.scan(lambda hidden, x: step(params, hidden, x), hidden, xs)[1]
        return jax.vmap(loss)(outs, targets).sum()

    def one_by_one(params: Any) -> Any:
        def body(carry: Any, given: Any) -> Any:
            carry, _, grads = learner.step(params, carry, *given)
            return carry, grads

        each = jax.lax.scan(body, learner.init(hidden), (xs, targets))[1]
        return jax.tree.map(lambda grads: grads.sum(axis=0), each)

    def everything(params: Any) -> Any:
        of_run, of_windows = (each.run(params, each.init(hidden), xs, targets)[2] for each in (learner, windows))
        return jax.grad(backpropagated)(params), (of_run, of_windows, one_by_one(params))

    expected, found = jax.jit(everything, compiler_options=quick_options())(params)
    for each in found:
        for one, two in zip(jax.tree.leaves(each), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * np.abs(two).max())


def test_complex_states_with_complex_derivatives_are_learned_exactly() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        slow = params["decay"] * hidden["slow"] + x @ params["w"] + 1j * jnp.tanh(x @ params["u"])
        fast = jnp.tanh(0.4j * hidden["fast"] + slow)
        return {"slow": slow, "fast": fast}, jnp.abs(fast) ** 2

    with jax.enable_x64(True):
        params = {"decay": _complex(N), "w": _complex(N_IN, N), "u": _normal(N_IN, N)}
        hidden = {"slow": jnp.zeros(N, complex), "fast": jnp.zeros(N, complex)}
        _agrees_with_backpropagation(step, params, hidden, 1e-12)


def test_absolute_values_and_parts_of_complex_weights_in_real_states_are_learned_exactly() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        y = x @ params["w"]
        size = 0.9 * hidden["size"] + jnp.abs(y)
        part = jnp.tanh(0.5 * hidden["part"] + y.imag - 2 * y.real)
        return {"size": size, "part": part}, size * part

    with jax.enable_x64(True):
        hidden = {"size": jnp.zeros(N), "part": jnp.zeros(N)}
        _agrees_with_backpropagation(step, {"w": _complex(N_IN, N)}, hidden, 1e-12)


@pytest.mark.parametrize(
    ("shape", "use"),
    [
        ((N,), lambda w, x: w * x[0]),
        ((), lambda w, x: w * x),
        ((N_IN, N), lambda w, x: (x[:N_IN, None] * w).sum(axis=0)),
        ((6,), lambda w, x: jnp.zeros(N).at[jnp.array([0, 1, 2, 3, 0, 1])].add(w * x[jnp.array([0, 1, 2, 0, 1, 2])])),
        ((2, N, N), lambda w, x: x @ w[0, :, :2] @ w[1, :2]),
        ((N, N), lambda w, x: jax.lax.linalg.triangular_solve(w + 5 * jnp.eye(N), x[:, None], left_side=True)[:, 0]),
    ],
    ids=["elementwise", "scalar", "sum", "scatter", "product", "jacobian"],
)
def test_real_and_complex_weights_of_each_form_in_real_and_complex_states_are_learned_exactly(
    shape: tuple[int, ...], use: Any
) -> None:
    def in_complex_state(w: Any, z: Any, x: Any) -> Any:
        z = jnp.tanh(0.9 * jnp.exp(0.4j) * z + use(w, jnp.append(x, 0.5)))
        return z, z.real + 2 * z.imag

    def in_real_state(w: Any, v: Any, x: Any) -> Any:
        y = use(w[0], jnp.append(x, 0.5)) + 1j * use(w[1], jnp.append(x, 0.5))
        v = 0.9 * v + jnp.tanh(y).real
        return v, v

    with jax.enable_x64(True):
        for step, params, hidden in (
            (in_complex_state, _normal(*shape), jnp.zeros(N, complex)),
            (in_real_state, _normal(2, *shape), jnp.zeros(N)),
        ):
            _agrees_with_backpropagation(step, params, hidden, 1e-11)


def test_states_of_several_precisions_that_update_together_are_learned() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.9 * hidden["v"] + (x @ params["w"] * jnp.tanh(hidden["a"])).astype(jnp.float32)
        a = 0.8 * hidden["a"] + x @ params["u"] + jnp.tanh(v).astype(jnp.float64)
        return {"v": v, "a": a}, a + v

    with jax.enable_x64(True):
        params = {"w": _normal(N_IN, N), "u": _normal(N_IN, N)}
        _agrees_with_backpropagation(step, params, {"v": jnp.zeros(N, jnp.float32), "a": jnp.zeros(N)}, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, drive: 0.5 * jnp.conj(z) + drive, "conj hidden"),
        (lambda z, drive: z / (1 + jnp.abs(z)) + drive, "abs hidden"),
        (lambda z, drive: 0.5 * z + jnp.conj(drive), "conj"),
    ],
)
def test_complex_states_without_complex_derivative_are_refused_with_the_way_out(change: Any, message: str) -> None:
    def step(w: Any, z: Any, x: Any) -> Any:
        new = change(z, x @ w)
        return new, new.real

    program = brainir.lower_step(step, jnp.ones((N_IN, N), jnp.complex64), jnp.zeros(N, jnp.complex64), jnp.ones(N_IN))
    with pytest.raises(AnalysisError, match=f"(?s){message}.*real and imaginary parts in hidden states of their own"):
        brainir.compile_learner(program, loss=loss)


def test_real_and_complex_states_that_update_together_are_refused() -> None:
    def step(w: Any, hidden: Any, x: Any) -> Any:
        z, size = hidden
        z = 0.9 * z + x @ w * size
        return (z, 0.5 * size + jnp.abs(z)), jnp.abs(z)

    hidden = jnp.zeros(N, jnp.complex64), jnp.ones(N)
    program = brainir.lower_step(step, jnp.ones((N_IN, N)), hidden, jnp.ones(N_IN))
    with pytest.raises(AnalysisError, match="real and complex hidden states update together"):
        brainir.compile_learner(program, loss=loss)
