"""How long programs take to be read, verified and written, next to how long JAX takes to trace them.

Run it in the root of the repository: ``python benchmarks/reading.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import brainir

NODES = 20_000


def network(x: Any, w: Any) -> Any:
    """Return a chain of layers of four operations each."""
    for _ in range(NODES // 4):
        x = jnp.tanh(x) * w + 0.5 * x
    return x


def shortest(action: Callable[[], object], repeats: int = 3) -> float:
    """Return the seconds of the fastest of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    args = jnp.ones(16), jnp.ones(16)
    # A new function each time: JAX remembers what it has traced.
    trace = shortest(lambda: jax.make_jaxpr(lambda *given: network(*given))(*args))
    program = brainir.lower(network, *args)
    text = brainir.dumps(program)
    print(f"{program.node_count()} nodes; as a part of the time that JAX takes to trace the function:")
    for name, action in {
        "loads, verification included": lambda: brainir.loads(text),
        "verify": lambda: brainir.verify(program),
        "dumps": lambda: brainir.dumps(program),
        "fingerprint": lambda: brainir.fingerprint(program),
    }.items():
        print(f"  {name:30} {shortest(action) / trace:.2f}")
