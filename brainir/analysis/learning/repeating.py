"""Weights that an operation repeats along an axis, such as a bias along a batch: repeated by a node of their own."""

from __future__ import annotations

import dataclasses

from ...ir.node import Node
from ...ir.ops import BroadcastInDim
from ...ir.types import TensorType
from ..fresh_names import fresh_name
from ..weights.scan import Meeting, WeightScan

__all__ = ["repeat_weights"]


def repeat_weights(scan: WeightScan) -> WeightScan:
    """Give each weight that meets data element by element the shape of the result.

    The trace of such a weight is kept where its elements reach the hidden states. If one element reaches several
    positions and one position sees several elements, as with a bias for all gates of a batch, this is neither at the
    weight nor at the positions; it is at the repeated weight, each of whose elements reaches one position. Of products
    that are then summed, each has a weight of its own for the same reason.

    Parameters
    ----------
    scan : WeightScan

    Returns
    -------
    WeightScan
        Of a program that computes the same; the scan itself if there is nothing to repeat.
    """
    function = scan.function
    meetings = {each.index: each for each in scan.meetings}
    taken = {*function.value_types}
    repeated: dict[tuple[str, tuple[int, ...]], str] = {}
    nodes: list[Node] = []
    for index, node in enumerate(function.nodes):
        inputs = list(node.inputs)
        for name in _shorter(scan, meetings[index]) if index in meetings else ():
            kind, shape = function.type_of(name), function.type_of(node.outputs[0]).shape
            if (name, shape) not in repeated:
                repeated[name, shape] = fresh_name(f"{name}.repeated", taken)
                nodes.append(_broadcast(name, repeated[name, shape], kind, shape, node))
            inputs = [repeated[name, shape] if each == name else each for each in inputs]
        nodes.append(node if tuple(inputs) == node.inputs else node.replace(inputs=tuple(inputs)))
    if not repeated:
        return scan
    return scan.rewritten(nodes)


def _shorter(scan: WeightScan, meeting: Meeting) -> list[str]:
    node, function = meeting.node, scan.function
    if not node.traits.elementwise or len(node.outputs) != 1:
        return []
    shape = function.type_of(node.outputs[0]).shape
    return [name for name in meeting.weights if scan.is_param(name) and function.type_of(name).shape != shape]


def _broadcast(name: str, result: str, kind: TensorType, shape: tuple[int, ...], node: Node) -> BroadcastInDim:
    first = len(shape) - kind.ndim
    return BroadcastInDim(
        inputs=(name,),
        outputs=(result,),
        types=(str(dataclasses.replace(kind, shape=shape)),),
        shape=shape,
        broadcast_dimensions=tuple(range(first, len(shape))),
        scope=node.scope,
        source=node.source,
    )
