"""What :func:`why` returns: an explanation with the data flow behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.printer import format_node, format_path
from ...ir.program import Function
from ..diagnostics import Diagnostic
from ..facts import Facts, format_place

__all__ = ["Explanation", "RouteStep", "steps"]

_SHOWN = 12


class RouteStep(Facts):
    """One value on a way through a program.

    Parameters
    ----------
    value : str
        Its name in the flat entry.
    node : str
        The operation behind it; empty for an input.
    source : str
        The model's line, or empty.
    """

    value: str
    node: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return format_place(self.node or f"{self.value} (input)", self.source)


def steps(function: Function, values: Iterable[str]) -> tuple[RouteStep, ...]:
    """Return the values of a way with the nodes behind them."""
    return tuple(_step(value, function.producers.get(value)) for value in values)


def _step(value: str, node: Node | None) -> RouteStep:
    if node is None:
        return RouteStep(value=value)
    return RouteStep(value=value, node=format_node(node), source=node.source)


class Explanation(Facts):
    """Why a parameter is or is not learned online, or why a hidden state is in a group with some states and not others.

    Parameters
    ----------
    path : tuple of str and int
        The state.
    role : {"param", "hidden", "other", "unused"}
    code : str
        The kind of answer, stable between releases; ``BIR100`` for a parameter that is learned online.
    name : str
        The same in words.
    message : str
        The answer in a sentence.
    node : str
        The operation that decides: where the weight acts, or what blocks it; or empty.
    source : str
        The model's line of that operation.
    remedy : str
        What can be done.
    route : tuple of RouteStep
        The shortest way from the parameter to a hidden state (to the result, if it reaches none); for a hidden
        state, from its old to its new value.
    findings : tuple of Diagnostic
        Further findings: on other uses of the parameter; for a hidden state, one for each other hidden state.
    """

    path: StatePath
    role: Literal["param", "hidden", "other", "unused"]
    code: str
    name: str
    message: str
    node: str = ""
    source: str = ""
    remedy: str = ""
    route: tuple[RouteStep, ...] = ()
    findings: tuple[Diagnostic, ...] = ()

    @staticmethod
    def of(
        path: StatePath,
        role: Literal["param", "hidden", "other", "unused"],
        answer: Diagnostic,
        route: tuple[RouteStep, ...] = (),
        findings: tuple[Diagnostic, ...] = (),
    ) -> Explanation:
        """Make an explanation whose answer is a diagnostic."""
        return Explanation(
            path=path,
            role=role,
            code=answer.code,
            name=answer.name,
            message=answer.message,
            node=answer.node,
            source=answer.source,
            remedy=answer.remedy,
            route=route,
            findings=findings,
        )

    @property
    def learned(self) -> bool:
        """Whether the parameter is learned online, by a trace."""
        return self.name == "learned_online"

    def __repr__(self) -> str:
        lines = [f"{format_path(self.path)}: {self.message} [{self.code} {self.name}]"]
        if self.node:
            lines.append(f"  at {format_place(self.node, self.source)}")
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        if self.route:
            lines.append("  the way there:")
            lines += [f"    {each!r}" for each in self.route[:_SHOWN]]
            if len(self.route) > _SHOWN:
                lines[-1:] = [f"    ... {len(self.route) - _SHOWN} more", f"    {self.route[-1]!r}"]
        if self.findings:
            lines.append("  also:")
            lines += [f"    {line}" for each in self.findings for line in repr(each).splitlines()]
        return "\n".join(lines)
