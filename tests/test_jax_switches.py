"""A program does not depend on the switches of JAX that make other primitives of the same operations."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import brainir
from tests.compare import JAX, assert_same_bits

X = jnp.array([0.3, -1.2, 2.0])


@jax.custom_jvp
def tripled(x: Any) -> Any:
    return jnp.sin(x)


tripled.defjvp(lambda primals, tangents: (tripled(*primals), 3 * tangents[0]))


@jax.custom_vjp
def scaled(x: Any, y: Any) -> Any:
    return jnp.sin(x) * y


scaled.defvjp(lambda x, y: (scaled(x, y), (x, y)), lambda held, ct: (2 * ct * held[1], ct * held[0]))


def rules(x: Any) -> Any:
    return tripled(x) + scaled(x, x + 1)


def loop(x: Any) -> Any:
    return lax.scan(lambda carry, item: (carry * jnp.cos(item), carry), jnp.float32(1), x)


def remat(x: Any) -> Any:
    policy = jax.checkpoint_policies.save_only_these_names("kept")
    return jax.checkpoint(lambda x: checkpoint_name(jnp.cos(x), "kept") * jnp.sin(x), policy=policy)(x)


SWITCHED = {
    "jax_custom_jvp3": rules,
    "jax_custom_vjp3": rules,
    "jax_remat3": remat,
    "jax_scan3": loop,
}


if JAX >= (0, 10):

    @pytest.fixture(params=[name for name in SWITCHED if hasattr(jax.config, name)])
    def switch(request: pytest.FixtureRequest) -> Iterator[str]:
        jax.config.update(request.param, True)
        yield request.param
        jax.config.update(request.param, False)

    def lowered_with(switch: str, setting: bool) -> brainir.Program:
        jax.config.update(switch, setting)
        return brainir.lower(SWITCHED[switch], X)

    def test_the_program_is_the_same_with_a_switch_on(switch: str) -> None:
        on, off = (brainir.dumps(lowered_with(switch, setting)) for setting in (True, False))
        assert on == off

    def test_the_program_runs_with_a_switch_on(switch: str) -> None:
        program = lowered_with(switch, False)
        jax.config.update(switch, True)
        ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
        assert_same_bits(jax.jit(ours)(X), jax.jit(SWITCHED[switch])(X))

    def test_the_switch_is_as_it_was(switch: str) -> None:
        brainir.lower(SWITCHED[switch], X)
        assert getattr(jax.config, switch)

    def test_remat_that_was_traced_with_its_switch_on_is_kept() -> None:
        jax.config.update("jax_remat3", True)
        try:
            traced = jax.make_jaxpr(remat)(X)
        finally:
            jax.config.update("jax_remat3", False)
        program = brainir.lower(lambda x: jax.core.eval_jaxpr(traced.jaxpr, traced.consts, x), X)
        (kept,) = [node for function in program.functions for node in function.nodes if node.op == "checkpoint"]
        assert kept.policy.names == ("kept",)
        assert "name" in [node.op for function in program.functions for node in function.nodes]
        assert_same_bits(jax.jit(brainir.to_callable(program))(X), [jax.jit(remat)(X)])


if JAX >= (0, 12):

    def made(symbolic_zeros: bool = False) -> Any:
        """Return a function whose rule, which is not the derivative, JAX makes a primitive of hijax of."""
        fn: Any = jax.custom_vjp(lambda x, y: jnp.sin(x) * y)
        fn.defvjp(
            lambda x, y: (jnp.sin(x) * y, (x, y)),
            lambda held, ct: (2 * ct * held[1], ct * held[0]),
            generic_batching=True,
            symbolic_zeros=symbolic_zeros,
        )
        return fn

    def alone(x: Any) -> Any:
        return made()(x, 2 * x)

    def mapped(x: Any) -> Any:
        return jax.vmap(made(), (0, None))(x, 3.0)

    def in_a_loop(x: Any) -> Any:
        return lax.scan(lambda carry, item: (made()(carry, item), carry), x[0], x)[0]

    @pytest.mark.parametrize("fn", [alone, mapped, in_a_loop])
    def test_a_custom_vjp_with_generic_batching_keeps_its_rule(fn: Any) -> None:
        program = brainir.lower(fn, X)
        ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
        got, wanted = (
            jax.jit(jax.value_and_grad(lambda x, each=each: jnp.sum(each(x))))(X)  # type: ignore[misc]
            for each in (ours, fn)
        )
        assert_same_bits(got, wanted)
        assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)

    def test_generic_batching_with_symbolic_zeros_is_refused() -> None:
        with pytest.raises(
            brainir.BrainIRError, match="both generic_batching and symbolic_zeros; leave one of them out"
        ):
            brainir.lower(lambda x: made(symbolic_zeros=True)(x, x), X)

    def test_an_error_of_jax_tells_that_a_switch_is_off(switch: str) -> None:
        def needy(x: Any) -> Any:
            raise RuntimeError("this needs a switch")

        with pytest.raises(RuntimeError) as caught:
            brainir.lower(needy, X)
        assert any(f"brainir lowers with {switch} off" in note for note in caught.value.__notes__)
