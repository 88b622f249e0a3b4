"""Parts of a function, cut out as programs of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..ir.interface import Argument, Interface, LeafTree, SequenceTree
from ..ir.node import Node
from ..ir.program import Function, Program, Value
from ..ir.types import is_literal
from .inline import Names, fresh_name

__all__ = ["Cutting", "extract", "identifiers"]

_MAX_RECOMPUTED = 64
_LEAF = LeafTree()


class Cutting:
    """Builds a program out of nodes of a function.

    Values that the nodes use and do not define become inputs, after the given ones and in order of first use;
    what is made of constants only is computed inside instead.

    Parameters
    ----------
    name : str
        Name of the new entry.
    function : Function
    program : Program
        Holds the functions that the nodes call.
    inputs : sequence of str
        Values of `function` that are inputs first.
    """

    def __init__(self, name: str, function: Function, program: Program, inputs: Sequence[str]) -> None:
        self.name = name
        self.function = function
        self.program = program
        self.taken = Names(function)
        self.sources = {name: name for name in inputs}
        self.held: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.defined: set[str] = set(inputs)
        self.constants = function.constant_table

    def operand(self, name: str, *, live: bool = True) -> str:
        """Return the name under which the new function has a value.

        Parameters
        ----------
        name : str
            A value of the old function, or a literal.
        live : bool
            If False, the value is held: it comes in as an input of its own, whatever the new function
            computes.
        """
        if is_literal(name) or (live and name in self.defined):
            return name
        if not live:
            if name not in self.held:
                self.held[name] = fresh_name(f"{name}_held", self.taken)
                self.sources[self.held[name]] = name
            return self.held[name]
        if name not in self.constants and not self._recompute(name):
            self.sources[name] = name
        self.defined.add(name)
        return name

    def _recompute(self, name: str) -> bool:
        """Add the nodes behind a value that is made of constants only; False if it is not."""
        wanted: dict[int, Node] = {}
        pending = [name]
        while pending:
            value = pending.pop()
            if is_literal(value) or value in self.constants:
                continue
            node = self.function.producers.get(value)
            if node is None or node.traits.effectful or len(wanted) > _MAX_RECOMPUTED:
                return False
            place = self.function.places[value]
            if place not in wanted:
                wanted[place] = node
                pending += node.inputs
        for _, node in sorted(wanted.items()):
            if not self.defined & {*node.outputs}:
                self.nodes.append(node)
                self.defined.update(node.outputs)
                self.defined.update(operand for operand in node.inputs if operand in self.constants)
        return True

    def add(self, node: Node, operands: Iterable[str]) -> None:
        """Append a node with other operands; results whose names are inputs already get other names."""
        inputs, outputs = tuple(operands), node.outputs
        if not self.sources.keys().isdisjoint(outputs):
            outputs = tuple(fresh_name(name, self.taken) if name in self.sources else name for name in outputs)
        if (inputs, outputs) != (node.inputs, node.outputs):
            node = node.model_copy(update={"inputs": inputs, "outputs": outputs})
        self.nodes.append(node)
        self.defined.update(outputs)

    def finish(self, outputs: Sequence[str]) -> tuple[Program, tuple[Value, ...]]:
        """Return the program, whose result is a tuple, and the old values that its inputs stand for."""
        functions = self._callees()
        name = fresh_name(self.name, {function.name for function in functions})
        used = {operand for node in self.nodes for operand in node.inputs} | {*outputs} if self.constants else set()
        types = self.function.value_types
        entry = Function(
            name=name,
            inputs=tuple(self.sources),
            types=tuple([types[source] for source in self.sources.values()]),
            constants=tuple(each for name, each in self.constants.items() if name in used),
            nodes=tuple(self.nodes),  # type: ignore[arg-type]  # nodes of the schemas only
            outputs=tuple(outputs),
        )
        interface = Interface(
            kind="function",
            arguments=tuple([Argument.checked({"name": each, "tree": _LEAF}) for each in identifiers(self.sources)]),
            result=SequenceTree(kind="tuple", children=(_LEAF,) * len(outputs)),
        )
        program = Program(entry=name, interface=interface, functions=(entry, *functions))
        return program, tuple([self.function.value(source) for source in self.sources.values()])

    def _callees(self) -> list[Function]:
        needed: set[str] = set()
        pending = [callee for node in self.nodes for callee in node.callees()]
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending += [callee for node in self.program.function(name).nodes for callee in node.callees()]
        if not needed:
            return []
        return [function for function in self.program.functions if function.name in needed]


def identifiers(names: Iterable[str]) -> list[str]:
    """Turn value names, which may hold dots, into distinct Python identifiers."""
    taken: set[str] = set()
    return [fresh_name(name.replace(".", "_"), taken) for name in names]


def extract(
    name: str,
    function: Function,
    program: Program,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    cut: Collection[str] = (),
    stop: Collection[str] = (),
) -> tuple[Program, tuple[Value, ...]]:
    """Cut out the function from some values to others.

    Parameters
    ----------
    name : str
        Name of the new entry.
    function : Function
    program : Program
    sources, targets : sequence of str
        Values of `function`; what the targets need besides the sources becomes further inputs.
    cut : collection of str
        First results of nodes that are left out: their results come in as inputs.
    stop : collection of str
        Values that come in as inputs even if they depend on the sources.

    Returns
    -------
    program : Program
        From the sources and the further inputs to a tuple of the targets.
    inputs : tuple of Value
        The values of `function` that its inputs stand for.
    """
    between = _between(function, sources, targets, cut, stop)
    given = {*sources}
    dependent = set(given)
    for node in between:
        if not dependent.isdisjoint(node.inputs):
            dependent.update([output for output in node.outputs if output not in stop] if stop else node.outputs)
    needed = {target for target in targets if target in dependent} - given
    kept: list[Node] = []
    for node in reversed(between):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update([each for each in node.inputs if each in dependent and each not in given])
    cutting = Cutting(name, function, program, sources)
    for part in reversed(kept):
        cutting.add(part, [each if each in cutting.defined else cutting.operand(each) for each in part.inputs])
    return cutting.finish([cutting.operand(target) for target in targets])


def _between(
    function: Function, sources: Sequence[str], targets: Sequence[str], cut: Collection[str], stop: Collection[str]
) -> list[Node]:
    """Return nodes, in order, among which are all those on the way from sources to targets.

    Only what the targets need is looked at, and none before the first use of a source.
    """
    given = {*sources}
    first = len(function.nodes)
    for source in given:
        users = function.users.get(source, ())
        first = min([first, *(function.places[user.outputs[0]] for user in users[:1] if user.outputs)])
    nodes, place_of = function.nodes, function.places.get
    found: set[int] = set()
    pending = [*targets]
    while pending:
        value = pending.pop()
        place = place_of(value, -1)
        if place < first or place in found or value in given or value in stop:
            continue
        node = nodes[place]
        if node.outputs[0] not in cut:
            found.add(place)
            pending += node.inputs
    return [nodes[place] for place in sorted(found)]
