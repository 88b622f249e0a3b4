"""Adds up what the nodes of a program cost, through calls, loops and branches."""

from __future__ import annotations

from typing import NamedTuple

from ...ir.calls import runs_first
from ...ir.collector import collector_paused
from ...ir.node import Node, Traits
from ...ir.ops import Cond, Scan, While
from ...ir.program import Function, Program, require_program
from ...ir.types import TensorType, is_literal
from ..dataflow.sites import signatures_of
from ..diagnostics import Diagnostic, diagnostic, place_of
from .decompositions import ITERATIVE
from .memory import peak_live_bytes
from .report import Cost, Part
from .rules import node_cost
from .traces import trace_costs

__all__ = ["cost"]


class _Tally(NamedTuple):
    nodes: int = 0
    flops: int = 0
    transcendentals: int = 0
    bytes_moved: int = 0

    def plus(self, other: _Tally, times: int = 1) -> _Tally:
        return _Tally(*(mine + times * its for mine, its in zip(self, other, strict=True)))


_Key = tuple[str, str]  # name scope or model's line, operation
_NOTHING = _Tally()


@collector_paused()
def cost(program: Program, *, traces: bool = True) -> Cost:
    """Count what running a program once costs, without running or compiling anything.

    Counts follow XLA's analysis of the unoptimized program; what depends on constants only counts nothing, since it is
    computed when the program is compiled. They are exact for contractions and convolutions; see
    ``docs/cost.md`` for how the rest agrees. Operations without a rule are guessed from their sizes and named in
    `caveats`.

    Parameters
    ----------
    program : Program
    traces : bool
        Whether to count the eligibility traces, for which relations and groups must be found.

    Returns
    -------
    Cost

    Raises
    ------
    AnalysisError
        If a state of the program breaks the rules of a step; see :func:`module_info`.
    """
    require_program(program)
    counter = _Counter(program)
    tallies = counter.tallies[program.entry]
    total = _NOTHING
    for tally in tallies.values():
        total = total.plus(tally)
    sizes = {"param": 0, "hidden": 0, "other": 0}
    for state, values in program.state_inputs():
        sizes[state.role] += sum(value.aval.nbytes for value in values)
    learns = sizes["param"] > 0 and sizes["hidden"] > 0
    return Cost(
        flops=total.flops,
        transcendentals=total.transcendentals,
        bytes_moved=total.bytes_moved,
        peak_live_bytes=peak_live_bytes(program),
        parameter_bytes=sizes["param"],
        hidden_bytes=sizes["hidden"],
        constant_bytes=program.constant_bytes(),
        by_scope=_parts(tallies, 0),
        by_operation=_parts(tallies, 1),
        traces=trace_costs(program) if learns and traces else (),
        caveats=tuple(counter.caveats),
    )


def _parts(tallies: dict[_Key, _Tally], which: int) -> tuple[Part, ...]:
    joined: dict[str, _Tally] = {}
    for key, tally in tallies.items():
        joined[key[which]] = joined.get(key[which], _NOTHING).plus(tally)
    order = sorted(joined.items(), key=lambda item: (-item[1].flops - item[1].transcendentals, -item[1].nodes, item[0]))
    return tuple(
        Part(
            name=name,
            nodes=tally.nodes,
            flops=tally.flops,
            transcendentals=tally.transcendentals,
            bytes_moved=tally.bytes_moved,
        )
        for name, tally in order
    )


class _Counter:
    """The cost of each function, by scope and operation."""

    def __init__(self, program: Program) -> None:
        self.tallies: dict[str, dict[_Key, _Tally]] = {}
        self.caveats: list[Diagnostic] = []
        self._guessed: set[str] = set()
        self._known: dict[int, _Tally] = {}
        for function in runs_first(program.table, [program.entry]):
            self.tallies[function.name] = self._count(function)

    def _count(self, function: Function) -> dict[_Key, _Tally]:
        found: dict[_Key, _Tally] = {}
        places: dict[tuple[str, str, _Tally], int] = {}
        fixed = {constant.name for constant in function.constants}
        for node, signature in zip(function.nodes, signatures_of(function), strict=True):
            if _is_fixed(node, signature.traits, fixed):
                fixed.update(node.outputs)
                continue
            place = node.scope or node.source
            if signature.traits.control:
                for (inner, op), tally in self._inner(node).items():
                    key = (_joined(node, inner), op)
                    found[key] = found.get(key, _NOTHING).plus(tally)
                continue
            if not signature.repeats:
                tally = self._cost(node, function)
            else:
                if signature.number not in self._known:
                    self._known[signature.number] = self._cost(node, function)
                tally = self._known[signature.number]
            spot = (place, node.op, tally)
            places[spot] = places.get(spot, 0) + 1
        for (place, op, tally), times in places.items():
            found[place, op] = found.get((place, op), _NOTHING).plus(tally, times)
        return found

    def _cost(self, node: Node, function: Function) -> _Tally:
        """Return the cost of a node that runs no function."""
        operands = [function.type_of(operand) for operand in node.inputs]
        each = node_cost(node, operands, [TensorType.parse(kind) for kind in node.types])
        if each.estimated and node.op not in self._guessed:
            self._guessed.add(node.op)
            message = (
                f"{node.op} iterates until it converges: counted for a matrix that takes as many rounds as most do"
                if node.op in ITERATIVE
                else f"{node.op} has no cost rule that is known to agree with XLA: guessed from its sizes"
            )
            self.caveats.append(diagnostic("cost_guessed", message, node=node))
        return _Tally(1, each.flops, each.transcendentals, each.bytes_moved)

    def _inner(self, node: Node) -> dict[_Key, _Tally]:
        """Return the cost of what a node runs."""
        bodies = [self.tallies[name] for name in node.runs()]
        if isinstance(node, Cond):
            return max(bodies, key=_weight)
        times = node.length if isinstance(node, Scan) else 1
        if isinstance(node, While):
            message = f"{place_of(node)}: counted once, though it may run any number of times"
            self.caveats.append(diagnostic("cost_of_one_step", message, node=node))
        found: dict[_Key, _Tally] = {}
        for body in bodies:
            for key, tally in body.items():
                found[key] = found.get(key, _NOTHING).plus(tally, times)
        return found


def _is_fixed(node: Node, traits: Traits, fixed: set[str]) -> bool:
    """Whether a node depends on constants only, so that a compiler computes it beforehand."""
    for operand in node.inputs:
        if operand not in fixed and not is_literal(operand):
            return False
    return not (traits.effectful or traits.random)


def _weight(tallies: dict[_Key, _Tally]) -> tuple[int, int]:
    operations = sum(tally.flops + tally.transcendentals for tally in tallies.values())
    return operations, sum(tally.bytes_moved for tally in tallies.values())


def _joined(node: Node, inner: str) -> str:
    """Return the scope of a node inside a function that another node runs."""
    if node.scope and inner:
        return f"{node.scope}/{inner}"
    return inner or node.scope or node.source
