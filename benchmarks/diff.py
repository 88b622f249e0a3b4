"""Time of ``diff`` and ``relabel`` for two programs of 20,000 nodes, as a share of lowering one of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import brainir
from brainir.ir.ops import AnyNode, Binary, Unary
from brainir.ir.program import Function, Program

LAYERS = 3_350
REPEATS = 3


def best(run: Callable[[], Any]) -> float:
    """Return the shortest of a few times, in seconds of this process: nothing here waits or runs in parallel."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def step(edits: tuple[int, ...]) -> Callable[..., Any]:
    """Return a recurrent step of about 20,000 nodes, with one more operation in some of its layers."""

    def run(params: Any, hidden: Any, x: Any) -> Any:
        h, a = hidden["h"], hidden["a"]
        y = x @ params["w"]
        for layer in range(LAYERS):
            h = h * 0.9 + jnp.tanh(a) * 0.1
            a = a * 0.9 + h
            if layer in edits:
                a = jnp.sin(a)
        return {"h": h + y, "a": a}, h

    return run


def lower(*edits: int) -> Program:
    """Lower a step with edits."""
    x = jnp.ones(8)
    return brainir.lower_step(step(edits), {"w": jnp.ones((8, 8))}, {"h": x, "a": x}, x)


def uniform(count: int) -> Program:
    """Make a program of equal nodes that are all returned."""
    x = jnp.ones(8)
    template = brainir.lower(lambda x: (x,) * count, x)
    names = tuple(f"n{index}" for index in range(count))
    nodes = tuple(Unary(op="neg", inputs=("x",), outputs=(name,), types=("f32[8]",)) for name in names)
    entry = template.entry_function
    function = Function(name=entry.name, inputs=entry.inputs, types=entry.types, nodes=nodes, outputs=names)
    return template.replace(functions=(function,))


def woven(seed: int) -> Program:
    """Make a program of 20,000 nodes of a few operations that use each other at random."""
    choose = random.Random(seed)  # noqa: S311  # nothing secret
    template = brainir.lower(lambda x: x, jnp.ones(8))
    names = ["x"]
    nodes: list[AnyNode] = []
    for index in range(20_000):
        operands, outputs = tuple(choose.choices(names[-5:], k=choose.choice((1, 2)))), (f"n{index}",)
        if len(operands) == 1:
            op = choose.choice(("neg", "abs", "sign"))
            nodes.append(Unary(op=op, inputs=operands, outputs=outputs, types=("f32[8]",)))
        else:
            op = choose.choice(("add", "mul", "sub"))
            nodes.append(Binary(op=op, inputs=operands, outputs=outputs, types=("f32[8]",)))
        names += outputs
    entry = template.entry_function
    function = Function(
        name=entry.name, inputs=entry.inputs, types=entry.types, nodes=tuple(nodes), outputs=(names[-1],)
    )
    return template.replace(functions=(function,))


def main() -> None:
    """Print a table of ratios."""
    old = lower()
    whole = best(lower)
    print(f"lowering a step of {old.node_count():,} nodes is 1; times relative to it:")
    cases = {
        "one edit": (old, lower(LAYERS // 2)),
        "ten edits": (old, lower(*range(100, LAYERS, LAYERS // 10))),
        "edits of 1% of the nodes": (old, lower(*range(5, LAYERS, LAYERS // 200))),
        "no edit": (old, lower()),
        "20,000 equal nodes, one more": (uniform(20_000), uniform(20_001)),
        "no operation in common": (old, uniform(20_000)),
        "the same operations, woven anew": (woven(1), woven(2)),
    }
    for name, (first, second) in cases.items():
        found = brainir.diff(first, second)
        took = best(lambda first=first, second=second: brainir.diff(first, second))
        told = best(lambda first=first, second=second: str(brainir.diff(first, second)))
        likened = best(lambda first=first, second=second: brainir.relabel(second, like=first))
        print(
            f"  {name:<32} {len(found.changes):>6,} changes   diff {took / whole:.2f}   "
            f"diff with its meaning {told / whole:.2f}   relabel {likened / whole:.2f}"
        )


if __name__ == "__main__":
    main()
