"""The cost of a program as a record: totals, parts, memory, traces."""

from __future__ import annotations

import html

from ...ir.errors import AnalysisError
from ...ir.printer import format_path
from ..diagnostics import Diagnostic
from ..facts import Facts
from ..learning.plan import Algorithm
from .traces import TraceCost

__all__ = ["Cost", "Part"]


class Part(Facts):
    """What the nodes of one name scope, or one operation, cost.

    Parameters
    ----------
    name : str
    nodes : int
        How many run.
    flops, transcendentals, bytes_moved : int
    """

    name: str
    nodes: int
    flops: int
    transcendentals: int
    bytes_moved: int


class Cost(Facts):
    """What running a program once costs, before anything is compiled.

    Parameters
    ----------
    flops : int
        Floating point operations: one for each element of an elementwise operation, two for each product of a
        contraction; transcendental functions are counted apart. A scan counts all of its steps, a cond its most
        expensive branch, a while loop one step.
    transcendentals : int
        Exponentials, logarithms, roots, trigonometric functions and the like.
    bytes_moved : int
        Bytes that all nodes read and write, as if none were fused.
    peak_live_bytes : int
        The most bytes held at once, inputs and constants included; see :func:`peak_live_bytes`.
    parameter_bytes, hidden_bytes, constant_bytes : int
        Bytes of the parameters, of the hidden states, and of constants in the program.
    by_scope : tuple of Part
        The same for each name scope, the model's line where a node has no scope; most expensive first.
    by_operation : tuple of Part
        The same for each operation.
    traces : tuple of TraceCost
        Memory of the eligibility traces, for each relation and group.
    caveats : tuple of Diagnostic
        What is counted once though it may run more often, and what is a guess.
    """

    flops: int
    transcendentals: int
    bytes_moved: int
    peak_live_bytes: int
    parameter_bytes: int
    hidden_bytes: int
    constant_bytes: int
    by_scope: tuple[Part, ...] = ()
    by_operation: tuple[Part, ...] = ()
    traces: tuple[TraceCost, ...] = ()
    caveats: tuple[Diagnostic, ...] = ()

    def trace_bytes(self, algorithm: Algorithm, *, live: bool = True) -> int:
        """Return the bytes of all traces of a learning rule.

        Parameters
        ----------
        algorithm : {"d_rtrl", "es_d_rtrl"}
        live : bool
            Count only states whose trace can differ from zero and still reach the loss.

        Raises
        ------
        AnalysisError
            If there is no such rule.
        """
        if algorithm not in _ALGORITHMS:
            raise AnalysisError(f"algorithm must be 'd_rtrl' or 'es_d_rtrl', not {algorithm!r}")
        field = f"{algorithm}_live" if live else algorithm
        return sum(getattr(each, field) for each in self.traces)

    def _totals(self) -> list[tuple[str, str]]:
        rows = [
            ("flops", f"{self.flops:,}"),
            ("transcendentals", f"{self.transcendentals:,}"),
            ("bytes moved, unfused", f"{self.bytes_moved:,}"),
            ("peak live bytes", f"{self.peak_live_bytes:,}"),
            ("parameter bytes", f"{self.parameter_bytes:,}"),
            ("hidden state bytes", f"{self.hidden_bytes:,}"),
            ("constant bytes", f"{self.constant_bytes:,}"),
        ]
        if self.traces:
            for algorithm, name in _ALGORITHMS.items():
                every, live = self.trace_bytes(algorithm, live=False), self.trace_bytes(algorithm)
                rows.append((f"{name} trace bytes", f"{every:,}; live states only {live:,}"))
        return rows

    def _tables(self) -> list[list[list[str]]]:
        """Return rows of cells, the heads of the columns first."""
        tables = [
            [
                [title, "nodes", "flops", "transcendentals", "bytes moved"],
                *([each.name or "(none)", *(f"{count:,}" for count in _counts(each))] for each in parts[:_SHOWN]),
            ]
            for title, parts in (("scope", self.by_scope), ("operation", self.by_operation))
        ]
        traces = [
            [
                f"{format_path(each.path)} ({each.kind})",
                str(each.group),
                f"{each.live_states} of {each.states}",
                *(f"{count:,}" for count in (each.d_rtrl, each.d_rtrl_live, each.es_d_rtrl, each.es_d_rtrl_live)),
            ]
            for each in self.traces
        ]
        if traces:
            tables.append([["traces of", "group", "live states", "D-RTRL", "live", "ES-D-RTRL", "live"], *traces])
        return tables

    def __repr__(self) -> str:
        totals = self._totals()
        width = max(len(name) for name, _ in totals)
        lines = ["cost of one run", *(f"  {name:<{width}}  {text}" for name, text in totals)]
        for rows in self._tables():
            first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
            for name, *cells in rows:
                aligned = [name.ljust(first), *map(str.rjust, cells, others)]
                lines.append("  " + "  ".join(aligned).rstrip())
        lines += [f"  {line}" for each in self.caveats for line in repr(each).splitlines()[:1]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        totals = "".join(f"<tr><th>{html.escape(name)}</th><td>{text}</td></tr>" for name, text in self._totals())
        tables = []
        for head, *rows in self._tables():
            top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
            body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            tables.append(f"<table><tr>{top}</tr>{body}</table>")
        notes = "".join(f"<li>{html.escape(repr(each))}</li>" for each in self.caveats)
        return f"<table>{totals}</table>{''.join(tables)}" + (f"<ul>{notes}</ul>" if notes else "")


_SHOWN = 12
_ALGORITHMS: dict[Algorithm, str] = {"d_rtrl": "D-RTRL", "es_d_rtrl": "ES-D-RTRL"}


def _counts(part: Part) -> tuple[int, int, int, int]:
    return part.nodes, part.flops, part.transcendentals, part.bytes_moved
