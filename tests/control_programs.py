"""Programs of operations that run functions: control flow, nested jit, remat, solves; what JAX makes of them when it
transforms them too."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

from brainir.backend.prelude import prelude
from tests.case import Case

X = jnp.asarray(np.random.default_rng(11).normal(size=4), jnp.float32)
M = jnp.asarray(np.random.default_rng(12).normal(size=(4, 4)), jnp.float32)
SPD = M @ M.T + 4 * jnp.eye(4)
SAVED = jax.checkpoint_policies


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    def summed(*args: Any) -> Any:
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(fn(*args)))

    return summed


def _layer(x: Any, w: Any) -> Any:
    h = checkpoint_name(jnp.sin(x @ w), "hidden")
    return checkpoint_name(jnp.cos(h @ w), "output") * x


def _remat(policy: Any = None, prevent_cse: bool = True) -> Callable[..., Any]:
    return jax.checkpoint(_layer, policy=policy, prevent_cse=prevent_cse)


def _nested_scan(x: Any, w: Any) -> Any:
    def inner(h: Any, k: Any) -> Any:
        return jnp.tanh(h @ w + k), h[0]

    def outer(h: Any, k: Any) -> Any:
        h, ys = lax.scan(inner, h + k, jnp.arange(2.0), reverse=True)
        return h, (ys, lax.cond(h[0] > k, lambda: h, lambda: x * 2))

    return lax.scan(outer, x, jnp.arange(3.0), unroll=3)


def _unused(x: Any, w: Any) -> Any:
    """A loop with constants that its body does not need, in an order that lax.scan would not choose."""

    def body(carry: Any, k: Any) -> Any:
        i, h, unused = carry
        return (i + 1, h * w[0, 0] + k, unused), ()

    return lax.scan(body, (0, x, w), x[:3])[0][1]


def _counting(x: Any) -> Any:
    """A while loop with constants of its condition and of its body."""
    limit, step = jnp.sum(x * x) + 40.0, jnp.abs(x) + 0.5

    def proceed(state: Any) -> Any:
        return (jnp.sum(state[1]) < limit) & (state[0] < 7)

    return lax.while_loop(proceed, lambda state: (state[0] + 1, state[1] + step), (0, x))


def _solve(x: Any, a: Any, symmetric: bool = True) -> Any:
    def solve(matvec: Any, b: Any) -> Any:
        return lax.fori_loop(0, 40, lambda _, y: y + (b - matvec(y)) / 12, b)

    return lax.custom_linear_solve(lambda v: a @ v, x, solve, solve, symmetric=symmetric)


def _solve_by_inverse(x: Any, a: Any) -> Any:
    # The functions in it that JAX names "solve" want the names that numbering gives.
    return lax.custom_linear_solve(
        lambda v: a @ v, x, lambda _, b: jnp.linalg.inv(a) @ b, lambda _, b: jnp.linalg.inv(a).T @ b
    )


def _root(x: Any) -> Any:
    def solve(f: Any, guess: Any) -> Any:
        return lax.fori_loop(0, 20, lambda _, y: y - f(y) / (3 * y * y), guess)

    return lax.custom_root(lambda y: y**3 - x, jnp.ones_like(x), solve, lambda g, y: y / g(jnp.ones_like(y)))


def _linear(x: Any) -> Any:
    run = functools.partial(jax.custom_derivatives.linear_call, lambda r, v: r * v * 2.0, lambda r, ct: 5.0 * r * ct)
    return run(lax.stop_gradient(jnp.cos(x)), x)


@functools.partial(jax.jit, keep_unused=True, donate_argnums=0)
def _donating(x: Any, unused: Any) -> Any:
    return x * 2.0


@functools.partial(lax.composite, name="tests.scaled_sine", version=2)
def _composite(x: Any, w: Any, *, scale: Any, axes: Any, approximate: Any, note: Any) -> Any:
    return jnp.sin(x) * scale, w.sum(axes)


@jax.custom_batching.custom_vmap
def _batched_by_a_rule(x: Any, y: Any) -> Any:
    return jnp.sin(x) * y


@_batched_by_a_rule.def_vmap
def _batched_rule(size: int, batched: Any, x: Any, y: Any) -> Any:
    return jnp.cos(x) * y, True


@jax.custom_batching.sequential_vmap
def _one_by_one(x: Any, k: Any) -> Any:
    return jnp.cumsum(jnp.tanh(x)) * k, x[0]


def on_a_mesh(x: Any, w: Any) -> Any:
    """Calls with shardings, on a mesh of one device."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("x", "y"))
    cut, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in (("x",), ()))

    def first(x: Any, w: Any) -> Any:
        return jnp.sin(x), x @ w

    def second(a: Any, b: Any) -> Any:
        return a * b

    results = jax.jit(first, in_shardings=(cut, None), out_shardings=(None, whole))(x, w)
    return jax.jit(second, out_shardings=cut)(*results)


