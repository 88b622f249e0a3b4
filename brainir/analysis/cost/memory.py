"""How much memory values of a program take while it runs, each held from its node to its last use."""

from __future__ import annotations

from ...ir.calls import runs_first
from ...ir.node import Node
from ...ir.ops import Scan, While
from ...ir.program import Function, Program
from ...ir.types import TensorType, is_literal

__all__ = ["peak_live_bytes"]


def peak_live_bytes(program: Program) -> int:
    """Return the most bytes that are live at once, without fusion and without reuse of buffers in place.

    Inputs and constants of the entry live throughout. Inside a function that a node runs, what it makes is added to
    what is live around the node; a scan or while loop holds one step at a time, and a cond its largest branch.
    """
    inside: dict[str, int] = {}
    for function in runs_first(program.table, [program.entry]):
        inside[function.name] = _peak(function, inside)
    entry = program.entry_function
    held = sum(TensorType.parse(kind).nbytes for kind in entry.types)
    constants = sum(
        TensorType.parse(constant.type).nbytes for function in program.functions for constant in function.constants
    )
    return held + constants + inside[program.entry]


def _peak(function: Function, inside: dict[str, int]) -> int:
    """Return the most bytes of results of nodes that are live at once inside a function."""
    last = {operand: index for index, node in enumerate(function.nodes) for operand in node.inputs}
    end = len(function.nodes)
    last.update((name, end) for name in function.outputs if not is_literal(name))
    calls = bool(function.callees)
    sizes: dict[str, int] = {}
    ending = [0] * (end + 1)
    live = peak = 0
    for index, node in enumerate(function.nodes):
        for name, kind in zip(node.outputs, node.types, strict=True):
            if kind not in sizes:
                sizes[kind] = TensorType.parse(kind).nbytes
            live += sizes[kind]
            ending[last.get(name, index)] += sizes[kind]
        most = live + _inner(node, inside) if calls and node.reference_names() else live
        if most > peak:
            peak = most
        live -= ending[index]
    return peak


def _inner(node: Node, inside: dict[str, int]) -> int:
    """Return what a node needs inside the functions that it runs, besides its results."""
    peaks = [inside[name] for name in node.runs()]
    if not peaks:
        return 0
    results = 0 if isinstance(node, Scan | While) else _nbytes(node)
    # Results of a call are made inside: they are in its peak already.
    return max(max(peaks) - results, 0)


def _nbytes(node: Node) -> int:
    return sum(TensorType.parse(kind).nbytes for kind in node.types)
