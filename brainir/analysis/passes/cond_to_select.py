"""Conditionals replaced by the computation of all branches and a selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.calls import functions_with, runs_first
from ...ir.effects import effectful_functions
from ...ir.node import Node
from ...ir.ops import Clamp, Compare, Cond, ConvertElementType, IntegerPow, SelectN, While
from ...ir.program import Function, Program
from ...ir.types import TensorType, is_literal, literal_array
from ..diagnostics import diagnostic, place_of
from ..inline import Splicer
from .base import Pass, PassResult
from .replacing import Replacement

__all__ = ["CondToSelect"]

# Operations whose derivative is infinite or undefined somewhere, so that times zero it is NaN.
_STEEP = frozenset(
    {
        "acos", "acosh", "asin", "atan2", "atanh", "cbrt", "cholesky", "cosh", "cumprod", "digamma", "div", "eig",
        "eigh", "erf_inv", "exp", "exp2", "expm1", "igamma", "igammac", "lgamma", "log", "log1p", "log2", "lu",
        "polygamma", "polynomial", "pow", "qr", "reduce", "reduce_prod", "reduce_window", "regularized_incomplete_beta",
        "rem", "rsqrt", "sinh", "sqrt", "svd", "tan", "triangular_solve", "tridiagonal_solve", "zeta",
    }
)  # fmt: skip


@dataclass(frozen=True)
class CondToSelect(Pass):
    """Replace ``cond`` by all of its branches and a ``select_n`` for each result.

    A ``cond`` stays if a branch has effects, runs a ``while`` loop (which might never end where the branch was not
    meant to run), or returns what cannot be selected. An index out of range picks the last branch, as before.

    Caveats: all branches are computed (``every_branch_computed``), and where the derivative in a branch that was not
    taken is infinite or NaN, the gradient, zero times that, is NaN (``nan_gradient``).

    Parameters
    ----------
    select : callable, optional
        Rewrite only the nodes for which it is true.
    max_nodes : int
        A ``cond`` stays where its function would grow beyond this.
    """

    name: ClassVar[str] = "cond_to_select"
    gradients: ClassVar = "rounding"
    select: Callable[[Cond], bool] | None = None
    max_nodes: int = 100_000

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        selection = _Selection(self, program)
        after = selection.run(program)
        return self.result(program, after, {"conds replaced": selection.replaced}, selection.caveats)


class _Selection(Replacement[Cond]):
    def __init__(self, options: CondToSelect, program: Program) -> None:
        super().__init__(Cond, options.select, options.max_nodes)
        self._effects = effectful_functions(program.table)
        self._loops = functions_with(program.table, lambda node: isinstance(node, While))

    def size(self, node: Cond, table: Mapping[str, Function]) -> int:
        """See :meth:`Replacement.size`."""
        return sum(len(table[name].nodes) for name in node.branches) + len(node.outputs)

    def obstacle(self, node: Cond) -> str:
        """See :meth:`Replacement.obstacle`."""
        branches = {*node.branches}
        if branches & self._effects:
            return "a branch has effects"
        if branches & self._loops:
            return "a branch runs a while loop, which may not end where the branch is not meant to run"
        if any(TensorType.parse(kind).dtype == "float0" for kind in node.types):
            return "float0 results cannot be selected"
        return ""

    def replace(self, node: Cond, flat: Splicer) -> None:
        """See :meth:`Replacement.replace`."""
        self._note(node, flat.table)
        _replace(flat, node)

    def _note(self, node: Cond, table: Mapping[str, Function]) -> None:
        sizes = [len(table[name].nodes) for name in node.branches]
        message = f"{place_of(node)}: {sum(sizes)} nodes run in every step, where at most {max(sizes)} did"
        self.caveats.append(diagnostic("every_branch_computed", message, node=node))
        run = (inner for function in runs_first(table, node.branches) for inner in function.nodes)
        steep = sorted({inner.op for inner in run if _is_steep(inner)})
        if steep:
            message = f"{place_of(node)}: {', '.join(steep)} in a branch that is not taken can make gradients NaN"
            self.caveats.append(diagnostic("nan_gradient", message, node=node))


def _is_steep(node: Node) -> bool:
    return node.op in _STEEP or (isinstance(node, IntegerPow) and node.y < 0)


def _replace(flat: Splicer, node: Cond) -> None:
    stem = node.outputs[0] if node.outputs else "cond"
    cases = [
        flat.splice_body(node, flat.table[name], node.inputs[1:], f"{stem}.{number}")
        for number, name in enumerate(node.branches)
    ]
    index = _predicate(flat.function, node) or _index(flat, node, stem)
    for result, kind, *values in zip(node.outputs, node.types, *cases, strict=True):
        if len(set(values)) == 1:
            flat.copy(values[0], result, kind, node)
            continue
        flat.nodes.append(
            SelectN(inputs=(index, *values), outputs=(result,), types=(kind,), scope=node.scope, source=node.source)
        )


def _index(flat: Splicer, node: Cond, stem: str) -> str:
    """Return an index that picks the same case of a ``select_n`` as branch of the ``cond``.

    Out of range, a ``cond`` runs its last branch, but a ``select_n`` picks the first case for a negative index.
    """
    index, last = node.inputs[0], len(node.branches) - 1
    producer = flat.function.producers.get(index)
    in_range = is_literal(index) and int(literal_array(index)) >= 0
    if in_range or (isinstance(producer, Clamp) and producer.inputs[0] == "0:i32"):
        return index
    negative, chosen = flat.fresh(f"{stem}.negative"), flat.fresh(f"{stem}.index")
    scope, source = node.scope, node.source
    flat.nodes += [
        Compare(op="lt", inputs=(index, "0:i32"), outputs=(negative,), types=("bool[]",), scope=scope, source=source),
        SelectN(
            inputs=(negative, index, f"{last}:i32"), outputs=(chosen,), types=("i32[]",), scope=scope, source=source
        ),
    ]
    return chosen


def _predicate(function: Function, node: Cond) -> str | None:
    """Return the boolean behind the index of a choice of two, if there is one."""
    if len(node.branches) != 2:
        return None
    value = node.inputs[0]
    while not is_literal(value):
        producer: Node | None = function.producers.get(value)
        if isinstance(producer, Clamp) and producer.inputs[0] == "0:i32" and producer.inputs[2] == "1:i32":
            value = producer.inputs[1]
        elif isinstance(producer, ConvertElementType):
            source = producer.inputs[0]
            return source if function.type_of(source).dtype == "bool" else None
        else:
            return None
    return None