def on_explicit_axes(x: Any, w: Any) -> Any:
    """Operations that say how their results lie on explicit axes, on a mesh of one device."""
    kinds = (jax.sharding.AxisType.Explicit,) * 2
    devices = np.array(jax.devices()[:1]).reshape(1, 1)
    mesh = jax.sharding.Mesh(devices, ("x", "y"), axis_types=kinds).abstract_mesh
    axes = (("x",), ("y",), (None, "y"), ())
    rows, along, columns, whole = (jax.sharding.NamedSharding(mesh, P(*each)) for each in axes)
    with jax.sharding.use_abstract_mesh(mesh):
        x, w = jax.sharding.reshard(x, rows), jax.sharding.reshard(w, columns)
        y = lax.dot_general(x, w, (((0,), (0,)), ((), ())), out_sharding=rows)
        counted = lax.broadcasted_iota(jnp.int32, w.shape, 0, out_sharding=columns) * lax.full_like(w, 2)
        z = lax.broadcast_in_dim(jax.sharding.reshard(y, along), w.shape, (1,), out_sharding=columns)
        total = lax.reduce_sum(z + counted, (0, 1))
        folded = lax.reshape(w, (w.size,), out_sharding=rows).sum()
        return jax.sharding.reshard(jnp.tanh(y) * x, whole), jax.sharding.reshard(total * folded, whole)


def _references(x: Any, w: Any) -> Any:
    """A sum in a loop, a value that a call changes, and one in the body of a scan; then a rule in between."""
    total, seen = jax.new_ref(jnp.zeros_like(x)), jax.new_ref(w)

    @jax.jit
    def look(v: Any) -> Any:
        seen[...] = seen[...] * v
        return jnp.tanh(v)

    def add(i: Any, c: Any) -> Any:
        total[...] += x * c
        return c * 1.5

    def body(c: Any, k: Any) -> Any:
        held = jax.new_ref(c)
        held[...] += k
        return held[...] * 0.5, held[...]

    last = lax.fori_loop(0, 3, add, x[0])
    return total[...], jax.nn.relu(look(x) * last), seen[...], lax.scan(body, x, jnp.arange(3.0))


def _named(x: Any) -> Any:
    with jax.named_scope("cell"):
        y = jnp.sin(x)
        with jax.named_scope("gate"):
            y = y * jnp.cos(x)
        y, _ = lax.scan(_in_a_scope, y, x)
    return y + 1


def _in_a_scope(y: Any, x: Any) -> Any:
    with jax.named_scope("body"):
        return y * x, jax.jit(jnp.sin)(y)


