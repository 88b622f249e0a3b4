"""Runs passes in order, verifies before and after each, checks what they promise, and records what they did."""

from __future__ import annotations

from collections.abc import Iterable

from ...ir.calls import runs_first
from ...ir.errors import AnalysisError, BrainIRError, PassError
from ...ir.node import Node
from ...ir.ops import Cond
from ...ir.program import Program
from ...ir.verifier import verify
from ..facts import Facts
from .base import Pass, PassResult
from .common_subexpressions import CommonSubexpressions
from .cond_to_select import CondToSelect
from .constant_folding import ConstantFolding
from .copy_propagation import CopyPropagation
from .dead_code import DeadCode
from .inline import InlineCalls
from .unroll_scans import UnrollScans

__all__ = ["DEFAULT_PASSES", "PASSES", "PassRun", "apply_passes", "run_passes"]

PASSES: dict[str, type[Pass]] = {
    each.name: each
    for each in (
        InlineCalls,
        CopyPropagation,
        ConstantFolding,
        CommonSubexpressions,
        DeadCode,
        CondToSelect,
        UnrollScans,
    )
}
"""The built-in passes by name."""

_OTHER_NAMES = {
    "cse": "common_subexpressions",
    "common_subexpression_elimination": "common_subexpressions",
    "dce": "dead_code",
    "dead_code_elimination": "dead_code",
    "fold_constants": "constant_folding",
    "inline_calls": "inline",
    "propagate_copies": "copy_propagation",
    "scan_unroll": "unroll_scans",
    "unroll": "unroll_scans",
    "unroll_scan": "unroll_scans",
}

DEFAULT_PASSES: tuple[str, ...] = (
    "inline",
    "copy_propagation",
    "constant_folding",
    "inline",
    "copy_propagation",
    "common_subexpressions",
    "dead_code",
)
"""What :func:`run_passes` runs if not told otherwise."""


class PassRun(Facts):
    """What a sequence of passes made of a program.

    Parameters
    ----------
    results : tuple of PassResult
        One for each pass, in order.
    program : Program
        The program after the last pass.
    """

    results: tuple[PassResult, ...]
    program: Program

    @property
    def modified(self) -> bool:
        """Whether any pass changed the program."""
        return any(each.modified for each in self.results)

    def __repr__(self) -> str:
        return "\n".join(repr(each) for each in self.results) or "no passes"


def run_passes(program: Program, passes: str | Pass | Iterable[str | Pass] = DEFAULT_PASSES) -> Program:
    """Rewrite a program with passes, in the order given.

    The program is verified before the first pass and after each. What each pass did is noted in the metadata of the
    result, which do not count for :func:`~brainir.ir.canonical.fingerprint`; :func:`apply_passes` returns it as data.

    Parameters
    ----------
    program : Program
    passes : iterable of str or Pass
        Names of built-in passes, or passes with options, such as ``UnrollScans(max_length=40)``. One alone is a list of
        one.

    Returns
    -------
    Program
        `program` itself if no pass changed it.

    Raises
    ------
    AnalysisError
        If there is no pass of a name.
    PassError
        If a pass has no name, returns an invalid program, or does not keep what it declares to keep.
    VerificationError
        If `program` is not valid.
    """
    return apply_passes(program, passes).program


def apply_passes(program: Program, passes: str | Pass | Iterable[str | Pass] = DEFAULT_PASSES) -> PassRun:
    """Do what :func:`run_passes` does, and return what each pass did as data.

    Parameters
    ----------
    program : Program
    passes : iterable of str or Pass

    Returns
    -------
    PassRun

    Raises
    ------
    AnalysisError, PassError, VerificationError
        As :func:`run_passes`.
    """
    given = passes if isinstance(passes, Iterable) and not isinstance(passes, str) else (passes,)
    chosen = [_find(each) for each in given]
    verify(program)
    results = []
    for each in chosen:
        result = each.run(program)
        _check(each, program, result)
        if result.modified:
            program = _noted(result)
            result = result.replace(program=program)
        results.append(result)
    return PassRun(results=tuple(results), program=program)


def _find(wanted: str | Pass) -> Pass:
    if isinstance(wanted, Pass):
        if not hasattr(wanted, "name"):
            raise PassError(f"{type(wanted).__name__} must set name, a text")
        return wanted
    if not isinstance(wanted, str):
        raise AnalysisError(f"{wanted!r} is no pass; give a name ({', '.join(PASSES)}) or an instance of Pass")
    name = wanted.replace("-", "_").replace(" ", "_")
    found = PASSES.get(_OTHER_NAMES.get(name, name))
    if found is None:
        raise AnalysisError(f"there is no pass {wanted!r}; there are {', '.join(PASSES)}")
    return found()


def _check(each: Pass, before: Program, result: PassResult) -> None:
    """Verify the result of a pass and what the pass declares."""
    if not isinstance(result, PassResult):
        given = type(result).__name__  # type: ignore[unreachable]  # for passes that are not typed
        raise PassError(f"pass {each.name!r} must return a PassResult, not {given}: return self.result(before, after)")
    after = result.program
    if result.modified != (after != before):
        raise PassError(f"pass {each.name!r} says modified={result.modified}, but the program says otherwise")
    if not result.modified:
        return
    try:
        verify(after)
    except BrainIRError as error:
        raise PassError(f"pass {each.name!r} returned an invalid program: {error}") from error
    if each.keeps_interface and _signature(after) != _signature(before):
        raise PassError(f"pass {each.name!r} declares to keep the interface, but changed it")
    if each.only_removes and after.node_count() > before.node_count():
        raise PassError(f"pass {each.name!r} declares to remove nodes only, but added some")
    if each.keeps_effects and _effects(after) < _effects(before):
        raise PassError(f"pass {each.name!r} declares to keep effects, but dropped an effectful operation")


def _signature(program: Program) -> object:
    entry = program.entry_function
    return program.interface, program.entry, entry.types, [str(entry.type_of(name)) for name in entry.outputs]


def _effects(program: Program) -> int:
    """Return how many effectful nodes run in one step whichever branches are taken, those of loops counted once."""
    counts: dict[str, int] = {}
    for function in runs_first(program.table, [program.entry]):
        counts[function.name] = sum(
            node.traits.effectful + _of_choice(node, [counts[name] for name in node.runs()]) for node in function.nodes
        )
    return counts[program.entry]


def _of_choice(node: Node, counts: list[int]) -> int:
    """Return the sum of what the functions count that a node runs; of branches, one runs, and a pass may know which."""
    return min(counts) if isinstance(node, Cond) else sum(counts)


def _noted(result: PassResult) -> Program:
    """Return the program of a result, with what was done in its metadata."""
    program = result.program
    note = "; ".join([result.summary, *(f"{each.code} {each.message}" for each in result.caveats)])
    number = sum(1 for key, _ in program.metadata if key.startswith("pass ")) + 1
    return program.replace(metadata=(*program.metadata, (f"pass {number} {result.name}", note)))
