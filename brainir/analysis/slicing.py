"""Parts of a function, cut out as programs of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..ir.interface import Argument, Interface
from ..ir.node import Node
from ..ir.program import Function, Program, Value
from ..ir.trees import LeafTree, SequenceTree
from ..ir.types import is_literal
from .constants import fixed_values
from .dataflow.sites import Signature, keep_signatures, signatures_of
from .fresh_names import Names, fresh_name

__all__ = ["Cutting", "extract", "flat_interface", "identifiers"]

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
        self.signatures: list[Signature] = []
        self.defined: set[str] = set(inputs)
        self.constants = function.constant_table
        self._fixed = fixed_values(function)
        self._signatures = signatures_of(function)

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
        if name not in self.constants and not (name in self._fixed and self._recompute(name)):
            self.sources[name] = name
        self.defined.add(name)
        return name

    def _recompute(self, name: str) -> bool:
        """Add the nodes behind a value that is made of constants only; False if they are too many, or have effects."""
        wanted: set[int] = set()
        pending = [name]
        while pending:
            value = pending.pop()
            if is_literal(value) or value in self.constants:
                continue
            place = self.function.places[value]
            node = self.function.nodes[place]
            if node.traits.effectful or len(wanted) > _MAX_RECOMPUTED:
                return False
            if place not in wanted:
                wanted.add(place)
                pending += node.inputs
        for place in sorted(wanted):
            node = self.function.nodes[place]
            if self.defined.isdisjoint(node.outputs):
                self._append(node, place)
                self.defined.update(operand for operand in node.inputs if operand in self.constants)
        return True

    def add(self, place: int, operands: Iterable[str]) -> None:
        """Append a node with other operands; results whose names are inputs already get other names.

        Parameters
        ----------
        place : int
            Of the node in the old function.
        operands : iterable of str
        """
        node = self.function.nodes[place]
        inputs, outputs = tuple(operands), node.outputs
        if not self.sources.keys().isdisjoint(outputs):
            outputs = tuple(fresh_name(name, self.taken) if name in self.sources else name for name in outputs)
        if inputs != node.inputs or outputs != node.outputs:
            node = node.placed(inputs, outputs, node.types, node.scope, node.source)
        self._append(node, place)

    def _append(self, node: Node, place: int) -> None:
        self.nodes.append(node)
        # Other names, but the same types.
        self.signatures.append(self._signatures[place])
        self.defined.update(node.outputs)

    def finish(self, outputs: Sequence[str]) -> tuple[Program, tuple[Value, ...]]:
        """Return the program, whose result is a tuple, and the old values that its inputs stand for."""
        functions = self._callees()
        name = fresh_name(self.name, {function.name for function in functions})
        used = {operand for node in self.nodes for operand in node.inputs} | {*outputs} if self.constants else set()
        types = self.function.value_types
        # Nothing is checked again: all parts were when the function was made that they are cut out of.
        entry = self.function.model_copy(
            update={
                "name": name,
                "inputs": tuple(self.sources),
                "types": tuple([types[source] for source in self.sources.values()]),
                "constants": tuple(each for name, each in self.constants.items() if name in used),
                "nodes": tuple(self.nodes),
                "outputs": tuple(outputs),
            }
        )
        keep_signatures(entry, self.signatures)
        interface = flat_interface(self.sources, len(outputs))
        program = Program(entry=name, interface=interface, functions=(entry, *functions))
        return program, tuple([self.function.value(source) for source in self.sources.values()])

    def _callees(self) -> list[Function]:
        if not self.function.callees:
            return []
        needed: set[str] = set()
        pending = [callee for node in self.nodes for callee in node.callees()]
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending += self.program.function(name).callees
        return [function for function in self.program.functions if function.name in needed]


def flat_interface(inputs: Iterable[str], results: int) -> Interface:
    """Return the interface of a function that takes arrays and returns a tuple of them."""
    return Interface(
        kind="function",
        arguments=tuple([Argument.checked({"name": each, "tree": _LEAF}) for each in identifiers(inputs)]),
        result=SequenceTree(kind="tuple", children=(_LEAF,) * results),
    )


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
    cutting = Cutting(name, function, program, sources)
    dependent = {*sources}
    for place in _needed(function, sources, targets, cut, stop):
        node = function.nodes[place]
        if not dependent.isdisjoint(node.inputs):
            dependent.update([output for output in node.outputs if output not in stop] if stop else node.outputs)
            cutting.add(place, [each if each in cutting.defined else cutting.operand(each) for each in node.inputs])
    return cutting.finish([cutting.operand(target) for target in targets])


def _needed(
    function: Function, sources: Sequence[str], targets: Sequence[str], cut: Collection[str], stop: Collection[str]
) -> list[int]:
    """Return the places, in order, of the nodes that targets need besides the sources.

    What comes before any source is used depends on none, and is left out.
    """
    given = {*sources}
    first = min([_first_use(function, source, stop) for source in given], default=0)
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
    return sorted(found)


def _first_use(function: Function, source: str, stop: Collection[str]) -> int:
    """Return a place before which a source is not used."""
    place = function.places.get(source)
    if place is not None:
        return place + 1
    if stop:
        # What is stopped bounds the walk well enough.
        return 0
    users = function.users.get(source, ())
    return next((function.places[user.outputs[0]] for user in users if user.outputs), len(function.nodes))
