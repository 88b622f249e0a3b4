"""Single questions about positions: which elements of its operands a node sees, and of its first input a function."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.node import Node
from ...ir.ops import CustomJvp, CustomVjp, DotGeneral
from ...ir.program import Function, Program
from ...ir.types import TensorType
from ..dataflow.sites import Site, signature_for
from .flow import DependenceFlow
from .index_maps import IndexMap, nowhere
from .lattice import NOTHING, Source

__all__ = ["acts_elementwise", "flow_from", "input_maps", "local_maps"]


def local_maps(site: Site, program: Program) -> list[list[IndexMap | None]]:
    """Return, for each result of a node and each operand, which element of the operand each element sees.

    Returns
    -------
    list of list of ndarray of int64 or None
        Flat indices into the operand in the shape of the result, -1 where it sees none; None where an element
        sees several, or in a way that is not known.
    """
    flow = DependenceFlow(program, [Source(kind.shape) for kind in site.operands], through_stop_gradient=False)
    facts = flow.visit(site, [flow.start(number) for number in range(len(site.operands))])
    rows: list[list[IndexMap | None]] = []
    for fact, kind in zip(facts, site.results, strict=True):
        row: list[IndexMap | None] = []
        for number in range(len(site.operands)):
            verdict = fact.verdict(number)
            if verdict == "none":
                row.append(nowhere(kind.shape))
            else:
                row.append(flow.maps(fact, number, kind.shape)[0] if verdict == "elementwise" else None)
        rows.append(row)
    return rows


def acts_elementwise(node: Node, kinds: Sequence[TensorType], program: Program) -> bool:
    """Whether element k of each result of a node depends on element k of each operand only.

    Rank-0 operands may count for all k. Custom derivatives are looked into; products without a sum and
    without axes of one operand alone count.
    """
    if node.traits.elementwise:
        return True
    shapes = {TensorType.parse(kind).shape for kind in node.types}
    sized = [kind.shape for kind in kinds if kind.shape]
    if not isinstance(node, CustomJvp | CustomVjp | DotGeneral) or len({*shapes, *sized}) != 1:
        return False
    flow = DependenceFlow(program, [Source(kind.shape) for kind in kinds])
    inputs = [flow.start(number) for number in range(len(kinds))]
    site = Site(node, signature_for(node, kinds), lambda operand: None)
    for result in flow.visit(site, inputs):
        for number, kind in enumerate(kinds):
            if result.verdict(number) == "mixing" or (kind.shape and number in result.maps):
                return False
    return True


def flow_from(program: Program, source: Source) -> DependenceFlow:
    """Return the flow that follows a first input through functions of a program, where it carries a derivative."""
    return DependenceFlow(program, [source], through_stop_gradient=False)


def input_maps(function: Function, flow: DependenceFlow) -> list[tuple[IndexMap, ...] | None]:
    """Return which elements of the first input of a function each of its results sees.

    Parameters
    ----------
    function : Function
    flow : DependenceFlow
        From its first input (:func:`flow_from`). It works out once what nodes of many functions make of the same.

    Returns
    -------
    list of tuple of ndarray of int64, or None
        For each result, index maps all of which hold; None where it sees the input in another way.
    """
    known = flow.run(function, {function.inputs[0]: flow.start(0)})
    found = [(known.get(output, NOTHING), function.type_of(output)) for output in function.outputs]
    return [None if dependence.mixing else flow.maps(dependence, 0, kind.shape) for dependence, kind in found]
