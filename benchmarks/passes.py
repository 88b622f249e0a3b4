"""Time of passes, cost and units on programs of three sizes: per node it should not grow.

Run with ``make bench`` or ``python benchmarks/passes.py``. Prints microseconds for each node of the input, the least of
three runs, and the ratio of the largest to the smallest program.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import brainir
from brainir.analysis.passes import PASSES
from brainir.ir.interface import Argument, Interface, Unit
from brainir.ir.node import Node
from brainir.ir.ops import Binary, Call, Reshape, Unary, UnaryAccuracy
from brainir.ir.program import Function, Program
from brainir.ir.trees import LeafTree, SequenceTree

SIZES = (1_000, 10_000, 100_000)
KIND = "f32[8]"


def program_of(size: int) -> Program:
    """Return a step of `size` nodes: chains with repeated, dead and constant computations, copies and calls."""
    nodes: list[Node] = []
    state = "v"
    for number in range(size // 10):
        name = f"n{number}"
        nodes += [
            Binary(op="mul", inputs=("0.9:f32", state), outputs=(f"{name}.a",), types=(KIND,)),
            Binary(op="mul", inputs=("0.9:f32", state), outputs=(f"{name}.b",), types=(KIND,)),
            Binary(op="add", inputs=(f"{name}.a", f"{name}.b"), outputs=(f"{name}.c",), types=(KIND,)),
            Unary(op="copy", inputs=(f"{name}.c",), outputs=(f"{name}.d",), types=(KIND,)),
            Reshape(inputs=(f"{name}.d",), outputs=(f"{name}.e",), types=(KIND,), new_sizes=(8,)),
            UnaryAccuracy(op="exp", inputs=(f"{name}.e",), outputs=(f"{name}.dead",), types=(KIND,)),
            Binary(op="add", inputs=("1.5:f32", f"{number}.0:f32"), outputs=(f"{name}.k",), types=("f32[]",)),
            Binary(op="mul", inputs=(f"{name}.k", f"{name}.e"), outputs=(f"{name}.f",), types=(KIND,)),
            Binary(op="max", inputs=(f"{name}.f", state), outputs=(f"{name}.g",), types=(KIND,)),
            Call(function="inner", inputs=(f"{name}.g",), outputs=(f"{name}.h",), types=(KIND,)),
        ]
        state = f"{name}.h"
    entry = Function(name="step", inputs=("v",), types=(KIND,), nodes=tuple(nodes), outputs=(state,))  # type: ignore[arg-type]
    inner = Function(
        name="inner",
        inputs=("x",),
        types=(KIND,),
        nodes=(Binary(op="sub", inputs=("x", "0.1:f32"), outputs=("y",), types=(KIND,)),),
        outputs=("y",),
    )
    leaf = LeafTree(unit="mV")
    interface = Interface(
        kind="function",
        arguments=(Argument(name="v", tree=leaf),),
        result=SequenceTree(kind="tuple", children=(leaf,)),
        units=(Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0),),
    )
    return Program(entry="step", interface=interface, functions=(entry, inner))


def least(fn: Callable[[], Any], times: int = 3) -> float:
    """Return the least time of some runs, in seconds."""
    found = float("inf")
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        fn()
        found = min(found, time.perf_counter() - start)
    return found


def main() -> None:
    """Print the table."""
    programs = {size: program_of(size) for size in SIZES}
    tasks: dict[str, Callable[[Program], Any]] = {
        "verify": brainir.verify,
        **{name: (lambda program, made=made: made().run(program)) for name, made in PASSES.items()},
        "run_passes": brainir.run_passes,
        "cost": brainir.cost,
        "check_units": brainir.check_units,
    }
    sys.stdout.write(f"{'us per node':<24}" + "".join(f"{size:>12,}" for size in SIZES) + "   largest / smallest\n")
    for name, task in tasks.items():
        each = [1e6 * least(lambda task=task, size=size: task(programs[size])) / size for size in SIZES]
        row = "".join(f"{value:>12.2f}" for value in each)
        sys.stdout.write(f"{name:<24}{row}   {each[-1] / each[0]:.2f}\n")


if __name__ == "__main__":
    main()
