"""References that live within a function become values; others are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir
from tests.compare import assert_same_bits

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


@jax.custom_jvp
def spike(v: Any) -> Any:
    return (v > 0).astype(v.dtype)


spike.defjvp(lambda primals, tangents: (spike(*primals), 0.5 * tangents[0]))


def accumulated(x: Any) -> Any:
    """Return spikes summed up in a loop."""
    held = jax.new_ref(jnp.zeros_like(x))

    def body(_: Any, c: Any) -> Any:
        held[...] += spike(x * c - 1.0)
        return c * 1.5

    return jax.lax.fori_loop(0, 3, body, 0.5) + held[...]


def scanned(x: Any) -> Any:
    """Return what two references hold at last, one of them of a number, and what a third held at each step."""
    held, count, only_read = jax.new_ref(x), jax.new_ref(0.0), jax.new_ref(x * 2.0)

    def body(c: Any, v: Any) -> Any:
        count[...] += spike(v)
        held[2] = count[...] * c
        return c + only_read[0], held[1:3]

    return jax.lax.scan(body, 1.0, x), held[...], count[...]


def until(x: Any) -> Any:
    """Return what a loop with a condition wrote, element by element."""
    held = jax.new_ref(x)

    def body(carry: Any) -> Any:
        held[carry[0]] = spike(held[carry[0]] - 1.0) + carry[1]
        return carry[0] + 1, carry[1] * 2.0

    return jax.lax.while_loop(lambda carry: carry[0] < 3, body, (0, 1.0)), held[...]


def chosen(x: Any) -> Any:
    """Return what branches wrote, each to another reference, and neither to one that both read."""
    first, second, only_read = jax.new_ref(x), jax.new_ref(x * 2.0), jax.new_ref(x * 3.0)

    def one(v: Any) -> Any:
        first[...] = spike(v) * only_read[...]
        return v

    def other(v: Any) -> Any:
        second[1:3] = v[1:3] + only_read[0]
        return v * 2.0

    taken = [jax.lax.cond(x[0] > bound, one, other, x) for bound in (0.0, 1.0)]
    return taken, first[...], second[...], only_read[...]


def called(x: Any) -> Any:
    """Return what a function under ``jit``, one that is computed again, and loops within loops wrote."""
    held = jax.new_ref(x)

    @jax.jit
    def step(v: Any) -> Any:
        inner = jax.new_ref(v)
        inner[0] = 3.0
        held[::2] = spike(inner[...])[::2]
        return inner[...] + held[...]

    @jax.checkpoint
    def again(v: Any) -> Any:
        held[...] = held[...] * v
        return jnp.sin(v)

    def outer(i: Any, c: Any) -> Any:
        def body(j: Any, c: Any) -> Any:
            held[j] += i * 0.5
            return c

        return jax.lax.fori_loop(0, 2, body, c)

    return step(x) + step(x * 2.0), again(x), jax.lax.fori_loop(0, 2, outer, x), jax.freeze(held)


@pytest.mark.parametrize("fn", [accumulated, scanned, until, chosen, called], ids=lambda fn: fn.__name__)
def test_references_in_control_flow_become_values_and_rules_are_kept(fn: Any) -> None:
    def tangents(fn: Any) -> Any:
        return jax.jit(lambda x: jax.jvp(fn, (x,), (x,)))(X)

    program = brainir.loads(brainir.dumps(brainir.lower(fn, X)))
    ours = brainir.to_callable(program)
    assert_same_bits(tangents(ours), tangents(fn))
    assert jax.eval_shape(ours, X) == jax.eval_shape(fn, X)
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)
    spikes = [node for function in program.functions for node in function.nodes if node.op == "custom_jvp"]
    assert {node.function for node in spikes} >= {"spike"}


def test_a_reference_that_no_branch_writes_to_is_only_given_to_them() -> None:
    program = brainir.lower(chosen, X)
    conds = [node for node in program.function("chosen").nodes if node.op == "cond"]
    assert [len(node.outputs) for node in conds] == [3, 3]


def test_a_number_that_a_reference_holds_is_no_operand() -> None:
    @jax.checkpoint
    def fn(y: Any, x: Any) -> Any:
        held = jax.new_ref(x)
        out = y * held[...]
        held[...] += 1.0
        return out

    program = brainir.lower(jax.grad(fn), 2.0, 1.0)
    again = brainir.lower(brainir.to_callable(program), 2.0, 1.0)
    assert brainir.fingerprint(again) == brainir.fingerprint(program)


def test_a_backward_rule_in_a_loop_with_references_is_kept() -> None:
    def fn(x: Any) -> Any:
        held = jax.new_ref(jnp.zeros(4))

        def body(_: Any, c: Any) -> Any:
            held[...] += tripled(c)
            return c

        jax.lax.fori_loop(0, 3, body, x)
        return held[...]

    assert_same_bits(jax.grad(lambda x: brainir.to_callable(brainir.lower(fn, X))(x).sum())(X), jnp.full(4, 9.0))


def test_a_derivative_rule_of_a_function_that_is_given_a_reference_is_not_lost() -> None:
    @jax.custom_vjp
    def write(held: Any, x: Any) -> Any:
        held[...] = x * 2.0
        return x

    write.defvjp(lambda held, x: (write(held, x), None), lambda _, g: (None, g * 3.0))

    def fn(x: Any) -> Any:
        held = jax.new_ref(x)
        return write(held, x) + held[...]

    with pytest.raises(brainir.BrainIRError, match="lose a derivative rule"):
        brainir.lower(fn, X)


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
