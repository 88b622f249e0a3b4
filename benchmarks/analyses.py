"""Time and memory of all analyses against the size of a step, and against lowering it.

A step of n hidden states and n parameters in groups of ten coupled states, about 100 nodes a state. Prints, for three
sizes, the time and the peak memory of lowering and of each analysis, and the slope in a log-log plot: 1 is linear.
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


def measured(program: brainir.Program) -> tuple[dict[str, float], float]:
    """Run all analyses on one program, and return the time of each in seconds, and the peak of new memory in MB.

    What an analysis finds is kept with the program for the next, so the first that needs it pays for it.
    """
    times = {}
    for name, run in ANALYSES.items():
        gc.collect()
        start = time.perf_counter()
        run(program)
        times[name] = time.perf_counter() - start
    fresh = brainir.loads(brainir.dumps(program))
    gc.collect()
    tracemalloc.start()
    kept = [run(fresh) for run in ANALYSES.values()]
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    return times, peak


def slope(sizes: list[float], values: list[float]) -> float:
    """Return the slope of the last two sizes in a log-log plot."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, nargs="+", default=[100, 300, 1000])
    arguments = parser.parse_args()
    sizes: list[float] = []
    rows: dict[str, list[float]] = {}
    for states in arguments.states:
        gc.collect()
        start = time.perf_counter()
        program = lowered(states)
        rows.setdefault("lowering", []).append(time.perf_counter() - start)
        sizes.append(program.node_count())
        times, peak = measured(program)
        for name, seconds in times.items():
            rows.setdefault(name, []).append(seconds)
        rows.setdefault("all analyses", []).append(sum(times.values()))
        rows.setdefault("peak of new memory", []).append(peak)
    print("nodes".ljust(32) + "".join(f"{size:>12,.0f}" for size in sizes) + "   slope")
    for name, cells in rows.items():
        unit = "MB" if name.startswith("peak") else "s "
        text = "".join(f"{cell:>9.2f} {unit}" for cell in cells)
        print(name.ljust(32) + text + (f"   {slope(sizes, cells):.2f}" if len(cells) > 1 else ""))
    ratios = (done / lower for done, lower in zip(rows["all analyses"], rows["lowering"], strict=True))
    print("all analyses / lowering".ljust(32) + "".join(f"{ratio:>11.2f} " for ratio in ratios))


if __name__ == "__main__":
    main()
