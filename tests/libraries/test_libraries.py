"""Programs of other libraries come back through JSON as the functions they were, with their derivatives."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.compare import assert_same_bits
from tests.libraries.programs import PROGRAMS, LibraryProgram, installed

NAMES = [name for name in PROGRAMS if installed(name)]
WITHOUT_GRADIENTS = ("a step of NUTS of blackjax", "a training step of Flax NNX from State to State")
SOLVES = [name for name in NAMES if name.endswith("of lineax")]
AGAIN = [
    "a solve of diffrax in as many steps as it takes",
    "a solve of diffrax by an implicit method",
    "checks of Equinox at run time",
    "a function that Equinox compiles apart",
    *SOLVES,
]
built = functools.cache(lambda name: PROGRAMS[name][1]())


def never(*args: Any) -> Any:
    raise AssertionError("a check failed")


@functools.cache
def regenerated(name: str) -> Callable[..., Any]:
    case: LibraryProgram = built(name)
    return back(case.fn, case.args)


def back(fn: Callable[..., Any], args: Any) -> Callable[..., Any]:
    """Return a function that is lowered, stored, read and emitted."""
    program = brainir.lower(fn, *args)
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    # Equinox checks at run time through callbacks, which here are never called.
    nodes = [node for function in loaded.functions for node in function.nodes]
    externals = {node.name: never for node in nodes if node.op == "pure_callback"}
    return brainir.to_callable(loaded, externals=externals)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_the_same_to_the_bit(name: str) -> None:
    case: LibraryProgram = built(name)
    got, wanted = (jax.jit(fn)(*case.args) for fn in (regenerated(name), case.fn))
    assert_same_bits(got, wanted)


@pytest.mark.parametrize("name", ["a solve of diffrax in as many steps as it takes"])
def test_batches_are_the_same_to_the_bit(name: str) -> None:
    # Each example takes another number of steps: those that are done wait for the others.
    case: LibraryProgram = built(name)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), case.args)
    got, wanted = (jax.jit(jax.vmap(fn))(*batch) for fn in (regenerated(name), case.fn))
    assert wanted[1][0] != wanted[1][1]
    assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))


@pytest.mark.parametrize("name", AGAIN)
def test_what_comes_back_is_lowered_to_the_same_program(name: str) -> None:
    case: LibraryProgram = built(name)
    again = brainir.lower(regenerated(name), *case.args)
    assert brainir.fingerprint(again) == brainir.fingerprint(brainir.lower(case.fn, *case.args))


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    def summed(*args: Any) -> Any:
        leaves = [leaf for leaf in jax.tree.leaves(fn(*args)) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)

    return summed


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_GRADIENTS])
def test_gradients_are_the_same_to_the_bit(name: str) -> None:
    case: LibraryProgram = built(name)
    got, wanted = (jax.jit(jax.grad(total(fn), case.along))(*case.args) for fn in (regenerated(name), case.fn))
    assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))


@pytest.mark.parametrize("name", ["checks of Equinox at run time", *SOLVES])
def test_gradients_of_batches_are_the_same_to_the_bit(name: str) -> None:
    case: LibraryProgram = built(name)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), case.args)
    got, wanted = (jax.jit(jax.vmap(jax.grad(total(fn), case.along)))(*batch) for fn in (regenerated(name), case.fn))
    assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))


@pytest.mark.parametrize("name", SOLVES)
def test_tangents_are_the_same_to_the_bit(name: str) -> None:
    case: LibraryProgram = built(name)
    got, wanted = (
        jax.jit(lambda *args, fn=fn: jax.jvp(fn, args, args))(*case.args) for fn in (regenerated(name), case.fn)
    )
    assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))


@pytest.mark.parametrize("name", SOLVES)
def test_derivatives_of_gradients_are_the_same_up_to_rounding(name: str) -> None:
    """The tangent of a transposed solve is two solves of the regenerated program, one of the original."""
    case: LibraryProgram = built(name)

    def second(fn: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: jax.jvp(jax.grad(total(fn), case.along), args, args)[1]

    got, wanted = (jax.jit(second(fn))(*case.args) for fn in (regenerated(name), case.fn))
    for mine, its in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["a root of optimistix", "a solve of diffrax with ImplicitAdjoint", "a solve by CG of lineax"]
)
def test_a_gradient_is_lowered_and_has_the_gradient_of_the_original(name: str) -> None:
    case: LibraryProgram = built(name)
    gradient = jax.grad(total(case.fn), case.along)
    again = [jax.grad(total(fn), case.along) for fn in (back(gradient, case.args), gradient)]
    got, wanted = (jax.jit(fn)(*case.args) for fn in again)
    assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))


def test_derivatives_of_high_order_are_the_same_to_the_bit() -> None:
    """A singular value decomposition solves with the matrix, its transpose and their conjugates in every order."""
    case: LibraryProgram = built("a solve by SVD of lineax")

    def fourth(fn: Callable[..., Any]) -> Callable[..., Any]:
        def along(scale: Any) -> Any:
            return jnp.sum(jnp.sin(fn(case.args[0] * scale, case.args[1])))

        return functools.reduce(lambda f, _: jax.jacfwd(f), range(4), along)

    got, wanted = (jax.jit(fourth(fn))(jnp.float32(1.5)) for fn in (regenerated("a solve by SVD of lineax"), case.fn))
    assert_same_bits([got], [wanted])


@pytest.mark.parametrize("name", [name for name in NAMES if name == "a function that Equinox compiles apart"])
def test_where_the_process_keeps_a_function_is_not_in_the_program(name: str) -> None:
    from equinox.internal import noinline

    first, second = (noinline(jnp.tanh) for _ in range(2))
    programs = [brainir.lower(lambda x, fn=fn: fn(x), jnp.ones(3)) for fn in (first, second)]
    assert len(set(map(brainir.dumps, programs))) == 1, name
    with pytest.raises(brainir.BrainIRError, match="noinline: which function it runs is an operand"):
        brainir.lower(lambda fn, x: fn(x), first, jnp.ones(3))
