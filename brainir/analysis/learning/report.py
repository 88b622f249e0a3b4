"""What a learner learns how, and what it does not, and why."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...ir.model import StatePath
from ...ir.printer import format_path
from ..diagnostics import Diagnostic
from ..facts import Facts, format_paths, format_place
from ..groups import Blocked, HiddenGroup
from ..relation_diagnostics import diagnostics_of
from ..weights.operations import WeightOperations
from ..weights.scan import WeightScan
from .tails import Untraced
from .terms import Term

__all__ = ["Learned", "LearningReport", "Lost", "learning_report"]

# What a diagnostic of the step means for a learner, where that is something else.
_REASONS = {
    "scan_descended": (
        "is used in a scan of more rounds than are unrolled, which no trace follows; unroll it first, with "
        "run_passes and UnrollScans(max_length=...), to learn it with a trace"
    ),
    "through_another_weight": (
        "along its paths through another weight operation; along the direct ones it has a trace"
    ),
}

_UNTRACED: dict[Untraced, str] = {
    "mixing": (
        " through an operation that mixes positions, which no trace follows; with a stop_gradient around what mixes, "
        "such as a mean, the rest has a trace"
    ),
    "flat": " only in integers or booleans, which have no derivative",
    "unseen": ", from where only paths that no trace carries lead to a loss, if any do",
}

_SHOWN = 3
_RECURRENCE = "recurrence_through_other_state"


class Learned(Facts):
    """A weight that is learned with a trace.

    Parameters
    ----------
    paths : tuple of paths
        The parameter states behind the weight.
    weights : tuple of str
        The weight, with its type.
    form : str
        See :class:`~brainir.analysis.learning.terms.Term`.
    node, source : str
        The operation, and the model's line.
    group : int
        The hidden group that it reaches.
    full, vector : tuple of str
        Hidden states whose trace is kept, whole or as a vector over the inputs.
    not_kept : tuple of str
        Hidden states of the group whose trace is not kept, because no later step needs it: it cannot reach the loss, or
        ends in the step.
    """

    paths: tuple[StatePath, ...]
    weights: tuple[str, ...]
    form: str
    node: str
    source: str
    group: int
    full: tuple[str, ...]
    vector: tuple[str, ...]
    not_kept: tuple[str, ...]

    def __repr__(self) -> str:
        kept = [f"{name} (whole)" for name in self.full] + [f"{name} (vector)" for name in self.vector]
        lines = [f"{format_paths(self.paths)}: {', '.join(self.weights)}, {self.form}, group {self.group}"]
        lines.append(
            f"  traces: {', '.join(kept) or 'none goes on to the next step: it gets the gradient of each step'}"
        )
        if self.not_kept:
            lines.append(f"  no trace for: {', '.join(self.not_kept)}")
        return "\n".join(lines)


class Excluded(Facts):
    """A parameter, or one of its uses, that no trace follows."""

    path: StatePath
    reason: str
    node: str = ""
    source: str = ""

    def __repr__(self) -> str:
        where = f"\n  at {_place(self)}" if self.node else ""
        return f"{format_path(self.path)}: {self.reason}{where}"


class LearningReport(Facts):
    """What is learned how, and what is not and why.

    Parameters
    ----------
    program, algorithm : str
    window : bool
        Whether gradients are taken over windows of several steps.
    learned : tuple of Learned
        Weights with a trace.
    excluded : tuple of Excluded
        Parameters, or uses of them, without a trace. They get the ordinary gradient of each step.
    dropped : tuple of Blocked
        Paths from old to new states that no trace carries from step to step: recurrent weights, layers on layers, and
        whatever else mixes positions. With none, and no `recurrences`, gradients are those of backpropagation for what
        is learned; a window follows these paths inside of it.
    diagnostics : tuple of Diagnostic
        What the analyses have to say about the states and parameters.
    trace_bytes : int
        Bytes of all traces that go on from step to step.
    """

    program: str
    algorithm: str
    window: bool
    learned: tuple[Learned, ...]
    excluded: tuple[Excluded, ...]
    diagnostics: tuple[Diagnostic, ...]
    dropped: tuple[Blocked, ...] = ()
    trace_bytes: int = 0

    @property
    def recurrences(self) -> tuple[Diagnostic, ...]:
        """States that are not hidden, but carry a derivative from step to step, such as a delay: no trace does."""
        return tuple(each for each in self.diagnostics if each.name == _RECURRENCE)

    @property
    def _title(self) -> str:
        windows = ", over windows of several steps" if self.window else ""
        memory = f", with traces of {self.trace_bytes:,} bytes" if self.trace_bytes else ""
        return f"{self.algorithm} of {self.program}{windows}{memory}"

    def __repr__(self) -> str:
        lines = [self._title, "learned with a trace:"]
        lines += _counted(map(_indented, self.learned)) or ["  nothing"]
        lines.append("ordinary gradient of each step only:")
        excluded = [(f"{format_path(each.path)}: {each.reason}", _place(each)) for each in self.excluded]
        lines += _placed(excluded) or ["  nothing"]
        dropped = [(_path(each), _place(each)) for each in self.dropped]
        dropped += [(f"through {format_path(each.path)}: {each.remedy}", _place(each)) for each in self.recurrences]
        lines += ["paths that no trace carries from step to step:", *_placed(dropped)] if dropped else []
        rewrites = [each.message for each in self.diagnostics if not each.path]
        lines += ["rewritten first:", *(f"  {message}" for message in dict.fromkeys(rewrites))] if rewrites else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = list(
            dict.fromkeys(
                (format_paths(each.paths), each.form, ", ".join((*each.full, *each.vector)), _place(each))
                for each in self.learned
            )
        )
        rows += [(format_path(each.path), "no trace", each.reason, _place(each)) for each in self.excluded]
        rows += [(_path(each), "not carried", "", _place(each)) for each in self.dropped]
        rows += [(format_path(each.path), "not carried", each.message, _place(each)) for each in self.recurrences]
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        head = "<tr><th>parameter</th><th>form</th><th>traces, or why none</th><th>operation</th></tr>"
        return f"<table><caption>{html.escape(self._title)}</caption>{head}{cells}</table>"


class Lost(NamedTuple):
    """A term that reaches hidden groups where no trace follows it, and why none does."""

    term: Term
    groups: Sequence[HiddenGroup]
    why: Untraced


def learning_report(
    scan: WeightScan,
    *,
    algorithm: str,
    window: bool,
    learned: Iterable[Learned],
    lost: Iterable[Lost],
    followed: Iterable[Term],
    groups: Iterable[HiddenGroup],
    kept: int,
) -> LearningReport:
    """Put the report together.

    Parameters
    ----------
    scan : WeightScan
    algorithm : str
    window : bool
    learned : iterable of Learned
    lost : iterable of Lost
    followed : iterable of Term
        Terms with a trace.
    groups : iterable of HiddenGroup
    kept : int
        Bytes of the traces.
    """
    diagnostics = diagnostics_of(WeightOperations.of(scan))
    excluded = [
        Excluded(path=path, reason=_untraced(each), node=each.term.node, source=each.term.source)
        for each in lost
        for path in each.term.paths
    ]
    smooth = {leaf.path for leaf in scan.states.params if leaf.value.aval.is_inexact}
    counted = dict.fromkeys(leaf.path for leaf in scan.states.params if leaf.path not in smooth)
    excluded += [
        Excluded(path=path, reason="holds integers or booleans, which have no derivative: its gradient is zero")
        for path in counted
    ]
    products = {path for term in followed if term.form == "product" for path in term.paths}
    excluded += [
        Excluded(path=each.path, reason=_reason(each), node=each.node, source=each.source)
        for each in diagnostics
        if each.path
        and each.path not in counted
        and each.name not in (_RECURRENCE, "unreachable_state")
        and not (each.name == "only_through_another_weight" and each.path in products)
    ]
    return LearningReport(
        program=scan.program.entry,
        algorithm=algorithm,
        window=window,
        learned=tuple(learned),
        excluded=tuple(dict.fromkeys(excluded)),
        diagnostics=diagnostics,
        dropped=tuple(
            dict.fromkeys(each for group in groups for each in group.blocked if each.kind != "stop_gradient")
        ),
        trace_bytes=kept,
    )


def _place(found: Learned | Excluded | Blocked | Diagnostic) -> str:
    return format_place(found.node, found.source)


def _path(dropped: Blocked) -> str:
    through = {
        "weight": "a weight",
        "moved": "a move of positions",
        "different_shape": "a change of positions",
        "dynamic_index": "an index that is not known beforehand",
        "unknown": "an operation that mixes positions",
    }
    kind = through.get(dropped.kind, dropped.kind.replace("_", " "))
    return f"{format_paths(dropped.from_paths)} -> {format_paths(dropped.to_paths)} through {kind}"


def _untraced(lost: Lost) -> str:
    return f"reaches hidden group {', '.join(str(group.index) for group in lost.groups)}{_UNTRACED[lost.why]}"


def _reason(found: Diagnostic) -> str:
    return _REASONS.get(found.name, found.message)


def _counted(entries: Iterable[str]) -> list[str]:
    """Give equal entries, such as the uses of a weight in an unrolled scan, once."""
    return [text if count == 1 else f"{text}\n    {count} uses" for text, count in Counter(entries).items()]


def _placed(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Give what is said of several places once, with the first of them: an unrolled scan has each many times."""
    places: dict[str, list[str]] = {}
    for text, place in entries:
        places.setdefault(text, []).extend([place] if place else [])
    lines = []
    for text, found in places.items():
        lines += [f"  {text}", *(f"    at {place}" for place in found[:_SHOWN])]
        lines += [f"    and at {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return lines


def _indented(item: object) -> str:
    return "\n".join(f"  {line}" for line in repr(item).splitlines())
