"""A learner on a mesh of devices against one device; run as a program by the tests of distribution.

``python -m tests.sharded_learning`` uses the devices of this process, ``... <number> <count> <port>`` is one of several
processes that meet at a port of this machine.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import brainir
from tests.online_models import loss, spike
from tests.quick_compile import quick_options

N_IN, N, BATCH, STEPS = 3, 8, 4, 10


def step(params: Any, hidden: Any, x: Any) -> Any:
    """Adaptive neurons with synaptic currents."""
    z = spike(hidden["v"] - 1 - 0.3 * hidden["a"])
    g = 0.8 * hidden["g"] + jnp.concatenate([x, z], axis=-1) @ params["w"] + params["b"]
    a = 0.95 * hidden["a"] + z
    v = 0.9 * hidden["v"] - z + g
    return {"v": v, "a": a, "g": g}, spike(v - 1 - 0.3 * a) @ params["out"]


def spread(leaf: Any, lead: int) -> PartitionSpec:
    """Divide the batch over ``data`` and the neurons over ``model``; `lead` axes of steps come first."""
    names: list[str | None] = [None] * leaf.ndim
    if leaf.ndim > lead and leaf.shape[lead] == BATCH:
        names[lead] = "data"
    if leaf.ndim > lead + 1 and leaf.shape[-1] == N:
        names[-1] = "model"
    return PartitionSpec(*names)


def main(arguments: list[str]) -> None:
    """Compare, and print ``equal`` and how the traces are laid out."""
    if arguments:
        number, count, port = map(int, arguments)
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number)
    devices = np.asarray(jax.devices())
    mesh = Mesh(devices.reshape(2, -1), ("data", "model"))
    rng = np.random.default_rng(0)
    params = {
        "w": rng.normal(0, 0.6, (N_IN + N, N)).astype(np.float32),
        "b": rng.normal(0, 0.6, N).astype(np.float32),
        "out": rng.normal(0, 0.6, (N, 2)).astype(np.float32),
    }
    hidden = {name: np.zeros((BATCH, N), np.float32) for name in ("v", "a", "g")}
    xs = rng.normal(0, 1.5, (STEPS, BATCH, N_IN)).astype(np.float32)
    targets = rng.normal(0, 1, (STEPS, BATCH, 2)).astype(np.float32)
    program = brainir.lower_step(step, params, hidden, xs[0])
    learners = [
        brainir.compile_learner(program, loss=loss),
        brainir.compile_learner(program, "es_d_rtrl", loss=loss, decay=0.8),
    ]
    start = jax.tree.map(np.asarray, [learner.init(hidden) for learner in learners])

    def run(params: Any, carries: Any, xs: Any, targets: Any) -> Any:
        found = []
        for learner, carry in zip(learners, carries, strict=True):
            after, value, grads = learner.step(params, carry, xs[0], targets[0])
            found.append(((after, value, grads), learner.run(params, after, xs[1:], targets[1:])))
        return found

    def placed(leaf: Any, spec: PartitionSpec) -> Any:
        return jax.make_array_from_callback(leaf.shape, NamedSharding(mesh, spec), lambda index: leaf[index])

    def placed_all(tree: Any, lead: int = 0) -> Any:
        return jax.tree.map(lambda leaf: placed(leaf, spread(leaf, lead)), tree)

    weights = {
        "w": placed(params["w"], PartitionSpec(None, "model")),
        "b": placed(params["b"], PartitionSpec("model")),
        "out": placed(params["out"], PartitionSpec()),
    }
    given = (weights, placed_all(start), placed_all(xs, 1), placed_all(targets, 1))
    together = jax.jit(run, compiler_options=quick_options())
    found = together(*given)
    expected = together(params, start, xs, targets)
    everywhere = jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))(found)
    for one, two in zip(jax.tree.leaves(everywhere), jax.tree.leaves(expected), strict=True):
        one = np.asarray(one.addressable_data(0))
        np.testing.assert_allclose(one, np.asarray(two), rtol=2e-5, atol=2e-5)
    print("equal", len(devices), *(_layout(carry["traces"]) for _, (carry, _, _) in found))


def _layout(traces: Any) -> str:
    """Return the shape of the largest trace, and of the part of it on one device."""
    largest = max(jax.tree.leaves(traces), key=lambda leaf: leaf.size)
    return f"{largest.shape} {largest.addressable_data(0).shape}"


if __name__ == "__main__":
    main(sys.argv[1:])
