"""Perturbation: a program with one more input for each hidden state, added to the state's new value."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..ir.collector import collector_paused
from ..ir.errors import AnalysisError
from ..ir.interface import Argument, State
from ..ir.model import StatePath
from ..ir.node import Node
from ..ir.ops import Binary, Call, Cond
from ..ir.printer import format_path
from ..ir.program import Function, Program, Value, require_program
from ..ir.sharing import reachable_functions
from ..ir.wording import counted
from .facts import Facts
from .fresh_names import Names, fresh_name
from .inline import inline_calls
from .states import HiddenLeaf, StepStates

__all__ = ["HiddenPerturbation", "add_hidden_perturbation"]


class HiddenPerturbation(Facts):
    """A program in which the new value of each hidden state is ``h = f(...) + p``.

    Parameters
    ----------
    perturb_vars : tuple of Value
        The perturbations, inputs of the entry of `program`, in state order.
    perturb_hidden_paths : tuple of paths
        The hidden state of each.
    perturb_hidden_states : tuple of State
        Their records in the interface.
    program : Program
        The perturbed program; the perturbations are its last arguments.
    """

    perturb_vars: tuple[Value, ...]
    perturb_hidden_paths: tuple[StatePath, ...]
    perturb_hidden_states: tuple[State, ...]
    program: Program

    def init_perturb_data(self) -> tuple[NDArray[np.generic], ...]:
        """Return a zero for each perturbation, in its type and without its unit."""
        return tuple(np.zeros(value.shape, value.aval.storage[0]) for value in self.perturb_vars)

    def __repr__(self) -> str:
        lines = [f"perturbation of {counted(len(self.perturb_vars), 'hidden state')} in {self.program.entry}"]
        rows = zip(self.perturb_hidden_paths, self.perturb_vars, strict=True)
        lines += [f"  {format_path(path)}: + {value}" for path, value in rows]
        return "\n".join(lines)


@collector_paused()
def add_hidden_perturbation(program: Program) -> HiddenPerturbation:
    """Add an input to the new value of each hidden state, which every later use in the step sees.

    With zero perturbations the program computes what it did. The gradient with respect to a perturbation is
    the total derivative along all paths from that new value in the step. The perturbations are trailing
    positional arguments named ``perturb_<state>``, with type and unit of the state; plain numbers count in that unit.

    A new value that the step only passes on (an input, possibly of another state) is perturbed where it is
    returned; other uses see the old value. Where states share one new value, each returns its own sum, and
    later uses see all perturbations. A new value that a call or a branch of a ``cond`` computes is perturbed
    inside, where it is computed; one that comes out of a loop or of a function with derivative rules of its
    own is perturbed after it.

    Parameters
    ----------
    program : Program

    Returns
    -------
    HiddenPerturbation

    Raises
    ------
    AnalysisError
        If a hidden state cannot be added to (booleans, keys), or breaks the rules of a step; see
        :func:`module_info`.
    """
    require_program(program)
    program = _with_hidden_returned(program)
    hidden = StepStates.of(program).hidden
    for leaf in hidden:
        if not (leaf.kind.is_inexact or leaf.kind.is_integer):
            raise AnalysisError(
                f"hidden state {format_path(leaf.path)} has type {leaf.kind}, which cannot be perturbed; "
                "make it a floating point array, or a state that is not hidden"
            )
    rewriter = _Rewriter(program)
    entry, perturbations = rewriter.perturb_entry(hidden)
    interface = program.interface
    arguments = tuple(
        Argument(name=name, tree=leaf.state.tree, plain=True)
        for name, leaf in zip(_argument_names(interface.arguments, hidden), hidden, strict=True)
    )
    changed = program.replace(
        interface=interface.replace(arguments=(*interface.arguments, *arguments)),
        functions=(
            entry,
            *(each for each in program.functions if each.name != program.entry),
            *rewriter.branches,
        ),
    )
    return HiddenPerturbation(
        perturb_vars=perturbations,
        perturb_hidden_paths=tuple(leaf.path for leaf in hidden),
        perturb_hidden_states=tuple(leaf.state for leaf in hidden),
        program=_without_unused_functions(changed),
    )


def _argument_names(arguments: tuple[Argument, ...], hidden: Sequence[HiddenLeaf]) -> list[str]:
    taken = {argument.name for argument in arguments}
    return [fresh_name(f"perturb_{re.sub(r'[^A-Za-z0-9_]+', '_', leaf.old)}", taken) for leaf in hidden]


def _without_unused_functions(program: Program) -> Program:
    if len(program.functions) == 1:
        return program
    needed = {each.name for each in reachable_functions(program.table, program.entry)}
    return program.replace(functions=tuple(each for each in program.functions if each.name in needed))


class _Sums:
    """The nodes of one function, and the sums that stand for values to which perturbations are added.

    Parameters
    ----------
    function : Function
    wanted : sequence of str
        A name for each perturbation.

    Attributes
    ----------
    names : list of str
        What each perturbation is called: an input of the function.
    nodes : list of Node
        Those that were added so far.
    of : dict of str to str
        What is read in place of a value.
    """

    def __init__(self, function: Function, wanted: Sequence[str]) -> None:
        self._taken = Names(function)
        self.names = [fresh_name(name, self._taken) for name in wanted]
        self.nodes: list[Node] = []
        self.of: dict[str, str] = {}

    def reading(self, node: Node) -> Node:
        """Return a node that reads sums in place of values."""
        if self.of.keys().isdisjoint(node.inputs):
            return node
        inputs = tuple([self.of.get(operand, operand) for operand in node.inputs])
        return node.placed(inputs, node.outputs, node.types, node.scope, node.source)

    def stand_for(self, node: Node, index: int, perturbations: Sequence[int]) -> None:
        """Let the sum of a result of a node and perturbations stand for the result."""
        value = total = node.outputs[index]
        for which in perturbations:
            total = self._add(total, which, node.types[index], f"{value}.perturbed", node)
        self.of[value] = total

    def add_to_output(self, function: Function, value: str, which: int) -> str:
        """Return the sum of a value and a perturbation, which nothing else reads."""
        kind, origin = str(function.type_of(value)), function.producers.get(value)
        return self._add(value, which, kind, f"{self.names[which]}.sum", origin)

    def _add(self, value: str, which: int, kind: str, wanted: str, origin: Node | None) -> str:
        total = fresh_name(wanted, self._taken)
        scope, source = ("", "") if origin is None else (origin.scope, origin.source)
        operands = value, self.names[which]
        self.nodes.append(
            Binary(op="add", inputs=operands, outputs=(total,), types=(kind,), scope=scope, source=source)
        )
        return total


class _Rewriter:
    """Adds inputs to results of functions, and follows results into the branches that compute them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.function_names = {function.name for function in program.functions}
        self.branches: list[Function] = []

    def perturb_entry(self, hidden: Sequence[HiddenLeaf]) -> tuple[Function, tuple[Value, ...]]:
        """Return the perturbed entry and its new inputs."""
        entry = self.program.entry_function
        position = {leaf.path: index for index, leaf in enumerate(hidden)}
        outputs: dict[int, int] = {}
        owners = [state for state, _, _ in self.program.interface.output_leaves()]
        for index, state in enumerate(owners):
            if state is not None and state.path in position:
                outputs[index] = position[state.path]
        # The new value's own type, weak or not, keeps the types of the sum and of all later results.
        types = [str(entry.type_of(leaf.new)) for leaf in hidden]
        perturbed, names = self.perturb(entry, outputs, types, [f"perturb.{leaf.old}" for leaf in hidden])
        return perturbed, tuple(map(Value, names, types))

    def perturb(
        self, function: Function, outputs: dict[int, int], types: Sequence[str], wanted: Sequence[str]
    ) -> tuple[Function, list[str]]:
        """Add perturbations to outputs of a function.

        Parameters
        ----------
        function : Function
        outputs : dict
            Output index to perturbation index.
        types, wanted : sequence of str
            Type and wanted name of each perturbation.
        """
        function = self._open_calls(function, outputs)
        sums = _Sums(function, wanted)
        shared: dict[str, list[int]] = {}
        for index, which in outputs.items():
            shared.setdefault(function.outputs[index], []).append(which)
        inside: set[str] = set()
        for node in function.nodes:
            mine = {index: shared[name] for index, name in enumerate(node.outputs) if name in shared}
            current = sums.reading(node)
            if isinstance(current, Cond):
                alone = {index: several[0] for index, several in mine.items() if len(several) == 1}
                current = self._perturb_branches(current, alone, types, sums.names)
                inside.update(node.outputs[index] for index in alone)
            sums.nodes.append(current)
            for index, several in mine.items():
                if node.outputs[index] not in inside:
                    sums.stand_for(node, index, several)
        results = []
        for index, value in enumerate(function.outputs):
            if index not in outputs or (value in function.places and len(shared[value]) == 1):
                results.append(sums.of.get(value, value))
            else:
                # It is no result of a node, or that of several states: the sum is for this output alone.
                results.append(sums.add_to_output(function, value, outputs[index]))
        rewritten = function.replace(
            inputs=(*function.inputs, *sums.names),
            types=(*function.types, *types),
            nodes=tuple(sums.nodes),
            outputs=tuple(results),
        )
        return rewritten, sums.names

    def _open_calls(self, function: Function, outputs: dict[int, int]) -> Function:
        """Inline the calls that compute perturbed outputs, so that uses inside them see the sums."""
        while True:
            wanted = {function.outputs[index] for index in outputs}

            def computes(node: Node, wanted: set[str] = wanted) -> bool:
                return isinstance(node, Call) and not wanted.isdisjoint(node.outputs)

            opened = inline_calls(function, self.program, select=computes)
            if opened is function:
                return function
            function = opened

    def _perturb_branches(
        self, node: Cond, outputs: dict[int, int], types: Sequence[str], names: Sequence[str]
    ) -> Cond:
        """Hand perturbations to the branches of a ``cond``, which add them where they compute the results."""
        if not outputs:
            return node
        chosen = list(outputs.values())
        local = {index: chosen.index(which) for index, which in outputs.items()}
        branches = []
        for name in node.branches:
            branch, _ = self.perturb(
                self.program.function(name),
                local,
                [types[which] for which in chosen],
                [names[which] for which in chosen],
            )
            self.branches.append(branch.replace(name=fresh_name(f"{name}_perturbed", self.function_names)))
            branches.append(self.branches[-1].name)
        operands = (*node.inputs, *(names[which] for which in chosen))
        return node.model_copy(update={"inputs": operands, "branches": tuple(branches)})


def _with_hidden_returned(program: Program) -> Program:
    """Return a program that returns every hidden state, those that it leaves alone too."""
    interface = program.interface
    if all(state.returned for state in interface.states if state.role == "hidden"):
        return program
    outputs: list[str] = []
    states: list[State] = []
    for (state, _), (_, new) in zip(program.state_inputs(), program.state_outputs(), strict=True):
        kept = state.returned or state.role == "hidden"
        states.append(state.replace(returned=kept))
        outputs += [value.name for value in new] if kept else []
    entry = program.entry_function
    entry = entry.replace(outputs=(*outputs, *entry.outputs[interface.returned_leaves() :]))
    return program.with_entry(entry, interface.replace(states=tuple(states)))
