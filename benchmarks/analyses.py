"""Time and memory of all analyses against the size of a step, and against lowering it.

A step of n hidden states and n parameters in groups of ten coupled states, about 100 nodes a state. Prints, for three
sizes, CPU time of each analysis and peak memory of all as multiples of those of lowering, and the slopes of seconds and
bytes in a log-log plot: 1 is linear.
"""

from __future__ import annotations

import argparse
import gc
import math
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import brainir
from brainir.analysis import relation_diagnostics

WIDTH, COUPLED, CHAIN = 8, 10, 32


def step(params: dict[str, Any], hidden: dict[str, Any], x: Any) -> Any:
    """Take one step: each state leaks, is driven by its own weight, and by the next state of its group."""
    new = {}
    names = sorted(hidden)
    for number, name in enumerate(names):
        first = number - number % COUPLED
        other = hidden[names[first + (number + 1 - first) % COUPLED]]
        value = hidden[name] * 0.9 + x @ params[f"w{name}"]
        for _ in range(CHAIN):
            value = value * 0.99 + 0.01 * other
        new[name] = value
    return new, new[names[-1]]


def lowered(states: int) -> brainir.Program:
    """Lower a step with that many states."""
    names = [f"s{number:05d}" for number in range(states)]
    params = {f"w{name}": jax.ShapeDtypeStruct((4, WIDTH), jnp.float32) for name in names}
    hidden = {name: jax.ShapeDtypeStruct((WIDTH,), jnp.float32) for name in names}
    return brainir.lower_step(step, params, hidden, jax.ShapeDtypeStruct((4,), jnp.float32))


def structures(program: brainir.Program) -> list[Any]:
    """Find the structure of the Jacobian of every group."""
    return [group.jacobian_structure for group in brainir.find_hidden_groups(program)]


ANALYSES: dict[str, Callable[[brainir.Program], Any]] = {
    "module_info": brainir.module_info,
    "position_dependence": brainir.position_dependence,
    "groups and Jacobian structure": structures,
    "relations": brainir.find_hidden_param_op_relations,
    "diagnostics": relation_diagnostics,
    "perturbation": brainir.add_hidden_perturbation,
    "cost": brainir.cost,
    "units": brainir.check_units,
}


def seconds(run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the CPU time that something takes, and what it returns."""
    gc.collect()
    start = time.process_time()
    result = run(*arguments)
    return time.process_time() - start, result


def megabytes(run: Callable[[], Any]) -> float:
    """Return the peak of the memory that something allocates in Python."""
    gc.collect()
    tracemalloc.start()
    kept = run()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    return peak


def measured(states: int, repeats: int) -> tuple[int, dict[str, float]]:
    """Lower and analyse a step; return its nodes, the least times in seconds, and the peaks of memory in MB.

    What an analysis finds is kept with the program for the next, so the first that needs it pays for it.
    """
    found: dict[str, float] = {}
    for _ in range(repeats):
        spent, program = seconds(lowered, states)
        times = {"lowering": spent}
        for name, run in ANALYSES.items():
            times[name], _ = seconds(run, program)
        times["all analyses"] = sum(times[name] for name in ANALYSES)
        found = {name: min(spent, found.get(name, spent)) for name, spent in times.items()}
    fresh = brainir.loads(brainir.dumps(program))
    found["memory of lowering"] = megabytes(lambda: lowered(states))
    found["memory of all analyses"] = megabytes(lambda: [run(fresh) for run in ANALYSES.values()])
    return program.node_count(), found


def slope(sizes: list[float], values: list[float]) -> float:
    """Return the slope of the last two sizes in a log-log plot."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    sizes: list[float] = []
    rows: dict[str, list[float]] = {}
    for states in arguments.states:
        nodes, found = measured(states, arguments.repeats)
        sizes.append(nodes)
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    print("nodes".ljust(36) + "".join(f"{size:>12,.0f}" for size in sizes) + "   slope")
    for name, cells in rows.items():
        memory = name.startswith("memory")
        base = rows["memory of lowering" if memory else "lowering"]
        text = "".join(f"{cell / of:>12.2f}" for cell, of in zip(cells, base, strict=True))
        end = f"   {slope(sizes, cells):.2f}" if len(cells) > 1 else ""
        print(name.ljust(36) + text + end + f"   (largest: {cells[-1]:.2f} {'MB' if memory else 's'})")


if __name__ == "__main__":
    main()
