"""References that live within a function become values; others are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir
from tests.compare import JAX, assert_same_bits

X = jnp.linspace(0.5, 2.0, 4)


@jax.custom_vjp
def tripled(x: Any) -> Any:
    return x * 2.0


tripled.defvjp(lambda x: (x * 2.0, None), lambda _, g: (g * 3.0,))


def test_a_derivative_rule_beside_a_reference_is_kept() -> None:
    def fn(x: Any) -> Any:
        held = jax.new_ref(x)
        held[...] = tripled(held[...])
        return held[...] * 2.0

    assert_same_bits(jax.grad(lambda x: brainir.to_callable(brainir.lower(fn, X))(x).sum())(X), jnp.full(4, 6.0))


def test_a_derivative_rule_in_a_loop_with_references_is_kept_or_refused() -> None:
    def fn(x: Any) -> Any:
        held = jax.new_ref(jnp.zeros(4))

        def body(i: Any, c: Any) -> Any:
            held[...] += tripled(c)
            return c

        jax.lax.fori_loop(0, 3, body, x)
        return held[...]

    if JAX >= (0, 10):
        with pytest.raises(brainir.BrainIRError, match="lose a derivative rule"):
            brainir.lower(fn, X)
    else:
        program = brainir.lower(fn, X)
        assert_same_bits(jax.grad(lambda x: brainir.to_callable(program)(x).sum())(X), jnp.full(4, 9.0))


def test_a_reference_from_outside_is_refused() -> None:
    held = jax.new_ref(X)

    def reading(x: Any) -> Any:
        return held[...] + x

    def writing(given: Any, x: Any) -> Any:
        given[...] = x
        return x

    with pytest.raises(brainir.BrainIRError, match="reading: it closes over a reference; give the function the value"):
        brainir.lower(reading, X)
    with pytest.raises(brainir.BrainIRError, match=r"swap: it works on a reference that does not live.*\(writing\)"):
        brainir.lower(writing, held, X)


def test_what_a_reference_held_has_the_weak_type_that_jax_says_of_the_result() -> None:
    @jax.jit
    def fn(x: Any) -> Any:
        held = jax.new_ref(x)
        held[...] = jnp.ones(())
        return held[...]

    program = brainir.lower(fn, 1.5)
    for ours in (brainir.to_callable(program), brainir.to_callable(brainir.run_passes(program))):
        assert jax.eval_shape(ours, 1.5) == jax.eval_shape(fn, 1.5)
    assert brainir.fingerprint(brainir.lower(brainir.to_callable(program), 1.5)) == brainir.fingerprint(program)


def test_a_reference_within_a_shard_map_is_taken_out_among_the_axes_of_its_mesh() -> None:
    def body(x: Any) -> Any:
        held = jax.new_ref(x)
        held[0] = held[1] * jax.lax.axis_index("d")
        return jax.lax.psum(held[...], "d")

    mesh = jax.sharding.Mesh(jax.devices()[:1], ("d",))
    spec = jax.sharding.PartitionSpec("d")
    fn = jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=jax.sharding.PartitionSpec())
    program = brainir.lower(fn, X)
    ours = brainir.to_callable(program)
    assert_same_bits(jax.jit(ours)(X), jax.jit(fn)(X))
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)
