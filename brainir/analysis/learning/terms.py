"""Weight terms: each place where a value made of parameters enters the data, and what its trace is made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.ops import ConvGeneralDilated, DotGeneral, DynamicSlice, Gather
from ...ir.printer import format_node
from ...ir.program import Program, Value
from ..bit_sets import bits, union
from ..facts import Facts
from ..inline import inline_calls
from ..slicing import extract
from ..weights.scan import Meeting, WeightScan
from .linear_rules import product_behind_rule
from .rows import products_in_a_row

__all__ = ["Form", "Term", "find_terms"]

Form = Literal["dot", "embedding", "conv", "sum", "product", "elementwise", "jacobian"]


class Term(Facts):
    """One place where a weight, a value made of parameters and constants only, meets data.

    Parameters
    ----------
    form : str
        How the result depends on the weight. ``dot``: a ``dot_general`` with data; ``embedding``: rows of the
        weight, picked by integers; ``conv``: a convolution with data; ``sum``: products of elements, written out,
        and then summed; ``product``: several weights in a row, linear in the data, seen as one matrix;
        ``elementwise``: the weight meets data element by element; ``jacobian``: anything else.
    paths : tuple of paths
        The parameter states behind the weight.
    weights : tuple of Value
        The values made of parameters. One, but for ``product``.
    x : Value or None
        The data operand; None for ``elementwise``.
    y : Value
        The result; for ``elementwise`` the weight itself.
    chain : Program
        From the parameter leaves to the weights.
    chain_invars : tuple of Value
        The leaves.
    operation : Program or None
        From the weights, `x` and what else is needed to `y`; None for ``elementwise``.
    operation_invars : tuple of Value
        The values that its inputs stand for.
    weight_operand : int
        Which operand of the node is the weight; for ``dot``.
    node_indices : tuple of int
        Places of the nodes in the flat entry; empty for ``elementwise``.
    node : str
        The operation, for people.
    source : str
        The model's line.
    """

    form: Form
    paths: tuple[StatePath, ...]
    weights: tuple[Value, ...]
    x: Value | None
    y: Value
    chain: Program
    chain_invars: tuple[Value, ...]
    operation: Program | None = None
    operation_invars: tuple[Value, ...] = ()
    weight_operand: int = 0
    node_indices: tuple[int, ...] = ()
    node: str = ""
    source: str = ""

    @property
    def main_node(self) -> Node:
        """The node that multiplies, in the operation program."""
        if self.operation is None:
            raise TypeError("an elementwise term has no operation")
        return self.operation.entry_function.nodes[-1]


def find_terms(scan: WeightScan) -> tuple[Term, ...]:
    """Return the terms of a step, whether or not they reach a hidden state.

    Weights inside control flow are left out, as are those behind a ``stop_gradient``.
    """
    return tuple(_Finder(scan).terms())


class _Finder:
    def __init__(self, scan: WeightScan) -> None:
        self.scan = scan
        self.products = products_in_a_row(scan)
        self._numbers = itertools.count()

    def terms(self) -> Iterator[Term]:
        scan = self.scan
        seen: set[str] = set()
        done: set[tuple[Meeting, ...]] = set()
        for meeting in scan.meetings:
            weights = [name for name in meeting.weights if scan.leaves.get(name) and self._is_inexact(name)]
            product = self.products.get(meeting.index)
            if not weights or meeting.how == "control_flow":
                continue
            if product is not None:
                if product not in done:
                    done.add(product)
                    yield self._product(product)
                continue
            for weight in weights:
                if meeting.how == "product":
                    yield from self._single(meeting, weight)
                elif meeting.total is not None:
                    yield self._sum(meeting, meeting.total, weight)
                elif weight not in seen:
                    seen.add(weight)
                    yield self._elementwise(weight, meeting)
        for hidden in scan.states.hidden:
            if scan.is_param(hidden.new) and self._is_inexact(hidden.new) and hidden.new not in seen:
                seen.add(hidden.new)
                yield self._elementwise(hidden.new, None)

    def _name(self) -> str:
        """Return what the programs of one more term are called after."""
        return f"term_{next(self._numbers)}"

    def _is_inexact(self, name: str) -> bool:
        return self.scan.function.type_of(name).is_inexact

    def _chain(self, name: str, weights: list[str]) -> tuple[Program, tuple[Value, ...], tuple[StatePath, ...]]:
        mask = union(self.scan.leaves, weights)
        # The chain starts at parameters only, so at those behind a `stop_gradient`, too.
        needed = mask | union(self.scan.frozen, weights)
        params = self.scan.states.params
        leaves = [params[number] for number in bits(mask)]
        sources = [params[number].value.name for number in bits(needed)]
        chain, invars = extract(f"{name}_weight", self.scan.function, self.scan.program, sources, weights)
        return chain, invars, tuple(dict.fromkeys(leaf.path for leaf in leaves if leaf.value.aval.is_inexact))

    def _single(self, meeting: Meeting, weight: str) -> Iterator[Term]:
        scan, node = self.scan, meeting.node
        results = [output for output in node.outputs if scan.function.type_of(output).is_inexact]
        if len(results) != 1:
            return
        form = _form_of(node, weight, scan) if node.inputs.count(weight) == 1 else "jacobian"
        term = self._operation(form, meeting, [weight], results[0], (meeting.index,))
        yield self._opened(term, meeting) if form == "jacobian" else term

    def _opened(self, term: Term, meeting: Meeting) -> Term:
        """See through the rule of a product that has one of its own."""
        node, values = meeting.node, term.operation_invars
        if term.operation is None or len(values) != 2 or not values[1].aval.is_inexact:
            return term
        weight, data = (node.inputs.index(value.name) for value in values)
        form = product_behind_rule(node, weight, data, self.scan.program)
        if form is None:
            return term
        entry = inline_calls(term.operation.entry_function, term.operation, keep_rules=False)
        operation = Program(entry=entry.name, interface=term.operation.interface, functions=(entry,))
        last = entry.nodes[-1]
        return term.model_copy(
            update={
                "form": form,
                "operation": operation,
                "weight_operand": last.inputs.index(entry.inputs[0]) if form == "dot" else 0,
            }
        )

    def _sum(self, meeting: Meeting, total: Node, weight: str) -> Term:
        y = total.outputs[0]
        form: Form = "jacobian" if self._repeats(meeting.node.outputs[0], y) else "sum"
        return self._operation(form, meeting, [weight], y, (meeting.index, self.scan.function.places[y]))

    def _repeats(self, product: str, total: str) -> bool:
        """Whether products are repeated before they are summed, so that each goes into several sums."""
        function, name = self.scan.function, product
        while name != total:
            (user,) = function.users[name]
            if user.traits.structural and function.type_of(user.outputs[0]).size > function.type_of(name).size:
                return True
            name = user.outputs[0]
        return False

    def _product(self, row: tuple[Meeting, ...]) -> Term:
        weights = list(dict.fromkeys(weight for each in row for weight in each.weights if self.scan.is_param(weight)))
        y, indices = row[-1].node.outputs[0], tuple(each.index for each in row)
        return self._operation("product", row[0], weights, y, indices)

    def _operation(self, form: Form, first: Meeting, weights: list[str], y: str, indices: tuple[int, ...]) -> Term:
        """Return the term of the nodes from where the data meets the first weight to the result."""
        scan, node, x, name = self.scan, first.node, first.data[0], self._name()
        chain, chain_invars, paths = self._chain(name, weights)
        stop = {*node.inputs} - {*weights, x}
        operation, invars = extract(f"{name}_operation", scan.function, scan.program, [*weights, x], [y], stop=stop)
        return Term(
            form=form,
            paths=paths,
            weights=tuple(scan.function.value(weight) for weight in weights),
            x=scan.function.value(x),
            y=scan.function.value(y),
            chain=chain,
            chain_invars=chain_invars,
            operation=operation,
            operation_invars=invars,
            weight_operand=node.inputs.index(weights[0]),
            node_indices=indices,
            node=format_node(node),
            source=node.source,
        )

    def _elementwise(self, weight: str, meeting: Meeting | None) -> Term:
        chain, invars, paths = self._chain(self._name(), [weight])
        value = self.scan.function.value(weight)
        return Term(
            form="elementwise",
            paths=paths,
            weights=(value,),
            x=None,
            y=value,
            chain=chain,
            chain_invars=invars,
            node=format_node(meeting.node) if meeting is not None else "the new value of a hidden state",
            source=meeting.node.source if meeting is not None else "",
        )


def _form_of(node: Node, weight: str, scan: WeightScan) -> Form:
    """Return how the result of a node depends on a weight that is one of its operands, once."""
    match node:
        case DotGeneral():
            return "dot"
        case ConvGeneralDilated() if node.batch_group_count == 1 and node.inputs[1] == weight:
            return "conv"
        case Gather() | DynamicSlice() if node.inputs[0] == weight and _picks_rows(node, scan):
            return "embedding"
        case _:
            return "jacobian"


def _picks_rows(node: Gather | DynamicSlice, scan: WeightScan) -> bool:
    """Whether a node gives whole rows of its first operand, picked by data."""
    table = scan.function.type_of(node.inputs[0]).shape
    if node.slice_sizes != (1, *table[1:]):
        return False
    if isinstance(node, DynamicSlice):
        # The starts along its own axes are clamped to zero.
        return scan.is_data(node.inputs[1])
    numbers, rank = node.dimension_numbers, scan.function.type_of(node.outputs[0]).ndim
    return (
        numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
        and not numbers.operand_batching_dims
        and numbers.offset_dims == tuple(range(rank - len(table) + 1, rank))
    )
