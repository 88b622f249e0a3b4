"""Loops of fixed length replaced by copies of their body."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.effects import effectful_functions, runs_effects
from ...ir.ops import BroadcastInDim, Concatenate, Scan, Slice, Squeeze
from ...ir.program import Function, Program
from ...ir.types import TensorType, is_literal
from ..inline import Splicer
from .base import Pass, PassResult
from .replacing import Replacement

__all__ = ["UnrollScans"]


@dataclass(frozen=True)
class UnrollScans(Pass):
    """Replace ``scan`` by as many copies of its body as it has steps.

    Slices of what it scans over become ``slice`` and ``squeeze``, stacked results ``broadcast_in_dim`` and
    ``concatenate``. What is the same in all steps is copied, too, but for what `once` says.

    Parameters
    ----------
    max_length : int
        Longer scans stay.
    select : callable, optional
        Rewrite only the nodes for which it is true.
    max_nodes : int
        A scan stays where its function would grow beyond this.
    once : frozenset of str
        Values of the function with the scan. What its body computes from these alone is computed once.
    """

    name: ClassVar[str] = "unroll_scans"
    gradients: ClassVar = "rounding"
    max_length: int = 16
    select: Callable[[Scan], bool] | None = None
    max_nodes: int = 100_000
    once: frozenset[str] = frozenset()

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        unrolling = _Unrolling(self)
        after = unrolling.run(program)
        return self.result(program, after, {"scans unrolled": unrolling.replaced}, unrolling.caveats)


class _Unrolling(Replacement[Scan]):
    def __init__(self, options: UnrollScans) -> None:
        super().__init__(Scan, options.select, options.max_nodes)
        self._max_length = options.max_length
        self._once = options.once

    def size(self, node: Scan, table: Mapping[str, Function]) -> int:
        """See :meth:`Replacement.size`."""
        around = 2 * (len(node.inputs) - node.num_consts - node.num_carry) + len(node.outputs) - node.num_carry
        return node.length * (len(table[node.body].nodes) + around) + len(node.outputs)

    def obstacle(self, node: Scan) -> str:
        """See :meth:`Replacement.obstacle`."""
        if node.length > self._max_length:
            return f"its length {node.length} exceeds max_length = {self._max_length}"
        if node.length == 0 and len(node.outputs) > node.num_carry:
            return "it stacks the results of no step"
        return ""

    def replace(self, node: Scan, flat: Splicer) -> None:
        """See :meth:`Replacement.replace`."""
        _unroll(flat, node, self._once)


def _unroll(flat: Splicer, node: Scan, once: Collection[str]) -> None:
    first = node.num_consts + node.num_carry
    consts, carry, scanned = node.inputs[: node.num_consts], node.inputs[node.num_consts : first], node.inputs[first:]
    stem = node.outputs[0] if node.outputs else "scan"
    body = flat.table[node.body]
    given = {name for name, const in zip(body.inputs, consts, strict=False) if const in once}
    made: tuple[str, ...] = ()
    if given and node.length:
        same, body = _parted(body, node.num_consts, given, effectful_functions(flat.table))
        made = flat.splice_body(node, same, consts, stem)
    item_kinds = [TensorType.parse(kind) for kind in body.types[first : len(node.inputs)]]
    stacked: list[list[str]] = [[] for _ in node.outputs[node.num_carry :]]
    for step in reversed(range(node.length)) if node.reverse else range(node.length):
        items = [
            _item(flat, node, array, step, kind, f"{stem}.{step}.x{number}")
            for number, (array, kind) in enumerate(zip(scanned, item_kinds, strict=True))
        ]
        results = flat.splice_body(node, body, (*consts, *carry, *items, *made), f"{stem}.{step}")
        carry = results[: node.num_carry]
        for rows, value in zip(stacked, results[node.num_carry :], strict=True):
            rows.append(value)
    for value, result, kind in zip(carry, node.outputs, node.types, strict=False):
        flat.copy(value, result, kind, node)
    for rows, result, kind in zip(stacked, node.outputs[node.num_carry :], node.types[node.num_carry :], strict=True):
        _stack(flat, node, rows[::-1] if node.reverse else rows, result, kind)


def _parted(
    body: Function, num_consts: int, given: Collection[str], effects: Collection[str]
) -> tuple[Function, Function]:
    """Part a body into what it computes from these inputs alone, and the rest, which takes what that gives."""
    known = {*given, *(constant.name for constant in body.constants)}
    same, rest = [], []
    for node in body.nodes:
        is_same = all(is_literal(operand) or operand in known for operand in node.inputs)
        if is_same and not runs_effects(node, effects):
            same.append(node)
            known.update(node.outputs)
        else:
            rest.append(node)
    made = tuple([name for node in same for name in node.outputs])
    kinds = tuple([kind for node in same for kind in node.types])
    consts, types = body.inputs[:num_consts], body.types[:num_consts]
    return (
        body.replace(inputs=consts, types=types, nodes=tuple(same), outputs=made),
        body.replace(inputs=(*body.inputs, *made), types=(*body.types, *kinds), nodes=tuple(rest)),
    )


def _item(flat: Splicer, node: Scan, array: str, step: int, kind: TensorType, stem: str) -> str:
    """Append the slice of a scanned array that a step sees, and return its name."""
    cut, item = flat.fresh(f"{stem}.cut"), flat.fresh(stem)
    scope, source = node.scope, node.source
    row = TensorType(kind.dtype, (1, *kind.shape), kind.weak_type)
    start, limit = (step, *(0,) * kind.ndim), (step + 1, *kind.shape)
    flat.nodes.append(
        Slice(
            inputs=(array,),
            outputs=(cut,),
            types=(str(row),),
            start_indices=start,
            limit_indices=limit,
            scope=scope,
            source=source,
        )
    )
    flat.nodes.append(
        Squeeze(inputs=(cut,), outputs=(item,), types=(str(kind),), dimensions=(0,), scope=scope, source=source)
    )
    return item


def _stack(flat: Splicer, node: Scan, rows: list[str], result: str, kind: str) -> None:
    """Append what joins the rows of all steps along a new first axis."""
    full = TensorType.parse(kind)
    scope, source = node.scope, node.source
    row = TensorType(full.dtype, (1, *full.shape[1:]), full.weak_type)
    axes = tuple(range(1, full.ndim))
    parts = []
    for step, value in enumerate(rows):
        part = flat.fresh(f"{result}.{step}")
        flat.nodes.append(
            BroadcastInDim(
                inputs=(value,),
                outputs=(part,),
                types=(str(row),),
                shape=row.shape,
                broadcast_dimensions=axes,
                scope=scope,
                source=source,
            )
        )
        parts.append(part)
    flat.nodes.append(
        Concatenate(inputs=tuple(parts), outputs=(result,), types=(kind,), dimension=0, scope=scope, source=source)
    )
