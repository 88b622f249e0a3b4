"""Why a parameter is learned online, or what keeps it from that."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.printer import format_node
from ..diagnostics import Diagnostic, FindingName, diagnostic
from ..facts import format_paths
from ..relation_diagnostics import diagnostics_of, no_derivatives
from ..routes import has_derivative, route
from ..weights.assembly import Operation
from ..weights.operations import WeightOperations
from .records import Explanation, steps

__all__ = ["explain_parameter"]

# What is said first of a parameter with several findings.
_ORDER: tuple[FindingName, ...] = (
    "scan_descended",
    "only_through_another_weight",
    "blocked_by_stop_gradient",
    "weight_in_control_flow",
    "weight_in_while",
    "opaque_weight_operation",
    "readout",
    "unused_parameter",
)


def explain_parameter(operations: WeightOperations, path: StatePath) -> Explanation:
    """Explain one parameter of a scanned program."""
    return _Explainer(operations, path).explain()


class _Explainer:
    def __init__(self, operations: WeightOperations, path: StatePath) -> None:
        self.operations = operations
        self.scan = operations.scan
        self.function = operations.scan.function
        self.path = path
        self.leaves = [leaf.value.name for leaf in self.scan.states.params if leaf.path == path]
        self.news = [hidden.new for hidden in self.scan.states.hidden]
        self.found = [each for each in diagnostics_of(operations) if each.path == path]

    def explain(self) -> Explanation:
        mine = [each for each in self.operations.operations if each.path == self.path]
        direct = [each for each in mine if any(self.operations.reaches(each, new)[0] for new in self.news)]
        for operation in direct:
            way = self._way(operation, learned=True)
            if way:
                return self._answer(self._learned(operation), way)
        for operation in direct:
            for answer in no_derivatives(self.operations, operation):
                return self._answer(answer, self._way(operation))
        for name in _ORDER:
            for each in self.found:
                if each.name == name:
                    return self._left_out(each)
        message = "the step uses the parameter, but nothing it reaches is a hidden state or the result"
        return self._answer(diagnostic("readout", message, path=self.path), [])

    def _learned(self, operation: Operation) -> Diagnostic:
        states = self.scan.states.hidden
        paths = tuple(each.path for each in states if self.operations.reaches(operation, each.new)[0])
        y = self.function.value(operation.y)
        article = "an" if operation.kind[0] in "aeiou" else "a"
        message = (
            f"is learned online, as {article} {operation.kind} weight with y = {y} that reaches {format_paths(paths)}"
        )
        return diagnostic("learned_online", message, path=self.path, node=self._node_of(operation))

    def _left_out(self, answer: Diagnostic) -> Explanation:
        """Explain a parameter that no relation covers, with the node that keeps it out."""
        operation = next(
            (
                each
                for each in self.operations.operations
                if each.path == self.path and self._shown(each) == answer.node
            ),
            None,
        )
        if operation is None:
            results = [*self.news, *self.function.outputs]
            return self._answer(answer, route(self.function, self.leaves, results))
        way = self._way(operation)
        after = way[way.index(operation.y) :] if operation.y in way else way
        blocking: Node | None = None
        if answer.name == "only_through_another_weight":
            blocking = self._first(after[1:], lambda node: node.outputs[0] in self.scan.blocking)
        elif answer.name == "blocked_by_stop_gradient":
            blocking = self._first(after[1:], lambda node: node.traits.blocks_gradient)
        if blocking is not None:
            message = f"{answer.message}: {format_node(blocking)}"
            answer = answer.replace(message=message, node=format_node(blocking), source=blocking.source)
        return self._answer(answer, way)

    def _answer(self, answer: Diagnostic, way: list[str]) -> Explanation:
        rest = tuple(each for each in self.found if (each.name, each.node) != (answer.name, answer.node))
        rest = tuple(each for each in rest if each.name != answer.name or each.message not in answer.message)
        return Explanation.of(self.path, "param", answer, steps(self.function, way), rest)

    def _way(self, operation: Operation, *, learned: bool = False) -> list[str]:
        """Return a way from the parameter through an operation to a hidden state, or else to the result."""
        blocking = self.scan.blocking

        def is_free(node: Node, name: str) -> bool:
            return has_derivative(node, name) and not (node.outputs and node.outputs[0] in blocking)

        passes = is_free if learned else lambda node, name: True
        behind = route(self.function, [operation.y], self.news, passes)
        if not behind and not learned:
            behind = route(self.function, [operation.y], self.function.outputs)
        weights = [leaf.leaf.value.name for leaf in operation.leaves if not leaf.bias] or self.leaves
        if learned:
            sloped = {each.leaf.value.name for each in self.operations.sloped_leaves(operation)}
            weights = [each for each in weights if each in sloped] or [*sloped]
        ahead = route(self.function, weights, [operation.y])
        return [*ahead, *behind[1:]] if ahead and behind else []

    def _first(self, way: list[str], holds: Callable[[Node], bool]) -> Node | None:
        nodes = (self.function.producers.get(value) for value in way)
        return next((node for node in nodes if node is not None and holds(node)), None)

    def _node_of(self, operation: Operation) -> Node | None:
        return self.function.nodes[operation.nodes[0]] if operation.nodes else None

    def _shown(self, operation: Operation) -> str:
        node = self._node_of(operation)
        return "" if node is None else format_node(node)
