"""Tracing without the jit of ``jax.make_jaxpr`` gives the jaxpr that this gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.tracing import make_jaxpr
from brainir.ir.errors import LoweringError

X = jnp.arange(6.0).reshape(2, 3)
TABLE = jnp.arange(4.0)

OPERANDS: dict[str, tuple[Any, ...]] = {
    "arrays": (X, X.astype(jnp.bfloat16)),
    "numbers of Python": (1.5, 2),
    "numbers of numpy": (np.float32(1.5), np.int16(2)),
    "arrays of numpy": (np.ones((2, 3)), np.arange(3)),
    "specs": (jax.ShapeDtypeStruct((2, 3), jnp.float32, weak_type=True), jax.ShapeDtypeStruct((3,), jnp.int8)),
    "keys": (jax.random.key(0), X),
}


def combined(x: Any, y: Any) -> Any:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.normal(x, y.shape) + y
    with jax.named_scope("scope"):
        return {"sum": jnp.sin(x) * y + TABLE[1], "loop": jax.lax.fori_loop(0, 3, lambda _, z: z * 2, y), "same": x}


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize("wide", [False, True])
def test_it_is_the_jaxpr_of_jax(name: str, wide: bool) -> None:
    with jax.enable_x64(wide):
        found, expected = make_jaxpr(combined)(*OPERANDS[name]), jax.make_jaxpr(combined)(*OPERANDS[name])
        assert str(found) == str(expected)
        assert (found.in_avals, found.out_avals) == (expected.in_avals, expected.out_avals)
        for mine, other in zip(found.consts, expected.consts, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_it_is_the_jaxpr_of_jax_within_transformations() -> None:
    seen = []

    def inner(x: Any) -> Any:
        def scaled(y: Any) -> Any:
            return y * jnp.tanh(x)

        seen.append((str(make_jaxpr(scaled)(X[0])), str(jax.make_jaxpr(scaled)(X[0]))))
        return x.sum()

    for transformed in (jax.grad(inner), jax.vmap(inner), jax.jit(inner)):
        transformed(X[0] if transformed is not jax.vmap else X)
    assert all(found == expected for found, expected in seen)
    assert len(seen) == 3


def test_an_error_names_the_function_and_its_arguments() -> None:
    def step(x: Any, params: Any) -> Any:
        return x if (x * params["w"]).sum() > 0 else -x

    with pytest.raises(jax.errors.TracerBoolConversionError, match=r"step at .*test_tracing.* arguments x and w\."):
        brainir.lower(step, X, {"w": X})


def test_what_settings_of_jax_forbid_is_refused() -> None:
    def twice(key: Any) -> Any:
        return jax.random.normal(key) + jax.random.uniform(key)

    key = jax.random.key(0)
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        brainir.lower(twice, key)
    with jax.no_tracing(True), pytest.raises(RuntimeError, match="'no_tracing' is set"):
        brainir.lower(twice, key)


def test_a_number_that_is_too_large_is_named() -> None:
    with pytest.raises(OverflowError, match=r"operands\[1\]"):
        brainir.lower(lambda x, y: x + y, X, 10**40)


def test_a_type_is_no_result() -> None:
    with pytest.raises(LoweringError, match="the result holds ShapeDtypeStruct"):
        brainir.lower(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), X)


def test_a_reference_of_the_caller_is_traced_by_jax() -> None:
    reference = jax.new_ref(X)
    assert str(make_jaxpr(lambda ref: ref[...])(reference)) == str(jax.make_jaxpr(lambda ref: ref[...])(reference))
