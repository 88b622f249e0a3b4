"""The exit form of a step: its result as a function of the new states, each independent, and of the old ones.

A step reads the new values of its hidden states in two places: where it computes other new values of the same
group, which the trace accounts for, and everywhere else, which is the exit. The exit form is the step with one
more input for each: ``p`` is added to a new value where it leaves its group, ``q`` to an old value where it is
read past the new ones. With zeros the result is that of the step. Its gradient with respect to ``p`` and ``q``
is the learning signal at the exit and at the entry of each group; paths through other groups are in it, paths
inside the group are not. Weights whose traces cover a path are held on that path, so that the gradient with
respect to the parameters is what no trace covers.

A value that both the inside and the outside of a group need is computed twice, in two versions. A version is
named by the groups that it is inside of, and by the group whose tail it is part of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...ir.node import Node
from ...ir.ops import Binary, Unary
from ...ir.program import Function, Program
from ...ir.types import is_literal
from ..bit_sets import numbered, union
from ..dataflow.reachability import reached
from ..facts import Facts
from ..fresh_names import fresh_name
from ..routes import has_derivative
from ..slicing import flat_interface
from ..states import HiddenLeaf
from ..weights.scan import WeightScan
from .backward import check_backward

__all__ = ["ExitForm", "exit_form"]


class ExitForm(Facts):
    """A step in exit form.

    Parameters
    ----------
    program : Program
        From the inputs of the flat entry, then `exits`, then `entries`, to the leaves of the step's result.
    exits, entries : tuple of int
        Numbers of the hidden states that have an input at the exit and at the entry: those of which the result
        depends.
    params : tuple of str
        Inputs that hold parameter leaves of which the result has a derivative here: what no trace covers.
    """

    program: Program
    params: tuple[str, ...]
    exits: tuple[int, ...]
    entries: tuple[int, ...]


_Key = tuple[int, int]
"""The clusters that a version is inside of, as bits; and the cluster whose tail it is part of, or -1."""

_PLAIN: _Key = (0, -1)


def exit_form(
    scan: WeightScan,
    clusters: Sequence[Sequence[HiddenLeaf]],
    covered: Collection[tuple[str, int]],
    products: Collection[int],
    unread: frozenset[int],
) -> ExitForm:
    """Rewrite a step into exit form.

    Parameters
    ----------
    scan : WeightScan
    clusters : sequence of sequences of HiddenLeaf
        Hidden states whose exits are independent of each other.
    covered : collection of pairs
        Result of a term (for elementwise terms the weight itself) and cluster, where a trace covers the path.
    products : collection of int
        Places of nodes whose data operand belongs to the same term as their weight: all but the first of a
        product of several weights.
    unread : frozenset of int
        Leaves of the step's result that no loss depends on.
    """
    return _Versions(scan, clusters, covered, products, unread).form()


class _Versions:
    def __init__(
        self,
        scan: WeightScan,
        clusters: Sequence[Sequence[HiddenLeaf]],
        covered: Collection[tuple[str, int]],
        products: Collection[int],
        unread: frozenset[int],
    ) -> None:
        self.unread = unread
        self.scan = scan
        self.function: Function = scan.function
        self.covered = set(covered)
        self.results = scan.results
        self.products = set(products)
        # A path of data enters a weight operation where it meets the weight.
        self.entered = {
            meeting.index
            for meeting in scan.meetings
            if (meeting.blocking or meeting.total is not None) and union(scan.leaves, meeting.weights)
        }
        self.numbers = {leaf.path: number for number, leaf in enumerate(scan.states.hidden)}
        self.new: dict[str, tuple[int, HiddenLeaf]] = {}
        self.old: dict[str, tuple[int, HiddenLeaf]] = {}
        for place, cluster in enumerate(clusters):
            for leaf in cluster:
                if leaf.new in self.function.producers:
                    self.new.setdefault(leaf.new, (place, leaf))
                self.old[leaf.old] = (place, leaf)
        marks = {name: 1 << place for name, (place, _) in (*self.old.items(), *self.new.items())}
        # The clusters that each value sees a member of, old or new.
        self.upstream = reached(self.function, marks)
        self.tailed = self._tailed()
        self.taken = set(self.function.value_types)
        self.names: dict[tuple[str, _Key], str] = {}
        self.nodes: list[Node] = []
        self.inputs: dict[tuple[str, int], str] = {}
        self.sums: dict[tuple[str, str], str] = {}
        self.held: dict[str, str] = {}

    def _tailed(self) -> dict[str, int]:
        """Return the clusters in whose tail a covered weight reaches each value."""
        found: dict[str, int] = {}
        for index, node in enumerate(self.function.nodes):
            mask = 0
            for operand in node.inputs:
                mask |= self._covers(operand)
                if not self._is_apart(index, operand):
                    mask |= found.get(operand, 0)
            for name in node.outputs:
                found[name] = mask | self._covers(name)
        return found

    def _covers(self, name: str) -> int:
        mask = 0
        for value, cluster in self.covered:
            mask |= 1 << cluster if value == name else 0
        return mask

    def _is_apart(self, index: int, operand: str) -> bool:
        """Whether a path through this operand passes a weight operation, and so leaves the tail."""
        return index in self.entered and index not in self.products and not self.scan.is_param(operand)

    def _key(self, name: str, key: _Key) -> _Key:
        """Drop from a version what makes no difference to this value."""
        inside, tail = key
        if tail >= 0 and not self.tailed.get(name, self._covers(name)) >> tail & 1:
            tail = -1
        return inside & self.upstream.get(name, 0), tail

    def form(self) -> ExitForm:
        demanded = self._demand()
        for index, node in enumerate(self.function.nodes):
            for key in sorted({key for name in node.outputs for key in demanded.get(name, ())}):
                self._emit(index, node, key)
        outputs = tuple(self._version(name, _PLAIN) for name in self.results)
        return self._finish(outputs)

    # -- which versions are needed

    def _demand(self) -> dict[str, set[_Key]]:
        """Return the versions of each value, as computed inside its own cluster."""
        demanded: dict[str, set[_Key]] = {}

        def ask(name: str, key: _Key) -> None:
            if not is_literal(name):
                demanded.setdefault(name, set()).add(self._raw(name, key))

        for name in self.results:
            ask(name, _PLAIN)
        for index in range(len(self.function.nodes) - 1, -1, -1):
            node = self.function.nodes[index]
            keys = {key for name in node.outputs for key in demanded.get(name, ())}
            for key in keys:
                for operand in node.inputs:
                    ask(operand, self._operand_key(index, operand, key))
        return demanded

    def _raw(self, name: str, key: _Key) -> _Key:
        """Return the version that a version is computed from: for a new value, the one inside its cluster."""
        if name in self.new:
            cluster, _ = self.new[name]
            inside, tail = key
            if not inside >> cluster & 1:
                return self._key(name, (inside | 1 << cluster, cluster))
            return self._key(name, (inside, tail if tail == cluster else -1))
        return self._key(name, key)

    def _operand_key(self, index: int, operand: str, key: _Key) -> _Key:
        if not self.scan.is_data(operand):
            return _PLAIN
        return (key[0], -1) if self._is_apart(index, operand) else key

    # -- emission

    def _emit(self, index: int, node: Node, key: _Key) -> None:
        cuts = any((name, key[1]) in self.covered for name in node.outputs)
        inputs = []
        for operand in node.inputs:
            held = self.scan.is_param(operand) and (cuts or (operand, key[1]) in self.covered)
            version = self._operand_key(index, operand, key)
            inputs.append(self._hold(operand) if held else self._version(operand, version))
        outputs = []
        for name in node.outputs:
            own = self._key(name, key)
            first = (name, own) not in self.names
            outputs.append(name if first and own == _PLAIN else fresh_name(name, self.taken))
            if first:
                self.names[name, own] = outputs[-1]
        self.nodes.append(node.model_copy(update={"inputs": tuple(inputs), "outputs": tuple(outputs)}))

    def _version(self, name: str, key: _Key) -> str:
        """Return the name of a version of a value, as its users see it."""
        if is_literal(name):
            return name
        if name in self.new:
            cluster, leaf = self.new[name]
            inner = self.names[name, self._raw(name, key)]
            return inner if key[0] >> cluster & 1 else self._plus(inner, leaf, "exit")
        if name in self.old:
            cluster, leaf = self.old[name]
            return name if key[0] >> cluster & 1 else self._plus(name, leaf, "entry")
        return self.names.get((name, self._raw(name, key)), name)

    def _plus(self, name: str, leaf: HiddenLeaf, kind: str) -> str:
        if not leaf.kind.is_inexact:
            return name
        place = (kind, self.numbers[leaf.path])
        if place not in self.inputs:
            self.inputs[place] = fresh_name(f"{kind}.{leaf.old}", self.taken)
        if (name, kind) not in self.sums:
            self.sums[name, kind] = fresh_name(f"{name}.{kind}", self.taken)
            operands, outputs = (name, self.inputs[place]), (self.sums[name, kind],)
            self.nodes.append(Binary(op="add", inputs=operands, outputs=outputs, types=(str(leaf.kind.strong),)))
        return self.sums[name, kind]

    def _hold(self, name: str) -> str:
        """Return a weight without its derivative."""
        if name not in self.held:
            self.held[name] = fresh_name(f"{name}.held", self.taken)
            kind = self.function.value_types[name]
            self.nodes.append(Unary(op="stop_gradient", inputs=(name,), outputs=(self.held[name],), types=(kind,)))
        return self.held[name]

    # -- the program

    def _finish(self, outputs: tuple[str, ...]) -> ExitForm:
        params = [leaf.value.name for leaf in self.scan.states.params if leaf.value.aval.is_inexact]
        marks = numbered((*self.inputs.values(), *params))
        scratch = self._function(tuple(self.inputs.values()), outputs)
        found = reached(scratch, marks, lambda node, name: not has_derivative(node, name))
        mask = 0
        for place, name in enumerate(outputs):
            mask |= 0 if place in self.unread else found.get(name, 0)
        used = [place for number, place in enumerate(self.inputs) if mask >> number & 1]
        ordinary = tuple(name for number, name in enumerate(params, len(self.inputs)) if mask >> number & 1)
        exits = tuple(sorted(number for kind, number in used if kind == "exit"))
        entries = tuple(sorted(number for kind, number in used if kind == "entry"))
        order = [("exit", number) for number in exits] + [("entry", number) for number in entries]
        extra = tuple(self.inputs[place] for place in order)
        dead = {name for place, name in self.inputs.items() if place not in order}
        self._drop(dead)
        function = self._function(extra, outputs)
        read = [name for place, name in enumerate(outputs) if place not in self.unread]
        check_backward(function, (*extra, *ordinary), read)
        interface = flat_interface(function.inputs, len(outputs))
        program = self.scan.program.with_entry(function, interface)
        return ExitForm(program=program, params=ordinary, exits=exits, entries=entries)

    def _drop(self, dead: set[str]) -> None:
        """Turn sums with an input of which the result has no derivative into copies."""
        self.nodes = [
            Unary(op="copy", inputs=node.inputs[:1], outputs=node.outputs, types=node.types)
            if not dead.isdisjoint(node.inputs)
            else node
            for node in self.nodes
        ]

    def _function(self, extra: tuple[str, ...], outputs: tuple[str, ...]) -> Function:
        hidden = self.scan.states.hidden
        kinds = {name: str(hidden[number].kind.strong) for (_, number), name in self.inputs.items()}
        return Function(
            name=self.function.name,
            inputs=(*self.function.inputs, *extra),
            types=(*self.function.types, *(kinds[name] for name in extra)),
            constants=self.function.constants,
            nodes=tuple(self.nodes),  # type: ignore[arg-type]  # nodes of the schemas only
            outputs=outputs,
        )
