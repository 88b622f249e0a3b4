"""Whether the gradient of a step can go backward through all that is on its way."""

from __future__ import annotations

from collections.abc import Iterable

from ...ir.errors import AnalysisError
from ...ir.ops import While
from ...ir.printer import format_node
from ...ir.program import Function
from ..routes import reached_by_derivatives

__all__ = ["check_backward"]


def check_backward(function: Function, starts: Iterable[str], ends: Iterable[str]) -> None:
    """Check that reverse differentiation from some values to others meets no ``while`` loop.

    Parameters
    ----------
    function : Function
        The flat entry.
    starts, ends : iterable of str
        What is differentiated with respect to, and what is differentiated.

    Raises
    ------
    AnalysisError
        If it does: its rounds would have to be taken backward, and how many there are is not known beforehand.
    """
    moving = reached_by_derivatives(function, dict.fromkeys(starts, 1))
    wanted = {name for name in ends if name in moving}
    for node in reversed(function.nodes):
        if wanted.isdisjoint(node.outputs):
            continue
        operands = node.inputs[node.cond_nconsts :] if isinstance(node, While) else node.inputs
        carried = [name for name in operands if name in moving]
        if carried and isinstance(node, While):
            where = f", {node.source}" if node.source else ""
            raise AnalysisError(
                "the gradient of the step would have to go backward through a while loop, whose rounds nobody knows "
                "beforehand"
                f"\n  at {format_node(node)}{where}"
                "\nwrite it as a scan of as many rounds as there can be, in which those after the end change nothing, "
                "or put stop_gradient around it"
            )
        wanted.update(carried)
