"""Programs on eight devices, compared with what comes back from their JSON; run by tests/test_parallel.py."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import brainir
from brainir.analysis import inline_calls
from brainir.ir.ops import SCHEMAS
from tests import alone
from tests.compare import JAX, assert_same_bits

MESH = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))
X = jnp.asarray(np.random.default_rng(1).normal(size=(8, 4)), jnp.float32)


def mapped(fn: Callable[..., Any], in_specs: Any, out_specs: Any, **options: Any) -> Callable[..., Any]:
    return jax.shard_map(fn, mesh=MESH, in_specs=in_specs, out_specs=out_specs, **options)


def exchange(x: Any) -> Any:
    return (
        lax.psum(x, "x"),
        lax.pmax(lax.stop_gradient(x), "x"),
        lax.pmin(lax.stop_gradient(x), "x"),
        lax.pmean(x, "x"),
        lax.all_gather(x, "x"),
        lax.all_gather(x, "x", axis=1, tiled=True),
        lax.ppermute(x, "x", [(0, 1), (1, 2), (3, 0)]),
        lax.all_to_all(x, "y", 1, 0, tiled=True),
        lax.all_to_all(x, "y", 0, 0),
        lax.psum_scatter(x.reshape(4, 1), "x"),
        lax.psum_scatter(x.reshape(4, 1), "x", tiled=True),
        lax.axis_index("x") + lax.axis_index("y"),
    )


def joined(x: Any) -> Any:
    if JAX < (0, 9):
        return lax.all_gather_invariant(x, "x"), lax.all_gather_invariant(x, "x", axis=1, tiled=True)
    return lax.all_gather(x, "x", to="invarying"), lax.all_gather(x, "x", axis=1, tiled=True, to="invarying")


def ragged(x: Any) -> Any:
    places = jnp.arange(4, dtype=jnp.int32)
    return lax.ragged_all_to_all(x, x, places >> 1, jnp.ones(4, jnp.int32), places, places & 1, axis_name="x")


def summed(x: Any) -> Any:
    return sum(jnp.sum(leaf[None]) for leaf in jax.tree.leaves(exchange(x)) if leaf.dtype == jnp.float32)[None]


def looping(x: Any) -> Any:
    def body(c: Any, a: Any) -> Any:
        c = lax.cond(jnp.sum(c) > 0, jnp.sin, jnp.cos, c) + lax.ppermute(a, "x", [(0, 1), (1, 0)])
        return c, lax.psum(c, "x")

    c, ys = lax.scan(body, x, jnp.stack([x, 2 * x]))
    return lax.while_loop(lambda s: lax.psum(jnp.sum(s), ("x", "y")) > 1.0, lambda s: s * 0.5, c), ys


def constrained(x: Any) -> Any:
    y = lax.with_sharding_constraint(jnp.sin(x), NamedSharding(MESH, P("x", None)))
    z = lax.with_sharding_constraint(y @ y.T, NamedSharding(MESH, P(None, ("y", "x"))))
    return lax.with_sharding_constraint(z, NamedSharding(MESH, P(P.UNCONSTRAINED, "y"))) * 2


def placed_within(x: Any) -> Any:
    """Name places on the axis that is left to the compiler, by the mesh as it is outside."""
    y = lax.with_sharding_constraint(jnp.sin(x), NamedSharding(MESH, P("y")))
    zeros = jax.jit(lambda: jnp.zeros((2, 4)), out_shardings=NamedSharding(MESH, P(None, "y")))()
    return lax.ppermute(y, "x", [(0, 1), (1, 2), (2, 3), (3, 0)]) + zeros


@jax.custom_jvp
def shared(x: Any) -> Any:
    return jnp.sin(x)


@shared.defjvp
def _shared_jvp(primals: Any, tangents: Any) -> Any:
    """Move every device by the mean of all, which is not the derivative."""
    return shared(*primals), lax.pmean(tangents[0], "x") * primals[0] + 0.0 * tangents[0]


@jax.custom_vjp
def weighted(x: Any, w: Any) -> Any:
    return x * w


weighted.defvjp(
    lambda x, w: (weighted(x, w), (x, w)),
    lambda held, ct: (ct * held[1] * lax.axis_index("x"), lax.psum(ct * held[0], ("x", "y")).sum()),
)


@jax.custom_vjp
def doubled(x: Any) -> Any:
    return 2.0 * x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, ct: (3.0 * ct,))


def ordered(x: Any) -> Any:
    """Sort with places of elements, which do not vary between devices as what they are places of does."""
    first, second, third = lax.sort((x, jnp.cos(x), jnp.sin(x)), dimension=0, num_keys=2)
    return jnp.sort(x, axis=0) * second + first * third + x[jnp.argsort(x[:, 0])]


def with_rules(x: Any) -> Any:
    x, _ = lax.scan(lambda c, _: (shared(c), None), jax.nn.relu(x), None, 2)
    return x * jax.nn.logsumexp(x, axis=0)


def weighted_everywhere(x: Any) -> Any:
    return mapped(lambda x, w: weighted(x, w) + jax.nn.silu(x), (CUT, P()), CUT)(x, x[0, 0])


def doubled_in_a_loop(x: Any) -> Any:
    """In its gradient, the number that is the same in every step is an operand of the function with a rule."""

    def value(x: Any) -> Any:
        return mapped(lambda x: lax.scan(lambda c, _: (doubled(c), None), x, None, 1)[0] * x, CUT, CUT)(x).sum()

    return jax.value_and_grad(value)(x)[0] * x


CUT = P(("x",), "y")
FREE = dict(check_vma=False)
PROGRAMS: dict[str, tuple[Callable[..., Any], bool]] = {
    "constraints": (constrained, True),
    "exchange": (mapped(summed, CUT, P(("x", "y"))), True),
    "exchange without checks": (mapped(summed, CUT, P(("x", "y")), **FREE), True),
    "loops": (mapped(looping, CUT, (CUT, P(None, None, "y"))), False),
    "some axes": (mapped(lambda x: lax.psum(jnp.sin(x), "x"), P("x"), P(), axis_names={"x"}), True),
    "places among some axes": (mapped(placed_within, P("x"), P("x"), axis_names={"x"}, **FREE), True),
    "gradient": (jax.grad(lambda x: mapped(lambda x: lax.psum(jnp.sin(x), "x"), P("x"), P())(x).sum()), True),
    "orders": (mapped(ordered, CUT, CUT), True),
    # JAX 0.12 adds the parts of its second derivative in another order than those of a function that it did not
    # differentiate itself.
    "gradient of orders": (jax.grad(lambda x: mapped(ordered, CUT, CUT)(x).sum()), False),
    "rules": (mapped(with_rules, CUT, CUT), True),
    "rules without checks": (mapped(with_rules, CUT, CUT, **FREE), True),
    "collectives of vmap": (
        jax.vmap(lambda x: (x - lax.pmean(x, "batch"), lax.axis_index("batch")), axis_name="batch"),
        True,
    ),
    # Its gradient begins with a number that is placed on the mesh.
    "gradient of a scalar": (jax.grad(lambda x: mapped(lambda x: lax.psum(jnp.sum(x**2), "x"), P("x"), P())(x)), True),
    # Its transpose has a psum along no axis.
    "gradient of collectives of vmap": (
        jax.grad(lambda x: jax.vmap(lambda x: jnp.sin(x - lax.pmean(x * x, "batch")), axis_name="batch")(x).sum()),
        True,
    ),
    "gradient of collectives of vmap on devices": (
        jax.grad(
            lambda x: mapped(
                jax.vmap(lambda x: jnp.sin(x - lax.pmean(x * x, "batch")), axis_name="batch"), CUT, CUT, **FREE
            )(x).sum()
        ),
        True,
    ),
}


# JAX 0.9 has no public function for it.
LACKING = {"all_gather_invariant"} if JAX == (0, 9) else set[str]()
if not LACKING:
    PROGRAMS["gathered for all"] = (mapped(joined, P("x", "y"), (P(None, None, "y"), P(None, "y"))), True)


ON_EXPLICIT_AXES = {
    "all_gather_reduced", "preduced", "reduced_vary_cast", "reshard", "unreduced_pmax", "unreduced_pmin",
    "unreduced_psum", "unreduced_reduce_scatter", "use_mesh", "vary_unreduced_cast",
}  # fmt: skip
"""Operations of the programs of explicit_programs.py."""

# XLA has these on GPUs only; what they are compiled from can be compared anywhere.
ELSEWHERE: dict[str, Callable[..., Any]] = {
    "pieces of unequal size": mapped(ragged, P(None, "y"), P("x", "y")),
    "from one device": mapped(lambda x: lax.pbroadcast(x, "x", 2), P("x"), P("x")),
}
if JAX >= (0, 12):
    ELSEWHERE["from a device that data names"] = mapped(
        lambda x: lax.pbroadcast(x, "x", lax.axis_index("y")), P("x", "y"), P("x", "y")
    )


def gradient(fn: Callable[..., Any]) -> Callable[..., Any]:
    def total(x: Any) -> Any:
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(fn(x)) if leaf.dtype == jnp.float32)

    return jax.grad(total)


def check(name: str) -> set[str]:
    fn, is_smooth = PROGRAMS[name]
    program = brainir.loads(brainir.dumps(brainir.lower(fn, X)))
    ours = brainir.to_callable(program)
    assert_same_bits(jax.jit(ours)(X), jax.jit(fn)(X), name)
    tangents = [jax.jit(lambda x, f=f: jax.jvp(f, (x,), (jnp.cos(x),)))(X) for f in (ours, fn)]
    assert_same_bits(*tangents, name)
    if is_smooth:
        assert_same_bits(jax.jit(gradient(ours))(X), jax.jit(gradient(fn))(X), name)
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program), name
    return {node.op for function in program.functions for node in function.nodes}


def check_elsewhere(name: str) -> set[str]:
    fn = ELSEWHERE[name]
    program = brainir.loads(brainir.dumps(brainir.lower(fn, X)))
    ours = brainir.to_callable(program)
    executed: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), executed)
    texts = [_compiled_from(each) for each in (fn, ours, executed[program.entry])]
    assert texts[0] == texts[1] == texts[2], name
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program), name
    return {node.op for function in program.functions for node in function.nodes}


def _compiled_from(fn: Callable[..., Any]) -> str:
    def run(x: Any) -> Any:
        return fn(x)

    return str(jax.jit(run).trace(X).lower(lowering_platforms=("cuda",)).as_text())


def generated() -> Iterator[alone.Case]:
    for name, (fn, is_smooth) in PROGRAMS.items():
        program = brainir.lower(fn, X)
        save = functools.partial(brainir.save_source, program)
        yield alone.Case(name, save, program.entry, fn, (X,), "both" if is_smooth else "forward")


def check_source(folder: Path) -> None:
    cases = [*generated()]
    alone.write(folder, cases)
    alone.run(folder)
    assert [*alone.differences(folder, cases)] == []


def check_inlined_shardings() -> None:
    """What a call says of places on a mesh, its inlined body says too."""
    cut, across = (NamedSharding(MESH, spec) for spec in (P("x"), P(None, "y")))

    def inner(x: Any, y: Any) -> Any:
        return x, jax.jit(lambda z: z * 2.0, in_shardings=cut)(y), 3.0

    def fn(x: Any) -> Any:
        return jax.jit(inner, in_shardings=(None, across), out_shardings=(across, cut, None))(x, jnp.sin(x))

    program = brainir.lower(fn, X)
    flat = program.replace(functions=(inline_calls(program.entry_function, program),))
    got, wanted = (jax.jit(f)(X) for f in (brainir.to_callable(flat), fn))
    assert_same_bits(got, wanted)
    assert [str(value.sharding) for value in got] == [str(value.sharding) for value in wanted]
    ours, original = (
        jax.jit(f).lower(X).as_text().count("sharding_constraint") for f in (brainir.to_callable(flat), fn)
    )
    assert ours == original > 0


def check_backward_rule() -> None:
    """JAX does not push tangents through ``custom_vjp``, so it is apart from the other programs."""
    for fn in (weighted_everywhere, doubled_in_a_loop):
        program = brainir.loads(brainir.dumps(brainir.lower(fn, X)))
        ours = brainir.to_callable(program)
        assert_same_bits(*(jax.jit(gradient(f))(X) for f in (ours, fn)), fn.__name__)
        assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


def main() -> None:
    check_backward_rule()
    check_inlined_shardings()
    found = set().union(*map(check, PROGRAMS), *map(check_elsewhere, ELSEWHERE))
    wanted = {op for schema in SCHEMAS if schema.__module__ == "brainir.ir.ops.parallel" for op in schema.ops()}
    assert wanted - LACKING - ON_EXPLICIT_AXES <= found, wanted - found
    program = brainir.lower(mapped(lambda x: lax.psum(x, "x"), P("x"), P()), X)
    with jax.set_mesh(jax.sharding.Mesh(np.array(jax.devices()[::-1]).reshape(4, 2), ("x", "y"))):
        assert_same_bits(jax.jit(brainir.to_callable(program))(X), jax.jit(lambda x: x.reshape(4, 2, 4).sum(0))(X))
    brainir.save(program, sys.argv[1])
    check_source(Path(sys.argv[1]).with_name("source"))


if __name__ == "__main__":
    main()
