"""Why a hidden state is in a group with some states, and not with others."""

from __future__ import annotations

from collections.abc import Iterator

from ...ir.model import StatePath
from ...ir.printer import format_path
from ..diagnostics import Diagnostic, diagnostic
from ..facts import format_paths
from ..groups import HiddenGroup, groups_of
from ..routes import route
from ..weights.scan import WeightScan
from .records import Explanation, steps

__all__ = ["explain_hidden"]

_REASONS = {
    "weight": "a weight operation lies between them",
    "contraction": "a product that sums over positions lies between them",
    "reduction": "a reduction over positions lies between them",
    "cumulative": "a running combination over positions lies between them",
    "control_flow": "control flow that mixes positions lies between them",
    "random": "random numbers lie between them",
    "dynamic_index": "an index that is not known beforehand lies between them",
    "moved": "each element sees one position, but not its own",
    "different_shape": "their positions differ",
    "stop_gradient": "a stop_gradient makes the derivative zero",
    "unknown": "an operation that may mix positions lies between them",
}


def explain_hidden(scan: WeightScan, path: StatePath) -> Explanation:
    """Explain the group of one hidden state of a scanned program."""
    groups = groups_of(scan)
    group = next(each for each in groups if path in each.hidden_paths)
    others = tuple(each for each in group.hidden_paths if each != path)
    message = f"is in hidden group {group.index}, "
    message += f"together with {format_paths(others)}" if others else "with no other state"
    own = next(each for each in scan.states.hidden if each.path == path)
    way = route(scan.function, [own.old], [own.new])
    if not way:
        message += "; its new value does not depend on its old one"
    elif not _sees(group, path, path):
        reasons = [each.kind for each in group.blocked if path in each.from_paths and path in each.to_paths]
        why = f": {_REASONS[reasons[0]]}" if reasons else ""
        message += f"; its new value does not see its old one position by position{why}"
    findings = tuple(_of_pair(group, path, other.path) for other in scan.states.hidden if other.path != path)
    own_blocks = tuple(_own_blocks(group, path))
    return Explanation.of(
        path,
        "hidden",
        diagnostic("hidden_group", message, path=path),
        steps(scan.function, way),
        (*findings, *own_blocks),
    )


def _sees(group: HiddenGroup, new: StatePath, old: StatePath) -> bool:
    """Whether a new value depends on an old one position by position, directly."""
    structure = group.jacobian_structure
    rows = [number for number, (path, _) in enumerate(structure.states) if path == new]
    columns = [number for number, (path, _) in enumerate(structure.states) if path == old]
    return any(structure.at(row, column) is not None for row in rows for column in columns)


def _of_pair(group: HiddenGroup, path: StatePath, other: StatePath) -> Diagnostic:
    """Say why two states are or are not in one group."""
    name = format_path(other)
    if other in group.hidden_paths:
        ways = [
            f"{format_path(new)} depends on the old {format_path(old)}"
            for new, old in ((path, other), (other, path))
            if _sees(group, new, old)
        ]
        if ways:
            message = f"joined with {name}: {' and '.join(ways)}, position by position"
            return diagnostic("states_joined", message, path=path)
        message = f"in one group with {name} through other states only"
        return diagnostic("states_joined", message, path=path)
    between = [
        each
        for each in group.blocked
        if (path in each.from_paths and other in each.to_paths) or (other in each.from_paths and path in each.to_paths)
    ]
    if not between:
        message = f"not joined with {name}: neither new value depends on the other's old value"
        return diagnostic("states_independent", message, path=path)
    message = f"not joined with {name}: {_REASONS[between[0].kind]}"
    found = diagnostic("positions_mixed", message, path=path)
    return found.replace(node=between[0].node, source=between[0].source)


def _own_blocks(group: HiddenGroup, path: StatePath) -> Iterator[Diagnostic]:
    """Name the places where the new value sees its own old value, but not position by position."""
    for each in group.blocked:
        if path in each.from_paths and path in each.to_paths:
            message = f"{format_path(path)} sees its own old value not position by position: {_REASONS[each.kind]}"
            found = diagnostic("positions_mixed", message, path=path)
            yield found.replace(node=each.node, source=each.source)
