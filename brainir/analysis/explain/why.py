"""Answers why a state is treated as it is, by its path."""

from __future__ import annotations

import difflib

from ...ir.errors import AnalysisError
from ...ir.interface import State
from ...ir.model import StatePath
from ...ir.printer import format_path
from ...ir.program import Program, require_program
from ...ir.trees import leaf_paths
from ..diagnostics import diagnostic
from ..relation_diagnostics import diagnostics_of
from ..weights.operations import WeightOperations
from ..weights.scan import WeightScan
from .hidden import explain_hidden
from .parameters import explain_parameter
from .records import Explanation

__all__ = ["why"]


def why(program: Program, path: StatePath | str) -> Explanation:
    """Explain why a parameter is or is not learned online, or why a hidden state is in its group.

    Parameters
    ----------
    program : Program
    path : tuple of str and int, or str
        Path of a state, as a tuple or dotted (``"syn.comm.weight"``), or the end of a dotted path that no other state
        has (``"weight"``); a leaf of a state stands for the state.

    Returns
    -------
    Explanation
        For a parameter: the way from it to hidden states or the result, and the operation that decides. For a
        hidden state: its group, and for each other hidden state what joins the two or keeps them apart.

    Raises
    ------
    AnalysisError
        If the program has no such state (the message names near ones), or if a state breaks the rules of a step;
        see :func:`module_info`.
    """
    require_program(program)
    state = _find(program, path)
    if not isinstance(state, State):
        message = "the module has this state, but the step neither reads nor writes it"
        return Explanation.of(state, "unused", diagnostic("unused_state", message, path=state))
    scan = WeightScan.of(program)
    if state.role == "param":
        return explain_parameter(WeightOperations.of(scan), state.path)
    if state.role == "hidden":
        return explain_hidden(scan, state.path)
    findings = tuple(each for each in diagnostics_of(WeightOperations.of(scan)) if each.path == state.path)
    if findings:
        return Explanation.of(state.path, "other", findings[0], findings=findings[1:])
    message = "is neither a parameter nor a hidden state, and carries no derivative from step to step"
    return Explanation.of(state.path, "other", diagnostic("other_state", message, path=state.path))


def _find(program: Program, path: StatePath | str) -> State | StatePath:
    """Return the state of a path, or the path itself where the step does not use the state."""
    known: dict[object, State | StatePath] = {}
    for state in program.interface.states:
        for keys, _ in leaf_paths(state.tree):
            known.setdefault((*state.path, *keys), state)
            known.setdefault(_dotted((*state.path, *keys)), state)
    for state in program.interface.states:
        known.update({state.path: state, _dotted(state.path): state, format_path(state.path): state})
    for unused in program.interface.unused:
        for name in (unused, _dotted(unused), format_path(unused)):
            known.setdefault(name, unused)
    if not isinstance(path, str | tuple | list):
        given = type(path).__name__  # type: ignore[unreachable]  # for callers that are not typed
        raise AnalysisError(f"a path is a tuple of keys, or a text with dots between them, not {given}")
    wanted = path if isinstance(path, str) else tuple(path)
    if wanted in known:
        return known[wanted]
    names = [name for name in known if isinstance(name, str)]
    if isinstance(wanted, str):
        ends = [known[name] for name in names if name.endswith(f".{wanted}")]
        if ends and all(each is ends[0] for each in ends):
            return ends[0]
    text = wanted if isinstance(wanted, str) else _dotted(wanted)
    last = [name for name in names if name.rpartition(".")[2] == text.rpartition(".")[2]]
    near = list(dict.fromkeys([*difflib.get_close_matches(text, names, n=3, cutoff=0.5), *last]))[:3]
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    elif names:
        hint = f"it has {', '.join(names[:10])}"
    else:
        hint = "it has none; lower_module and lower_step make programs with states"
    raise AnalysisError(f"the program has no state {text!r}; {hint}")


def _dotted(path: StatePath) -> str:
    return ".".join(map(str, path)) or "()"
