"""Programs on explicit axes of a mesh of eight devices, compared with what comes back from their JSON.

They are run by tests/test_parallel.py. What a function gives on such axes includes how it lies on them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import brainir
from tests.compare import JAX, assert_same_bits, lowered, stablehlo
from tests.parallel_programs import ON_EXPLICIT_AXES

MESH = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
RANDOM = np.random.default_rng(1)


def placed(array: Any, *spec: Any) -> Any:
    return jax.device_put(jnp.asarray(array, jnp.float32), NamedSharding(MESH, P(*spec)))


X = placed(RANDOM.normal(size=(8, 4)), "x", "y")
W = placed(RANDOM.normal(size=(4, 6)), "y", None)
HELD = placed(RANDOM.normal(size=(8, 4)), "x", None)
ON_ALL = placed(RANDOM.normal(size=(4,)), None)
NUMBER = placed(3.0)
ON_NO_MESH = jnp.arange(4.0)


def lies(*spec: Any, **sums: Any) -> NamedSharding:
    return NamedSharding(MESH, P(*spec, **sums))


def made(x: Any, w: Any) -> Any:
    """Arrays that nothing says how they lie, but the operation that makes them."""
    return (
        x + jnp.zeros_like(x) + jnp.ones_like(x, dtype=jnp.int32),
        lax.broadcasted_iota(jnp.int32, (8, 4), 0, out_sharding=lies("x", "y")) * x,
        lax.broadcast_in_dim(w, (4, 4, 6), (1, 2), out_sharding=lies("x", "y", None)),
        lax.full_like(x, 2, sharding=lies("x")) + lax.reshape(x, (4, 8), out_sharding=lies("x", None)).sum(),
        lax.reshape(x, (8, 4), out_sharding=lies("x", "y")),
    )


def counted(x: Any, w: Any) -> Any:
    """What passes could compute beforehand, or take for a copy, were it not for how it lies."""
    places = lax.broadcasted_iota(jnp.int32, (8, 4), 0, out_sharding=lies("x", "y"))
    return places + 1, lax.reshape(x, (8, 4), out_sharding=lies("x", None))


def products(x: Any, w: Any) -> Any:
    return (
        jnp.einsum("bi,io->bo", x, w, out_sharding=lies("x", None)),
        lax.dot_general(x, x, (((0,), (0,)), ((), ())), out_sharding=lies(None, "y")),
    )


def moved(x: Any, w: Any) -> Any:
    y = jax.sharding.reshard(x, lies(None, "y"))
    z = jax.sharding.reshard(jnp.sin(y), lies(("x", "y"), None))
    return z, jnp.cumsum(y, 0), lax.reduce_sum(z, (1,), out_sharding=lies("x"))


def looked_up(x: Any, w: Any) -> Any:
    """Operations that JAX itself runs on automatic axes."""
    places = jnp.array([0, 3, 1, 2])
    return x.at[places].get(out_sharding=lies("x", None)), jnp.sin(x)


def automatic(x: Any, w: Any) -> Any:
    @functools.partial(jax.sharding.auto_axes, out_sharding=lies("x", "y"))
    def inner(y: Any) -> Any:
        held = jnp.cumsum(jax.nn.relu(y), axis=0) + jnp.arange(4.0)
        return lax.scan(lambda c, _: (jax.jit(jnp.sin)(c) + jnp.ones(4), None), held, None, 2)[0]

    return inner(x) * x


def automatic_in_loops(x: Any, w: Any) -> Any:
    def inner(y: Any) -> Any:
        return y * jnp.arange(4.0)

    def body(c: Any, _: Any) -> Any:
        return jax.sharding.auto_axes(inner, out_sharding=lies("x", "y"))(c), None

    return lax.scan(body, x, None, 2)[0]


def partly_automatic(x: Any, w: Any) -> Any:
    return jax.sharding.auto_axes(lambda y: jnp.cumsum(y, 0) + 1, axes="x", out_sharding=P("x", "y"))(x)


def nested(x: Any, w: Any) -> Any:
    """Explicit axes among automatic ones among explicit ones."""
    back = jax.sharding.explicit_axes(lambda z: z + jnp.zeros_like(z), in_sharding=P(None, "y"), axes="y")
    return jax.sharding.auto_axes(lambda y: back(y * 2), axes=("x", "y"), out_sharding=lies("x", "y"))(x)


def with_rules(x: Any, w: Any) -> Any:
    y = jax.nn.relu(x) * jax.nn.silu(x) + jnp.logaddexp(x, x)
    return jax.nn.gelu(y) + jax.nn.logsumexp(jax.nn.relu(y)), jax.nn.softmax(w)


@jax.custom_vjp
def clipped(x: Any) -> Any:
    return jnp.sin(x) + jnp.zeros_like(x)


clipped.defvjp(lambda x: (clipped(x), x), lambda x, ct: (jnp.where(x > 0, ct, jnp.zeros_like(ct)),))


def with_backward_rule(x: Any, w: Any) -> Any:
    return clipped(x) * x


def loss(x: Any, w: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        h = jax.nn.relu(h + row * jnp.ones_like(h))
        return h, h.sum(axis=1)

    h, ys = lax.scan(jax.checkpoint(step), jnp.zeros_like(x), jnp.stack([x, x * 2]))
    return (ys**2).mean() + lax.cond(x.sum() > 0, jnp.sin, lambda y: y + jnp.zeros_like(y), h).sum()


def looping(x: Any, w: Any) -> Any:
    c, rows = lax.scan(lambda c, row: (lax.cond(jnp.sum(row) > 0, jnp.sin, jnp.cos, c * row), c), x, jnp.stack([x, x]))
    c = lax.while_loop(lambda c: jnp.sum(c * c) > 1.0, lambda c: c * 0.5, lax.stop_gradient(c))
    return jax.checkpoint(jnp.sin)(rows) + c


def with_constants(x: Any, w: Any) -> Any:
    return x * HELD + HELD.sum(axis=1, keepdims=True), HELD


def with_the_same_on_all(x: Any, w: Any) -> Any:
    """Constants that are on a mesh, and cut over none of its axes."""
    return x * NUMBER, ON_ALL, NUMBER + 1, lax.scan(lambda c, _: (c * x.sum(), c), NUMBER, None, 2)


def automatic_with_constants(x: Any, w: Any) -> Any:
    """Constants that are on no mesh run on axes of every kind."""

    def inner(y: Any) -> Any:
        return y * ON_NO_MESH + np.array([2, 3, 5, 7], np.float32)

    automatic = jax.sharding.auto_axes(inner, out_sharding=lies("x", "y"))
    return jax.checkpoint(automatic)(automatic(x)) * ON_NO_MESH


def curved(x: Any, w: Any) -> Any:
    """JAX batches conversions by an axis more than their operands have."""
    row = jax.sharding.reshard(x, lies(None, None))[0]
    return jax.hessian(lambda row: (row**3).sum())(row)


def put(x: Any, w: Any) -> Any:
    on_mesh = jax.device_put(np.ones((8, 4), np.float32), lies("x", "y"))
    return jax.jit(jnp.sin, in_shardings=lies("x", "y"), out_shardings=lies("x", "y"))(x) * on_mesh


def partial_sums(x: Any, w: Any) -> Any:
    y = jax.sharding.reshard(x, lies(None, "x"))
    z = jnp.einsum("ij,kj->ik", y, y, out_sharding=lies(None, None, unreduced={"x"}))
    return jax.sharding.reshard(z, lies(None, None))


def spread(x: Any, w: Any) -> Any:
    """Sums that are spread over devices, what they become, and their cotangents."""

    def over(fn: Callable[..., Any], *specs: Any) -> Any:
        return jax.shard_map(fn, mesh=MESH, in_specs=specs[0], out_specs=specs[1])(x)

    def everywhere(x: Any) -> Any:
        held = lax.pcast(lax.all_gather(x, "x", to="reduced", tiled=True), "x", to="varying")
        return jnp.sin(held) * lax.pcast(lax.pcast(jnp.ones(2), "x", to="reduced"), "x", to="varying")

    return (
        jax.sharding.reshard(
            over(lambda x: lax.pcast(x, "x", to="unreduced"), P("x", "y"), P(None, "y", unreduced={"x"})),
            lies(None, "y"),
        ),
        over(lambda x: lax.psum(lax.pcast(jnp.sin(x), "x", to="unreduced"), "x"), P("x", "y"), P(None, "y")),
        over(
            lambda x: lax.psum_scatter(lax.pcast(x.reshape(4, 1), "x", to="unreduced"), "x", tiled=True),
            P("x", "y"),
            P("x", "y"),
        ),
        over(everywhere, P("x", "y"), P("x", "y")),
    )


def extremes(x: Any, w: Any) -> Any:
    """Maxima and minima that are spread over devices, and what JAX makes of them."""
    y = jax.sharding.reshard(x, lies("x", None))
    sums = {"unreduced": {"x"}}
    greatest, least = ({**sums, "unreduced_kind": jax.sharding.UnreducedKind[kind]} for kind in ("max", "min"))
    over = lax.reduce_max(y, axes=(0,), out_sharding=lies(None, **greatest))
    under = lax.reduce_min(y, axes=(0,), out_sharding=lies(None, **least))

    def both(over: Any, under: Any) -> Any:
        return lax.pmax(over, "x") - lax.pmin(under, "x")

    within = jax.shard_map(both, mesh=MESH, in_specs=(P(None, **greatest), P(None, **least)), out_specs=P(None))
    return over, under, within(over, under), jax.sharding.reshard(over, lies(None))


def spread_operand(x: Any, w: Any) -> Any:
    part = jax.shard_map(
        lambda x: lax.pcast(x, "x", to="varying") * 2,
        mesh=MESH,
        in_specs=P(None, "y", reduced={"x"}),
        out_specs=P("x", "y"),
    )
    return part(jax.sharding.reshard(x, lies(None, "y", reduced={"x"})))


def spread_product(x: Any, w: Any) -> Any:
    """Parts of a sum from a shard_map, each smaller than the mesh."""
    specs = (P("x", "y"), P("y", None)), P("x", None, unreduced={"y"})
    part = jax.shard_map(
        lambda x, w: lax.pcast(x[:1] @ w, "y", to="unreduced"), mesh=MESH, in_specs=specs[0], out_specs=specs[1]
    )
    return jax.sharding.reshard(part(x, w), lies("x", None))


def spread_in_a_loop(x: Any, w: Any) -> Any:
    """Weights that are the same along an axis, along which their cotangents are parts of sums, one for each step."""
    squares = jax.sharding.reshard(w, lies(None, None))[:, :4]
    weights = jax.sharding.reshard(jnp.stack([squares, jnp.cos(squares)]), lies(None, None, None, reduced={"x"}))
    rows = jax.sharding.reshard(x, lies("x", None))
    return lax.scan(lambda c, w: (jnp.dot(c, w, out_sharding=lies("x", None)), None), rows, weights)[0]


def mapped(x: Any, w: Any) -> Any:
    def inner(x: Any, w: Any) -> Any:
        return jnp.sin(x) @ w + lax.psum(jnp.zeros_like(x).sum(), "x")

    part = jax.shard_map(inner, mesh=MESH, in_specs=(P("x"), P()), out_specs=P("x"), axis_names={"x"})
    return part(jax.sharding.reshard(x, lies("x", None)), jax.sharding.reshard(w, lies(None, None)))


def random(x: Any, w: Any) -> Any:
    key = jax.random.key(0)
    return x * jax.random.normal(key, (8, 4), out_sharding=lies("x", "y"))


def gradient(fn: Callable[..., Any]) -> Callable[..., Any]:
    def total(x: Any, w: Any) -> Any:
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(fn(x, w)))

    return jax.grad(total, (0, 1))


def tangent(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: jax.jvp(fn, (x, w), (jnp.cos(x), jnp.sin(w)))


def batched(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: jax.vmap(fn)(jnp.stack([x, 2 * x]), jnp.stack([w, w]))


WAYS: dict[str, Callable[..., Any]] = {"gradient": gradient, "tangent": tangent, "batched": batched}
PROGRAMS: dict[Callable[..., Any], tuple[str, ...]] = {
    made: (*WAYS,),
    products: (*WAYS,),
    # JAX 0.9 cannot batch sums that say how they lie.
    moved: (*WAYS,) if JAX >= (0, 10) else ("gradient", "tangent"),
    looked_up: (*WAYS,),
    automatic: (*WAYS,),
    automatic_in_loops: (*WAYS,),
    nested: (*WAYS,),
    with_rules: (*WAYS,),
    with_backward_rule: ("gradient", "batched"),
    # JAX cannot batch its cond: what chooses lies otherwise than what is chosen from.
    loss: ("gradient", "tangent"),
    looping: ("gradient", "tangent"),
    with_constants: (*WAYS,),
    with_the_same_on_all: (),
    automatic_with_constants: (*WAYS,),
    curved: (),
    # JAX 0.8 does not say which devices the mesh around has, and batches no jit on an explicit mesh without them.
    put: (*WAYS,) if JAX >= (0, 9) else ("gradient", "tangent"),
    partial_sums: (*WAYS,),
    mapped: (*WAYS,),
    random: (*WAYS,),
}
"""The programs, and the ways in which JAX can transform them."""
if JAX >= (0, 9):
    PROGRAMS |= dict.fromkeys((spread, spread_operand, spread_product, spread_in_a_loop), ("gradient", "tangent"))
if JAX >= (0, 12):
    PROGRAMS[extremes] = ()

IN_CONTEXT: dict[Callable[..., Any], tuple[str, ...]] = {partly_automatic: (*WAYS,)}
"""Those that name a mesh by what is around them."""

LACKING: set[str] = set()
if JAX < (0, 12):
    LACKING = {"unreduced_pmax", "unreduced_pmin"}
if JAX < (0, 9):
    LACKING = ON_EXPLICIT_AXES - {"reshard", "use_mesh"}

NOT_RUN = {
    (0, 8): {automatic_in_loops, put},
    (0, 9): {spread, spread_operand, spread_product, spread_in_a_loop},
    (0, 12): {extremes},
}.get(JAX, set())
"""Those that JAX cannot run without a jit: the originals, or one on a mesh whose devices JAX 0.8 does not tell."""


def assert_same(ours: Callable[..., Any], original: Callable[..., Any], name: str) -> None:
    """Check that two functions are compiled from one text, or give the same bits in the same places."""
    assert jax.eval_shape(ours, X, W) == jax.eval_shape(original, X, W), name
    made, wanted = lowered(ours, X, W), lowered(original, X, W)
    if stablehlo(made) == stablehlo(wanted):
        return
    got, expected = (each.compile()(X, W) for each in (made, wanted))
    assert_same_bits(got, expected, name)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.sharding == other.sharding, (name, one.sharding, other.sharding)


def check(fn: Callable[..., Any], ways: tuple[str, ...]) -> set[str]:
    """Compare a program, what JAX makes of it, and what it makes of what was lowered with the originals."""
    program = brainir.loads(brainir.dumps(brainir.lower(fn, X, W)))
    ours = brainir.to_callable(program)
    executed: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), executed)
    for each in (ours, executed[program.entry]):
        assert_same(each, fn, fn.__name__)
        for way in ways:
            # Jitted first: JAX 0.12 then adds up cotangents in the order of its jaxpr, as in a program.
            assert_same(WAYS[way](jax.jit(each)), WAYS[way](jax.jit(fn)), f"{way} of {fn.__name__}")
    assert brainir.fingerprint(brainir.lower(ours, X, W)) == brainir.fingerprint(program), fn.__name__
    for way in ways:
        again = brainir.loads(brainir.dumps(brainir.lower(WAYS[way](fn), X, W)))
        assert_same(brainir.to_callable(again), WAYS[way](fn), f"{way} of {fn.__name__}, lowered")
    return {node.op for function in program.functions for node in function.nodes}


def check_texts() -> None:
    """Check that the text of a program writes a layout shortly, and its source each mesh once."""
    program = brainir.lower(products, X, W)
    assert "out_sharding=P(x,None)@explicit(x=4,y=2)" in str(program)
    source = brainir.to_source(program)
    assert source.count('MESH = (("x", "y"), (4, 2), ("explicit", "explicit"))') == 1
    assert source.count("out_sharding=_layout(MESH, ") == 2


def check_passes() -> None:
    """Passes keep what operations say of where their results lie."""
    ours = brainir.to_callable(brainir.run_passes(brainir.lower(counted, X, W)))
    assert_same_bits(jax.jit(ours)(X, W), jax.jit(counted)(X, W))
    assert jax.eval_shape(ours, X, W) == jax.eval_shape(counted, X, W)


def check_constants() -> None:
    """Constants are on no mesh, also those of a function that first runs within a shard_map."""

    def fn(x: Any) -> Any:
        scale = jax.jit(lambda x: x * np.array([2.0, 3.0], np.float32))
        return jax.shard_map(scale, in_specs=P("x", "y"), out_specs=P("x", "y"))(x)

    with jax.set_mesh(MESH):
        ours = brainir.to_callable(brainir.lower(fn, X))
        assert_same_bits(jax.jit(ours)(X), jax.jit(fn)(X))


def main() -> None:
    check_constants()
    check_passes()
    check_texts()
    found = set().union(*(check(fn, ways) for fn, ways in PROGRAMS.items()))
    with jax.set_mesh(MESH):
        found |= set().union(*(check(fn, ways) for fn, ways in (PROGRAMS | IN_CONTEXT).items()))
        # Without a jit, JAX makes arrays on explicit axes only where the mesh is around it.
        for fn in PROGRAMS.keys() - NOT_RUN:
            assert_same_bits(brainir.to_callable(brainir.lower(fn, X, W))(X, W), fn(X, W), fn.__name__)
    assert found >= ON_EXPLICIT_AXES - LACKING


if __name__ == "__main__":
    main()