CONTROL_PROGRAMS: dict[str, Case] = {
    "choice of one": Case(lambda i, x: lax.switch(i, [jnp.sin], x), (0, X)),
    "choice of four with operands of its own": Case(
        lambda i, x: lax.switch(i, [lambda: x, lambda: x[::-1] * 2, lambda: jnp.cumsum(x), lambda: x * i], *()), (3, X)
    ),
    "choice of pytrees": Case(
        lambda p, x: lax.cond(p, lambda v: {"a": v, "b": (v[0], 1)}, lambda v: {"a": -v, "b": (2.0, 0)}, x), (False, X)
    ),
    "choice in a batch": Case(
        jax.vmap(lambda p, x: lax.cond(p, jnp.sin, jnp.cos, x)), (jnp.array([True, False, True, True]), X)
    ),
    "gradient of a choice": Case(
        lambda p, x: jax.grad(total(lambda v: lax.cond(p, jnp.sin, lambda u: -jnp.sin(u), v)))(x), (True, X)
    ),
    "loops in loops": Case(_nested_scan, (X, M)),
    "loop with what it does not need": Case(_unused, (X, M)),
    "gradient of a loop": Case(jax.grad(total(_nested_scan), (0, 1)), (X, M)),
    "loop in a batch": Case(jax.vmap(_nested_scan, (0, None)), (jnp.stack([X, -X]), M)),
    "tangent of a loop": Case(lambda x, w: jax.jvp(_nested_scan, (x, w), (w[0], w)), (X, M)),
    "loop until, with constants": Case(_counting, (X,), "forward"),
    "loop until, in a batch": Case(jax.vmap(_counting), (jnp.stack([X, 3 * X]),), "forward"),
    "calls with options": Case(lambda x: _donating(x + 1, x) + jax.jit(jnp.cos, inline=False)(x), (X,)),
    "remat": Case(_remat(), (X, M)),
    "gradient of remat": Case(jax.grad(total(_remat()), (0, 1)), (X, M)),
    "gradient of remat that saves products": Case(jax.grad(total(_remat(SAVED.dots_saveable))), (X, M)),
    "gradient of remat that saves a name": Case(
        jax.grad(total(_remat(SAVED.save_only_these_names("hidden", "other"), prevent_cse=False))), (X, M)
    ),
    "remat that saves all but a name": Case(_remat(SAVED.save_any_names_but_these("hidden")), (X, M)),
    "remat with two policies": Case(
        _remat(
            SAVED.save_from_both_policies(
                SAVED.dots_with_no_batch_dims_saveable, SAVED.save_any_names_but_these("output")
            )
        ),
        (X, M),
    ),
    "remat in a loop": Case(
        jax.grad(total(lambda x, w: lax.scan(lambda h, _: (_remat(SAVED.dots_saveable)(h, w), ()), x, None, 3)[0])),
        (X, M),
    ),
    "barrier": Case(lambda x: lax.optimization_barrier((x, x * 2))[1] + lax.optimization_barrier(x), (X,)),
    "named scopes": Case(_named, (X,)),
    "references": Case(_references, (X, M)),
    "composite": Case(
        lambda x, w: _composite(
            lax.stop_gradient(x), lax.stop_gradient(w), scale=2.0, axes=(0, 1), approximate=True, note="two"
        ),
        (X, M),
    ),
    "batching rules": Case(
        lambda x, y: (_batched_by_a_rule(x, y), _one_by_one(x * 2, 3)), (X, X[::-1]), derivatives="forward"
    ),
    "one for a batch": Case(
        lambda x, n: (
            jnp.where(prelude.unvmap_any(x > 1.5) | prelude.is_vmapped(n), jnp.sin(x), x),
            prelude.unvmap_all(x > 0),
            prelude.unvmap_max(n),
        ),
        (X, jnp.arange(3)),
    ),
    "calls with shardings": Case(on_a_mesh, (X, M)),
    "explicit axes": Case(on_explicit_axes, (X, M)),
    "symmetric solve": Case(_solve, (X, SPD)),
    "solve with its transpose": Case(lambda x, a: _solve(x, a, symmetric=False), (X, SPD + M)),
    "solve by an inverse": Case(_solve_by_inverse, (X, SPD)),
    "root": Case(_root, (jnp.abs(X) + 1,)),
    "linear function with a transpose of its own": Case(_linear, (X,)),
}
"""By what the program shows."""
