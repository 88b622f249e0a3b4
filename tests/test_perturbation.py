"""Perturbation: the program is unchanged at zero, and the gradient is that of the new value."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.ir.program import Program
from tests.analysis_cases import N_IN, N, array

P = {"w": array(N_IN, N, seed=5)}
X = array(N_IN, seed=6)
H = {"a": array(N), "b": array(N, seed=1)}


def lower(fn: Any, hidden: Any = H) -> Program:
    return brainir.lower_step(fn, P, hidden, X)


def perturbed_run(program: Program) -> Any:
    found = brainir.add_hidden_perturbation(program)
    brainir.verify(found.program)
    return brainir.to_callable(found.program), found


def check(fn: Any, by_hand: Any, hidden: Any = H) -> None:
    """Compare with the same step written by hand with the perturbations as arguments."""
    program = lower(fn, hidden)
    run, found = perturbed_run(program)
    zeros = found.init_perturb_data()
    some = [array(*zero.shape, seed=9 + index) for index, zero in enumerate(zeros)]
    # Not to the bit: inside a jit, XLA fuses a multiplication with the addition that the perturbation stands between.
    for actual, expected in (
        (run(P, hidden, X, *zeros), brainir.to_callable(program)(P, hidden, X)),
        (run(P, hidden, X, *some), by_hand(P, hidden, X, *some)),
    ):
        jax.tree.map(lambda first, second: np.testing.assert_allclose(first, second, rtol=1e-6), actual, expected)

    def loss(step: Any) -> Any:
        def total(*p: Any) -> Any:
            new, out = step(P, hidden, X, *p)
            return jnp.sum(jnp.stack([jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((new, out))]))

        return jax.grad(total, argnums=tuple(range(len(zeros))))

    for first, second in zip(loss(run)(*some), loss(by_hand)(*some), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def chain(p: Any, h: Any, x: Any, pa: Any = 0.0, pb: Any = 0.0) -> Any:
    a = 0.9 * h["a"] + x @ p["w"] + pa
    b = 0.5 * h["b"] + jnp.tanh(a) + pb
    return {"a": a, "b": b}, a * b


def test_every_later_use_sees_the_sum() -> None:
    check(chain, chain)


def test_a_value_inside_a_call_is_perturbed_inside() -> None:
    check(lambda p, h, x: jax.jit(jax.jit(chain))(p, h, x), chain)


def passed_on(p: Any, h: Any, x: Any, pa: Any = 0.0, pb: Any = 0.0) -> Any:
    return {"a": h["a"] + pa, "b": x @ p["w"] + h["a"] + pb}, h["a"] * 2.0


def test_a_state_that_is_passed_on_is_perturbed_where_it_is_returned() -> None:
    check(lambda p, h, x: ({"a": h["a"], "b": x @ p["w"] + h["a"]}, h["a"] * 2.0), passed_on)


def test_swapped_states_are_perturbed_where_they_are_returned() -> None:
    check(
        lambda p, h, x: ({"a": h["b"], "b": h["a"]}, h["a"]),
        lambda p, h, x, pa, pb: ({"a": h["b"] + pa, "b": h["a"] + pb}, h["a"]),
    )


def test_states_with_one_new_value_have_sums_of_their_own_and_later_uses_see_all() -> None:
    def shared(p: Any, h: Any, x: Any) -> Any:
        v = h["a"] + h["b"]
        return {"a": v, "b": v}, v * v

    def by_hand(p: Any, h: Any, x: Any, pa: Any, pb: Any) -> Any:
        v = h["a"] + h["b"]
        return {"a": v + pa, "b": v + pb}, (v + pa + pb) ** 2

    check(shared, by_hand)


def test_a_constant_new_value_is_perturbed() -> None:
    check(
        lambda p, h, x: ({"a": jnp.zeros(()), "b": h["b"]}, x),
        lambda p, h, x, pa, pb: ({"a": jnp.zeros(()) + pa, "b": h["b"] + pb}, x),
        {"a": jnp.zeros(()), "b": array(N)},
    )


def test_a_value_inside_a_cond_is_perturbed_in_each_branch() -> None:
    def branching(p: Any, h: Any, x: Any, pa: Any = 0.0, pb: Any = 0.0) -> Any:
        def up(h: Any) -> Any:
            a = jnp.sin(h["a"]) + pa
            return a, a * 2.0

        def down(h: Any) -> Any:
            return h["a"] + pa, h["a"] * 3.0

        a, b = jax.lax.cond(x[0] > 0.0, up, down, h)
        return {"a": a, "b": h["b"] * a + pb}, b

    check(branching, branching)
    check(lambda p, h, x: branching(p, h, -x), lambda p, h, x, pa, pb: branching(p, h, -x, pa, pb))


def test_a_value_out_of_a_loop_is_perturbed_after_it() -> None:
    def looping(p: Any, h: Any, x: Any, pa: Any = 0.0, pb: Any = 0.0) -> Any:
        a, trace = jax.lax.scan(lambda c, t: (jnp.sin(c) + t, c), h["a"], jnp.arange(3.0))
        a = a + pa
        return {"a": a, "b": h["b"] + a + pb}, trace

    check(looping, looping)


def test_grouped_states_get_one_perturbation_of_full_shape() -> None:
    program = lower(lambda p, h, x: ({"s": h["s"] * 0.5}, x), {"s": array(N, 2)})
    states = tuple(state.replace(num_state=2 if state.role == "hidden" else 1) for state in program.interface.states)
    found = brainir.add_hidden_perturbation(program.replace(interface=program.interface.replace(states=states)))
    assert [value.shape for value in found.perturb_vars] == [(N, 2)]


def test_perturbations_are_the_last_arguments_in_state_order() -> None:
    found = brainir.add_hidden_perturbation(lower(chain))
    assert [argument.name for argument in found.program.interface.arguments[-2:]] == [
        "perturb_a",
        "perturb_b",
    ]
    assert found.perturb_hidden_paths == (("a",), ("b",))
    assert [value.type for value in found.perturb_vars] == ["f32[4]", "f32[4]"]
    assert "+ perturb.a:f32[4]" in repr(found)


def test_a_boolean_hidden_state_cannot_be_perturbed() -> None:
    with pytest.raises(brainir.BrainIRError, match="hidden state b has type bool"):
        brainir.add_hidden_perturbation(lower(lambda p, h, x: ({"b": ~h["b"]}, x), {"b": jnp.zeros(N, bool)}))
