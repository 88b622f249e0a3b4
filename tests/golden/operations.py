"""Functions of the golden files that hold the operations which those of whole models lack.

Most are those of ``tests/programs.py``. Where results depend on the processor, on LAPACK or on memory, a function here
returns what does not.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.case import Case
from tests.programs import PROGRAMS

X = jnp.linspace(-1.5, 2.0, 4)
S = jnp.asarray([[5.0, 1.0, 0.5, -1.0], [0.3, 4.0, -0.7, 0.2], [-0.4, 0.6, 6.0, 1.1], [0.9, -0.8, 0.1, 7.0]])


def _decompositions(s: Any) -> Any:
    """Return what does not depend on the signs of vectors."""
    even = s @ s.T
    vectors, values = lax.linalg.eigh(even)
    left, sizes, right = lax.linalg.svd(s, full_matrices=False)
    factor, upper = lax.linalg.qr(s, full_matrices=False)
    triangle, basis = lax.linalg.schur(s)
    found = (vectors * values) @ vectors.T, (left * sizes) @ right, factor @ upper, basis @ triangle @ basis.T
    return found, values, sizes, lax.linalg.eig(s)[0].sum().real, lax.linalg.cholesky(even), lax.linalg.lu(s)[0]


def _matrices(s: Any, x: Any) -> Any:
    lower = jnp.tril(s)
    _, diagonal, beside, *_ = lax.linalg.tridiagonal(s @ s.T)
    return (
        diagonal.sum(),
        jnp.sum(beside * beside),
        jnp.sum(lax.linalg.hessenberg(s)[0] * jnp.eye(4)),
        lax.linalg.householder_product(s, x / 4),
        jnp.abs(lax.linalg.cholesky_update(lower, x)),
        lax.linalg.symmetric_product(s, s, alpha=0.5, beta=2.0),
        lax.linalg.triangular_solve(lower, s, left_side=True, lower=True, transpose_a=True),
        lax.linalg.tridiagonal_solve(x, jnp.abs(x) + 4, x, s),
    )


def _memory(x: Any) -> Any:
    lax.dce_sink(x)
    return jax.device_put(x), lax.empty((0, 3), jnp.float16)


def _external(x: Any) -> Any:
    kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(_doubled, kind, x, vmap_method="sequential") + lax.cumsum(jnp.sin(x))


def _doubled(x: Any) -> Any:
    return 2 * np.asarray(x)


def _parallel() -> Any:
    """Return a function on a mesh of one device, where an exchange is one of a device with itself."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("x", "y"))

    def exchange(x: Any) -> Any:
        return (
            lax.psum(x, "x"),
            lax.pmax(lax.stop_gradient(x), "y"),
            lax.all_gather(x, "x", tiled=True),
            lax.ppermute(x, "x", [(0, 0)]),
            lax.all_to_all(x, "y", 0, 0, tiled=True),
            lax.psum_scatter(x, "x", tiled=True),
            x * (1.0 + lax.axis_index("x")),
        )

    def run(x: Any) -> Any:
        x = lax.with_sharding_constraint(jnp.sin(x), NamedSharding(mesh, P("x")))
        return jax.shard_map(exchange, mesh=mesh, in_specs=P("x"), out_specs=P("x"), check_vma=False)(x)

    def checked(x: Any) -> Any:
        return jax.shard_map(lambda x: lax.psum(x + jnp.float32(1), "x"), mesh=mesh, in_specs=P("x"), out_specs=P())(x)

    return lambda x: (run(x), checked(x))


def _one_device() -> Any:
    """Return a mesh of one device, whose axis is explicit."""
    kinds = (jax.sharding.AxisType.Explicit,)
    return jax.sharding.Mesh(np.array(jax.devices()[:1]), ("x",), axis_types=kinds)


