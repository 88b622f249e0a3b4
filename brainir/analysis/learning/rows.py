"""Products with several weights in a row, such as LoRA's, that are one linear map of the rows of the data."""

from __future__ import annotations

from ...ir.node import Node
from ...ir.ops import DotGeneral
from ..bit_sets import bits, union
from ..weights.scan import Meeting, WeightScan, moves, scales

__all__ = ["products_in_a_row"]


def products_in_a_row(scan: WeightScan) -> dict[int, tuple[Meeting, ...]]:
    """Return, for each weight operation that belongs to several in a row, all of these, by its place in the entry.

    The result of each, scaled and used nowhere else, is the data of the next.
    """
    meetings = {meeting.index: meeting for meeting in scan.meetings}
    rows: dict[int, tuple[Meeting, ...]] = {}
    for meeting in scan.meetings:
        before = _before(meeting, meetings, scan)
        if before is not None:
            row = (*rows.get(before.index, (before,)), meeting)
            rows.update((each.index, row) for each in row)
    return rows


def _before(meeting: Meeting, meetings: dict[int, Meeting], scan: WeightScan) -> Meeting | None:
    """Return the weight operation whose result is the data of this one."""
    if not _maps_rows(meeting, scan):
        return None
    name, places = meeting.data[0], scan.function.places
    while name not in scan.reused and name in places:
        index = places[name]
        if index in meetings:
            before = meetings[index]
            return before if _maps_rows(before, scan) and _belong_together(before, meeting, scan) else None
        node = scan.function.nodes[index]
        data = [operand for operand in node.inputs if scan.is_data(operand)]
        if len(data) != 1 or not _keeps_rows(node, data[0]):
            return None
        (name,) = data
    return None


def _maps_rows(meeting: Meeting, scan: WeightScan) -> bool:
    """Whether a product takes each row of the data, along its last axis, to a row of the result."""
    node = meeting.node
    if not isinstance(node, DotGeneral) or meeting.how != "product" or node.inputs[0] != meeting.data[0]:
        return False
    (left, _), (batch, _) = node.dimension_numbers
    kinds = [scan.function.type_of(operand) for operand in node.inputs]
    return left == (kinds[0].ndim - 1,) and not batch and kinds[1].ndim == 2


def _belong_together(one: Meeting, two: Meeting, scan: WeightScan) -> bool:
    """Whether weights in a row are one: those of one state; in a step of a params pytree, each leaf is a state."""
    if scan.program.interface.kind == "step":
        return True
    leaves = bits(union(scan.leaves, (*one.weights, *two.weights)))
    return len({scan.states.params[number].path for number in leaves}) == 1


def _keeps_rows(node: Node, operand: str) -> bool:
    """Whether a node scales or converts its operand, and moves no element."""
    return scales(node, operand) or (moves(node) and not node.traits.structural)
