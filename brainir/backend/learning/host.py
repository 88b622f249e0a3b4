"""Programs of a learning plan as JAX functions, and what they may say to the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ...analysis.passes.rewriting import rewrite_functions
from ...ir.effects import effectful_functions, runs_effects
from ...ir.errors import EmissionError
from ...ir.ops import CustomVjp
from ...ir.printer import format_node
from ...ir.program import Function, Program
from ..evaluate import Evaluator

__all__ = ["Environment", "PlanFunctions", "Run", "goes_forward"]

Environment: TypeAlias = Mapping[str, Any]
"""Values of a step, by name."""

Run: TypeAlias = Callable[..., tuple[Any, ...]]


class PlanFunctions:
    """Makes JAX functions of the programs of a learning plan.

    Parameters
    ----------
    externals : mapping
        Functions for what the step calls on the host, by name.
    """

    def __init__(self, externals: Mapping[str, Callable[..., Any]]) -> None:
        self._externals = externals

    def of_step(self, program: Program) -> Run:
        """Return the function of the step itself, which runs once for each step of the model, with its effects."""
        return Evaluator(program, self._externals).function(program.entry)

    def of_part(self, program: Program) -> Run:
        """Return the function of what computes parts of the step again, and does not say anything twice.

        Raises
        ------
        EmissionError
            If it reads a result of a call that has effects: a second call could give another one.
        """
        silent = rewrite_functions(program, lambda function, table: _silent(function))
        effectful = effectful_functions({each.name: each for each in silent.functions})
        if silent.entry in effectful:
            nodes = (node for node in silent.entry_function.nodes if runs_effects(node, effectful))
            node = next(nodes)
            raise EmissionError(
                f"the learner would compute {format_node(node)} twice in a step, and it has effects; compute it before "
                "the step, and give it as an input"
            )
        return self.of_step(silent)


def goes_forward(program: Program) -> bool:
    """Whether JAX has a forward mode of a program: of functions with backward rules it has none."""
    return not any(isinstance(node, CustomVjp) for function in program.functions for node in function.nodes)


def _silent(function: Function) -> Function:
    """Leave out what has no result: it runs for its effects only."""
    nodes = tuple(node for node in function.nodes if node.outputs)
    return function if len(nodes) == len(function.nodes) else function.replace(nodes=nodes)
