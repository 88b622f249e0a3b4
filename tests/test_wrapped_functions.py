"""What JAX wraps around functions: names and attributes of composites, batching rules, shardings of nested jits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive

import brainir
from tests.compare import assert_same_bits
from tests.control_programs import CONTROL_PROGRAMS

X = jnp.linspace(-1.0, 2.0, 4)
B = jnp.stack([X, X[::-1], X * 3])


def back(fn: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    return brainir.to_callable(brainir.loads(brainir.dumps(brainir.lower(fn, *args))))


def executed(program: brainir.Program) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), namespace)
    function: Callable[..., Any] = namespace[program.entry]
    return function


def compiled_from(fn: Callable[..., Any], args: Any) -> str:
    def run(*args: Any) -> Any:
        return fn(*args)

    return str(jax.jit(run).lower(*args).as_text())


@pytest.mark.parametrize(
    ("name", "shown"), [("composite", 'stablehlo.composite "tests.scaled_sine"'), ("calls with shardings", "sharding")]
)
def test_the_compiler_gets_the_same_text(name: str, shown: str) -> None:
    fn, args, *_ = CONTROL_PROGRAMS[name]
    text = compiled_from(fn, args)
    assert shown in text
    assert compiled_from(back(fn, *args), args) == text


def test_a_composite_with_an_attribute_that_is_no_python_number_is_refused() -> None:
    named = lax.composite(lambda x, *, scale: x * scale, name="tests.scale")
    with pytest.raises(brainir.BrainIRError, match=r"composite: its attribute scale=.*is no Python number"):
        brainir.lower(lambda x: named(x, scale=np.float32(2)), X)


def test_a_batch_goes_one_by_one_where_the_original_does() -> None:
    one_by_one = jax.custom_batching.sequential_vmap(lambda x, y: jnp.cumsum(jnp.tanh(x)) * y)
    program = brainir.lower(one_by_one, X, 2.0)
    batch = jnp.stack([X, X[::-1], X * 3]), jnp.arange(3.0)
    wanted = jax.jit(jax.vmap(one_by_one))(*batch)
    for ours in (brainir.to_callable(program), executed(program)):
        assert_same_bits(jax.jit(jax.vmap(ours))(*batch), wanted)
        assert "scan" in {equation.primitive.name for equation in jax.make_jaxpr(jax.vmap(ours))(*batch).eqns}


def test_a_batch_of_derivatives_goes_one_by_one_where_the_original_does() -> None:
    one_by_one = jax.custom_batching.sequential_vmap(lambda x, y: jnp.cumsum(jnp.tanh(x)) * y)

    def pushed(x: Any, y: Any) -> Any:
        return jax.jvp(lambda x, y: jax.jvp(one_by_one, (x, y), (x, y))[1], (x, y), (y * x, y))

    program = brainir.lower(pushed, X, 2.0)
    batch = jnp.stack([X, X[::-1], X * 3]), jnp.arange(3.0)
    wanted = jax.jit(jax.vmap(pushed))(*batch)
    for ours in (brainir.to_callable(program), executed(program)):
        assert_same_bits(jax.jit(jax.vmap(ours))(*batch), wanted)
        assert "scan" in {equation.primitive.name for equation in jax.make_jaxpr(jax.vmap(ours))(*batch).eqns}
    assert brainir.fingerprint(brainir.lower(brainir.to_callable(program), X, 2.0)) == brainir.fingerprint(program)


def test_a_batch_that_needs_a_rule_of_its_own_is_refused_rather_than_computed_otherwise() -> None:
    fn, args, *_ = CONTROL_PROGRAMS["batching rules"]
    program = brainir.lower(fn, *args)
    batch = [jnp.stack([arg, arg]) for arg in args]
    for ours, error in ((brainir.to_callable(program), brainir.BrainIRError), (executed(program), NotImplementedError)):
        with pytest.raises(error, match=r"batching rule .*_batched_rule"):
            jax.vmap(ours)(*batch)


@jax.custom_batching.custom_vmap
def pair(x: Any, y: Any) -> Any:
    return {"sum": jnp.sin(x) + y, "product": x * y}


@pair.def_vmap
def pair_rule(size: int, batched: Any, x: Any, y: Any) -> Any:
    # Not what the function computes, and another thing for every batch.
    x, y = (
        part if is_batched else jnp.broadcast_to(part, (size, *part.shape))
        for part, is_batched in zip((x, y), batched, strict=True)
    )
    whole = {"sum": jnp.cos(x) * size, "product": y.sum(0)}
    return whole, {"sum": True, "product": False}


BATCHES: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "once": lambda fn: jax.vmap(fn)(B, B + 1),
    "one operand": lambda fn: jax.vmap(fn, (None, 1))(X, B.T),
    "twice": lambda fn: jax.vmap(jax.vmap(fn, (0, None)), (None, 0))(B, B + 1),
    "in a scan": lambda fn: lax.scan(lambda c, x: (c + 1, jax.vmap(fn, (0, None))(x, c)), X, jnp.stack([B, -B])),
    "of derivatives": lambda fn: jax.vmap(lambda x, y: jax.jvp(fn, (x, y), (y, x)))(B, B + 1),
    "derivative": lambda fn: jax.jvp(jax.vmap(fn), (B, B + 1), (B - 1, B)),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batching_rule_that_is_given_is_that_of_the_original(name: str) -> None:
    batches = BATCHES[name]
    program = brainir.loads(brainir.dumps(brainir.lower(lambda x, y: pair(x * 2, y), X, X)))
    (node,) = [node for node in program.entry_function.nodes if node.op == "custom_vmap"]
    rule = pair_rule.__name__
    assert node.rule == rule
    ours = brainir.to_callable(program, externals={rule: pair_rule})
    assert brainir.fingerprint(brainir.lower(ours, X, X)) == brainir.fingerprint(program)
    source: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), source)
    source["BATCHING_RULES"][rule] = pair_rule
    wanted = jax.jit(batches, static_argnums=0)(lambda x, y: pair(x * 2, y))
    for fn in (ours, source[program.entry]):
        assert_same_bits(jax.jit(batches, static_argnums=0)(fn), wanted)


def test_a_batching_rule_that_is_no_function_is_refused() -> None:
    program = brainir.lower(pair, X, X)
    with pytest.raises(brainir.BrainIRError, match="the externals 'pair_rule' are no functions"):
        brainir.to_callable(program, externals={"pair_rule": 3})  # type: ignore[dict-item]


def test_the_rule_that_jax_makes_of_a_batching_rule_has_no_name() -> None:
    program = brainir.lower(lambda x, y: jax.jvp(pair, (x, y), (y, x)), X, X)
    ours = brainir.to_callable(program)
    assert brainir.fingerprint(brainir.lower(ours, X, X)) == brainir.fingerprint(program)
    for fn, error in ((ours, brainir.BrainIRError), (executed(program), NotImplementedError)):
        with pytest.raises(error, match="custom_vmap function"):
            jax.vmap(fn)(B, B)


def test_a_call_with_shardings_is_not_inlined() -> None:
    fn, args, *_ = CONTROL_PROGRAMS["calls with shardings"]
    program = brainir.run_passes(brainir.lower(fn, *args), ["inline"])
    assert [node.op for node in program.entry_function.nodes] == ["call", "call"]


def test_a_batch_has_one_value_for_all_examples_where_the_original_has() -> None:
    fn, args, *_ = CONTROL_PROGRAMS["one for a batch"]
    program = brainir.lower(fn, *args)
    # No number of the first example is large, one of the second is.
    batch, axes = (jnp.stack([X * 0, X * 0 + 2]), jnp.array([[1, 5, 2], [7, 0, 3]])), (0, None, None)
    for ours in (brainir.to_callable(program), executed(program)):
        mapped = jax.jit(jax.vmap(jax.vmap(ours, out_axes=axes), out_axes=axes))
        nested, every, largest = mapped(*(part[:, None] for part in batch))
        assert_same_bits(nested, jnp.sin(batch[0])[:, None])
        assert (bool(every), int(largest)) == (False, 7)
        chosen, *_ = jax.jit(jax.vmap(ours, in_axes=(0, None), out_axes=axes))(batch[0], args[1])
        assert_same_bits(chosen, jnp.sin(batch[0]))
        assert_same_bits(ours(*args)[0], jnp.where(jnp.any(args[0] > 1.5), jnp.sin(args[0]), args[0]))


def test_a_choice_that_a_batch_makes_has_the_type_that_the_original_gives_it() -> None:
    primitive = Primitive("select_if_vmap")
    primitive.def_abstract_eval(lambda chosen, first, second: first)
    weak, strong = jax.ShapeDtypeStruct((), jnp.int32, weak_type=True), jax.ShapeDtypeStruct((), jnp.int32)
    chosen = jax.ShapeDtypeStruct((), bool)
    for first, second in ((weak, strong), (strong, weak), (weak, weak)):
        program = brainir.lower(primitive.bind, chosen, first, second)
        again = brainir.lower(brainir.to_callable(program), chosen, first, second)
        assert brainir.fingerprint(again) == brainir.fingerprint(program)
