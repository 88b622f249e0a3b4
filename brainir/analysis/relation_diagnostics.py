"""What the relations leave out, and why: parameters and states that are not learned online, or not fully."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..ir.collector import collector_paused
from ..ir.model import StatePath
from ..ir.node import Node
from ..ir.ops import Scan, While
from ..ir.printer import format_path
from ..ir.program import Program, require_program
from .bit_sets import bits, union
from .diagnostics import Diagnostic, FindingName, diagnostic
from .facts import format_paths
from .routes import has_derivative, reached_by_derivatives, route
from .weights.assembly import Operation
from .weights.descents import Descent, descents_of
from .weights.operations import WeightOperations
from .weights.scan import Meeting, WeightScan

__all__ = ["diagnostics_of", "no_derivatives", "relation_diagnostics"]


def relation_diagnostics(program: Program) -> tuple[Diagnostic, ...]:
    """Explain what :func:`find_hidden_param_op_relations` leaves out.

    Parameters
    ----------
    program : Program

    Returns
    -------
    tuple of Diagnostic
        In the order of the states, then of the operations. Names: ``readout``,
        ``only_through_another_weight``, ``through_another_weight`` (some paths of a relation are not
        credited), ``no_derivative``, ``blocked_by_stop_gradient``, ``weight_in_control_flow``, ``weight_in_while``,
        ``opaque_weight_operation``, ``recurrence_through_other_state``, ``unreachable_state``, ``unused_parameter``;
        and without a path, what was rewritten: ``every_branch_computed``, ``nan_gradient``, ``left_alone``,
        ``scan_unrolled``, ``scan_descended``.

    Raises
    ------
    AnalysisError
        If a state breaks the rules of a step; see :func:`module_info`.
    """
    require_program(program)
    return diagnostics_of(WeightOperations.of(WeightScan.of(program)))


@collector_paused()
def diagnostics_of(operations: WeightOperations) -> tuple[Diagnostic, ...]:
    """Explain what relations leave out of operations that were found; see :func:`relation_diagnostics`."""
    program = operations.scan.program
    order = {state.path: number for number, state in enumerate(program.interface.states)}
    found = [
        *(each for operation in operations.operations for each in _of_operation(operations, operation)),
        *_of_meetings(operations),
        *_of_control_flow(operations),
        *_recurrences(operations.scan),
        *_states(operations.scan),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda each: order.get(each.path, len(order))))


def _of_operation(operations: WeightOperations, operation: Operation) -> Iterator[Diagnostic]:
    hidden = operations.scan.states.hidden
    ways = operations.reached_states(operation)
    node = operations.scan.function.nodes[operation.nodes[0]] if operation.nodes else None
    through = tuple(hidden[number].path for number, _, indirect in ways if indirect)
    if any(direct for _, direct, _ in ways):
        yield from no_derivatives(operations, operation)
        if through:
            message = f"reaches {format_paths(through)} through another weight operation too, which no trace credits"
            yield diagnostic("through_another_weight", message, path=operation.path, node=node)
    elif through:
        message = f"reaches {format_paths(through)} only through another weight operation in the same step"
        yield diagnostic("only_through_another_weight", message, path=operation.path, node=node)
    elif stopped := tuple(hidden[number].path for number in operations.stopped_states(operation)):
        message = f"reaches {format_paths(stopped)} only through stop_gradient"
        yield diagnostic("blocked_by_stop_gradient", message, path=operation.path, node=node)
    else:
        yield diagnostic("readout", "reaches no hidden state within a step", path=operation.path, node=node)


def no_derivatives(operations: WeightOperations, operation: Operation) -> Iterator[Diagnostic]:
    """Find operations on the way of a related weight through which no derivative passes, before or behind it."""
    function, is_param = operations.scan.function, operations.scan.is_param

    def flat(values: list[str]) -> Node:
        nodes = [(function.producers[value], value) for value in values[1:]]
        return next(node for node, value in nodes if not has_derivative(node, value))

    if not operations.has_slope(operation):
        news, blocking = [hidden.new for hidden in operations.scan.states.hidden], operations.scan.blocking
        node = flat(route(function, [operation.y], news, lambda node, name: node.outputs[0] not in blocking))
        message = f"reaches hidden states only through {node.op}, whose derivative is zero"
        yield diagnostic("no_derivative", message, path=operation.path, node=node)
        return
    sloped = operations.sloped_leaves(operation)
    for each in operation.leaves:
        if each not in sloped:
            node = flat(route(function, [each.leaf.value.name], [each.end], lambda node, name: is_param(name)))
            which = f"its leaf {format_path(each.leaf.keys)} is" if len(operation.leaves) > 1 else "is"
            message = f"{which} used only through {node.op}, whose derivative is zero"
            yield diagnostic("no_derivative", message, path=operation.path, node=node)


def _of_meetings(operations: WeightOperations) -> Iterator[Diagnostic]:
    reasons: list[tuple[FindingName, str, list[tuple[StatePath, Meeting]]]] = [
        ("opaque_weight_operation", "is used in {op}, which has several results", operations.assembly.opaque),
        (
            "blocked_by_stop_gradient",
            "is used behind a stop_gradient, so its gradient there is zero",
            operations.assembly.frozen,
        ),
    ]
    for name, message, meetings in reasons:
        for path, meeting in meetings:
            yield diagnostic(name, message.format(op=meeting.node.op), path=path, node=meeting.node)


def _of_control_flow(operations: WeightOperations) -> Iterator[Diagnostic]:
    """Say what became of weights inside control flow: opened, taken as a step of its own, or not followed."""
    yield from operations.scan.rewrites
    for path, meeting in operations.assembly.in_control_flow:
        node = meeting.node
        descent = descents_of(operations.scan).get(meeting.index)
        if isinstance(descent, Descent):
            message = f"is used in {descent.length} rounds of a scan, whose round is taken as a step of its own"
            yield diagnostic("scan_descended", message, path=path, node=node)
        elif isinstance(node, While):
            message = "is used inside a while loop, so the number of its uses in a step is not known beforehand"
            yield diagnostic("weight_in_while", message, path=path, node=node)
        else:
            message = f"is used inside {node.op}, where weight operations are not followed"
            if isinstance(node, Scan) and descent:
                message += f": its {node.length} rounds are too many to unroll, and {descent}"
            yield diagnostic("weight_in_control_flow", message, path=path, node=node)


def _recurrences(scan: WeightScan) -> Iterator[Diagnostic]:
    """Find states that are not hidden but carry a derivative into the next step."""
    others = scan.states.others
    if not others:
        return
    sources = [
        *(hidden.old for hidden in scan.states.hidden),
        *(leaf.value.name for leaf in scan.states.params),
    ]
    marks = dict.fromkeys(sources, 1)
    for number, (_, old, _) in enumerate(others, start=1):
        marks.update({value.name: 1 << number for value in old})
    found = reached_by_derivatives(scan.function, marks)
    fed = [
        (source, number)
        for number, (_, _, new) in enumerate(others, start=1)
        for source in bits(union(found, [value.name for value in new]))
    ]
    used = bits(union(found, [*(hidden.new for hidden in scan.states.hidden), *scan.results]))
    credited = _closed([0], fed)
    carried = _closed(used, [(number, source) for source, number in fed])
    for number in sorted((credited & carried) - {0}):
        path = others[number - 1][0].path
        message = (
            f"{format_path(path)} is not a hidden state, but its new value depends on hidden states or "
            "parameters and its old value is used in the next step: this recurrence gets no credit"
        )
        yield diagnostic("recurrence_through_other_state", message, path=path)


def _closed(start: Iterable[int], steps: Sequence[tuple[int, int]]) -> set[int]:
    """Return the numbers that any number of steps leads to."""
    found = set(start)
    while more := {after for before, after in steps if before in found} - found:
        found |= more
    return found


def _states(scan: WeightScan) -> Iterator[Diagnostic]:
    for state in scan.program.interface.states:
        if not state.reachable:
            message = "the step uses a state that cannot be reached from the module; its path is made up"
            yield diagnostic("unreachable_state", message, path=state.path)
    used = {operand for node in scan.function.nodes for operand in node.inputs}
    used |= {*scan.results} | {hidden.new for hidden in scan.states.hidden}
    unused = dict.fromkeys(leaf.path for leaf in scan.states.params)
    for leaf in scan.states.params:
        if leaf.value.name in used:
            unused.pop(leaf.path, None)
    for path in unused:
        yield diagnostic("unused_parameter", "the step does not use the parameter", path=path)
