"""Weights that something is added onto at places: what is added is gathered first, and meets the weight afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...ir.node import Node
from ...ir.ops import Binary, BroadcastInDim, Scatter
from ...ir.types import DTYPES, TensorType, literal_text
from ..fresh_names import fresh_name
from ..weights.scan import WeightScan

__all__ = ["add_apart"]


def add_apart(scan: WeightScan) -> WeightScan:
    """Write ``weight.at[places].add(x)`` as ``weight + zeros.at[places].add(x)``, and ``subtract`` likewise.

    The weight then meets data element by element, and products of other weights, such as those of a sparse matrix that
    are added onto a bias, are summed by an operation of their own rather than by one of this weight.

    Parameters
    ----------
    scan : WeightScan

    Returns
    -------
    WeightScan
        Of a program that computes the same up to rounding; the scan itself if nothing is added onto a weight.
    """
    function = scan.function
    onto = {each.index for each in scan.meetings if _adds_onto_weight(scan, each.node)}
    if not onto:
        return scan
    taken = {*function.value_types}
    nodes: list[Node] = []
    for index, node in enumerate(function.nodes):
        nodes += _apart(node, taken) if index in onto else (node,)
    return scan.rewritten(nodes)


def _adds_onto_weight(scan: WeightScan, node: Node) -> bool:
    return isinstance(node, Scatter) and node.op in ("scatter_add", "scatter_sub") and scan.is_param(node.inputs[0])


def _apart(node: Node, taken: set[str]) -> Iterator[Node]:
    kind = TensorType.parse(node.types[0])
    zeros, added = (fresh_name(f"{node.outputs[0]}.{name}", taken) for name in ("zeros", "added"))
    zero = literal_text(np.zeros((), DTYPES[kind.dtype]))
    scope, source = node.scope, node.source
    yield BroadcastInDim(
        inputs=(zero,),
        outputs=(zeros,),
        types=node.types,
        shape=kind.shape,
        broadcast_dimensions=(),
        scope=scope,
        source=source,
    )
    yield node.replace(op="scatter_add", inputs=(zeros, *node.inputs[1:]), outputs=(added,))
    yield Binary(
        op="add" if node.op == "scatter_add" else "sub",
        inputs=(node.inputs[0], added),
        outputs=node.outputs,
        types=node.types,
        scope=scope,
        source=source,
    )
