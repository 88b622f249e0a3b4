"""Bodies of functions as Python source: one statement for a node, or for several that read well together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..ir.node import Node
from ..ir.ops import Cond, While
from ..ir.program import Function
from .constants import ModuleConstants
from .expression_printing import ExpressionPrinter
from .expressions import Apply, CustomJvpOf, CustomVjpOf, Expression, JitOf, Join, Lambda, Name, SplitAt
from .idioms import idiom, platform_places, predicates, two_way_cond
from .inlining import Pending, evaluated, fitting, is_nameless, use_counts
from .layout import Doc, call, commas, display, flat, statement
from .references import References
from .rules import gives_tuple

__all__ = ["FunctionPrinter"]

_WIDEST = 72
"""Columns of an expression that goes into another one, or has one in it."""


class FunctionPrinter(ExpressionPrinter):
    """Writes the body of one function.

    Attributes
    ----------
    note : str
        The model's line of what :meth:`outputs` computes, if it is another than above.
    """

    def __init__(
        self,
        function: Function,
        constants: ModuleConstants,
        table: References,
        arrays: Collection[str],
        reserved: Collection[str],
        names: Mapping[str, str],
    ) -> None:
        super().__init__(function, constants, table, arrays, reserved, names)
        self._uses = use_counts(function)
        self._predicates = predicates(function, self._uses)
        self._implied = platform_places(function, self._uses) | self._predicates.keys()
        self.note = ""

    def outputs(self) -> list[Doc]:
        """Return the outputs; to be asked for after :meth:`body`, which may leave some of them to be computed here."""
        return [self.operand(name, in_python=True) for name in self._function.outputs]

    def body(self) -> Iterator[str]:
        """Yield the lines of the nodes, with the model's line where it changes."""
        pending: list[Pending] = []
        shown = ""
        for node in self._function.nodes:
            if node.outputs and node.outputs[0] in self._implied:
                continue
            expression = self._expression(node)
            taken = self._take_in(pending, expression, node.source)
            source = node.source or next((each.source for each in reversed(taken) if each.source), "")
            before = pending[: len(pending) - len(taken)]
            if self._can_wait(node, expression):
                made = Pending(node.outputs[0], *self.value(expression), source)
                if made.width <= _WIDEST:
                    pending = [*before, made]
                    continue
            for doc, note in (*map(self._waited, before), (self._assignment(node, expression), source)):
                yield from statement(doc, 4, note if note != shown else "")
                shown = note or shown
            pending = []
        # What is left and only returned is written where it is returned.
        last = pending[-1].source if pending else ""
        first = len(pending) - fitting(pending, self._function.outputs, last or shown)
        for doc, note in map(self._waited, pending[:first]):
            yield from statement(doc, 4, note if note != shown else "")
            shown = note or shown
        self.inlined = {each.name: each for each in pending[first:]}
        self.note = last if self.inlined and last != shown else ""

    def _expression(self, node: Node) -> Expression:
        """Return the call that a node is, as it reads best."""
        if isinstance(node, Cond) and node.inputs[0] in self._predicates:
            return two_way_cond(node, self._predicates[node.inputs[0]])
        expression = self._table.expression(node, self._function)
        if isinstance(node, While) and isinstance(expression, Apply) and self._table.result_types(node.cond)[0].ndim:
            return Apply(Name("prelude.while"), expression.arguments)
        return idiom(expression, self._function.type_of)

    def _waited(self, pending: Pending) -> tuple[Doc, str]:
        """Return the statement for a value that no expression took in, and the model's line."""
        return (self.name(pending.name), " = ", *pending.doc), pending.source

    def _take_in(self, pending: Sequence[Pending], expression: Expression, source: str) -> Sequence[Pending]:
        """Return the last pending values that an expression has room for; from now on it holds them."""
        source = source or (pending[-1].source if pending else "")
        for count in range(fitting(pending, tuple(evaluated(expression)), source), 0, -1):
            taken = pending[len(pending) - count :]
            self.inlined = {each.name: each for each in taken}
            if len(flat(self.doc(expression))) <= _WIDEST:
                return taken
        self.inlined = {}
        return ()

    def _can_wait(self, node: Node, expression: Expression) -> bool:
        """Whether the user of a node may take it in."""
        if not is_nameless(node) or self._uses[node.outputs[0]] != 1 or node.traits.effectful:
            return False
        if not gives_tuple(node):
            return True
        match expression:
            case Apply(JitOf() | CustomJvpOf() | CustomVjpOf() as key):
                return self._table.returns_bare(key.function)
        return False

    def _assignment(self, node: Node, expression: Expression) -> Doc:
        names: list[Doc] = [(self.name(name),) for name in node.outputs]
        single = len(names) == 1
        match expression:
            case Apply(JitOf() | CustomJvpOf() | CustomVjpOf() as key, arguments) if single:
                # A function with one result gives it without a tuple around it, or the tuple is taken apart.
                value = call(self._table.callee(key), self.items(arguments))
                return (
                    *(names[0] if self._table.returns_bare(key.function) else display(names)),
                    " = ",
                    *value,
                )
            case Join(Apply(_, (Lambda(_, SplitAt(_, index)), *_)) as both) if names:
                parts = [display(part) if part else ("_",) for part in (names[:index], names[index:])]
                return (*commas(parts), " = ", *self.doc(both))
        value = self.doc(expression)
        if not names:
            return value
        targets = display(names) if single and gives_tuple(node) else commas(names)
        return (*targets, " = ", *value)
