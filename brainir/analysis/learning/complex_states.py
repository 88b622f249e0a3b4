"""Whether hidden states of complex numbers have complex derivatives, which is what a trace holds."""

from __future__ import annotations

from ...ir.errors import AnalysisError
from ...ir.node import Node
from ...ir.printer import format_node
from ...ir.program import Program
from ..groups import HiddenGroup
from ..routes import has_derivative, reached_by_derivatives
from .tails import Tail

__all__ = ["check_complex"]


def check_complex(group: HiddenGroup, tail: Tail) -> None:
    """Check that the new states of a group are complex differentiable, if they are complex.

    Parameters
    ----------
    group : HiddenGroup
    tail : Tail
        The way of a weight into the group.

    Raises
    ------
    AnalysisError
        If real and complex states update together, or a conjugate, an absolute value, a part or an unknown function
        is taken on the way of complex numbers to the new states: the derivative is then no complex number.
    """
    kinds = {value.aval.is_complex for value in group.hidden_invars if value.aval.is_inexact}
    if True not in kinds:
        return
    names = ", ".join(value.name for value in group.hidden_invars)
    if len(kinds) == 2:
        raise AnalysisError(f"real and complex hidden states update together: {names}; {_REMEDY}")
    for program in (group.transition, tail.program):
        node = _not_differentiable(program)
        if node is not None:
            where = f", {node.source}" if node.source else ""
            raise AnalysisError(
                f"the complex hidden states {names} have no complex derivative"
                f"\n  at {format_node(node)}{where}\n{_REMEDY}"
            )


_REMEDY = "keep real and imaginary parts in hidden states of their own"


def _not_differentiable(program: Program) -> Node | None:
    """Return the first node through which complex numbers go that has no complex derivative."""
    function = program.entry_function
    starts = {name: 1 for name in function.inputs if function.type_of(name).is_complex}
    moving = reached_by_derivatives(function, starts)
    for node in function.nodes:
        ends = [name for name in node.outputs if name in moving and has_derivative(node, name)]
        if ends and not moving.keys().isdisjoint(node.inputs):
            is_complex = all(function.type_of(name).is_complex for name in ends)
            if not is_complex or node.op == "conj" or node.refers:
                return node
    return None