def _spread() -> Any:
    """Return a function with sums that are spread over devices, of which there is one."""
    mesh = _one_device()

    def over(fn: Any, in_specs: Any, out_specs: Any) -> Any:
        return jax.shard_map(fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs)

    def gathered(x: Any) -> Any:
        held = lax.pcast(lax.all_gather(x, "x", to="reduced", tiled=True), "x", to="varying")
        return held * lax.pcast(lax.pcast(jnp.float32(3), "x", to="reduced"), "x", to="varying")

    def run(x: Any) -> Any:
        x = jax.sharding.reshard(x, NamedSharding(mesh, P("x")))
        part = over(lambda x: lax.pcast(x, "x", to="unreduced"), P("x"), P(None, unreduced={"x"}))(x)
        return (
            jax.sharding.reshard(part, NamedSharding(mesh, P(None))),
            over(lambda x: lax.psum(lax.pcast(2 * x, "x", to="unreduced"), "x"), P("x"), P(None))(x),
            over(lambda x: lax.psum_scatter(lax.pcast(x, "x", to="unreduced"), "x", tiled=True), P("x"), P("x"))(x),
            over(gathered, P("x"), P("x"))(x),
        )

    return run


def _extremes(x: Any) -> Any:
    """Return maxima and minima that are spread over devices, of which there is one, and what they are in all."""
    mesh = _one_device()
    x = jax.sharding.reshard(x, NamedSharding(mesh, P("x")))
    found = []
    for reduce, combine, kind in ((lax.reduce_max, lax.pmax, "max"), (lax.reduce_min, lax.pmin, "min")):
        spec = P(unreduced={"x"}, unreduced_kind=jax.sharding.UnreducedKind[kind])
        part = reduce(x, axes=(0,), out_sharding=NamedSharding(mesh, spec))
        whole = functools.partial(combine, axis_name="x")
        found.append(jax.shard_map(whole, mesh=mesh, in_specs=spec, out_specs=P())(part))
    return (*found,)


def _permuted_columns(s: Any) -> Any:
    """Return what does not depend on the signs of vectors."""
    product, upper, order = jax.scipy.linalg.qr_multiply(s, jnp.eye(4), pivoting=True)
    return product @ upper, order


def _across() -> Any:
    """Return a function with exchanges that XLA has on GPUs only."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("x",))
    place, one = jnp.zeros(1, jnp.int32), jnp.ones(1, jnp.int32)

    def exchange(x: Any) -> Any:
        moved = lax.ragged_all_to_all(x, 2 * x, place, one, place, one, axis_name="x")
        return moved, lax.pbroadcast(x, "x", 0)

    return jax.shard_map(exchange, mesh=mesh, in_specs=P("x"), out_specs=P("x"), check_vma=False)


OPERATIONS: dict[str, Case] = {
    **{name.replace(" ", "_").replace(",", ""): PROGRAMS[name] for name in (
        "powers and rounding", "choices", "shapes", "cutting and joining", "new axes", "tiles", "counting",
        "moving windows", "keys", "convolutions", "Fourier transforms", "ragged products",
        "incomplete beta function", "products in another type", "functions that became primitives later",
        "elements combined by a function", "pivots", "product with an orthogonal factor",
        "hashes and generators", "numbers from the generator of the device", "order", "windows",
        "tangents of windows", "places in memory", "places of elements in two words", "VJP rule",
        "gradient of remat that saves a name", "symmetric solve", "linear function with a transpose of its own",
        "barrier", "scatters", "running combinations", "choice in a batch", "root",
        "a rule that is larger for every order", "code for each platform", "composite", "batching rules",
        "calls with shardings", "explicit axes", "products of scaled blocks", "one for a batch",
    )},
    "decompositions": Case(_decompositions, (S,)),
    "matrices": Case(_matrices, (S, X)),
    "memory": Case(_memory, (X,)),
    "external": Case(_external, (X,)),
    "parallel": Case(_parallel(), (X,)),
    "parallel_on_GPUs": Case(_across(), (X,)),
    "sums_over_devices": Case(_spread(), (X,), since=(0, 9)),
    "extremes_over_devices": Case(_extremes, (X,), since=(0, 12)),
    "permuted_columns": Case(_permuted_columns, (S,), since=(0, 10)),
}  # fmt: skip
"""By the name of the file."""

KEPT = {"external": ("cumsum",)}
"""Primitives to keep by name."""
