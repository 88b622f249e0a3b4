"""The exit form of a step: its result as a function of the new states, each independent, and of the old ones.

A step reads the new values of its hidden states in two places: where it computes other new values of the same
group, which the trace accounts for, and everywhere else, which is the exit. The exit form is the step with one
more input for each: ``p`` is added to a new value where it leaves its group, ``q`` to an old value where it is
read past the new ones. With zeros the result is that of the step. Its gradient with respect to ``p`` and ``q``
is the learning signal at the exit and at the entry of each group; paths through other groups are in it, paths
inside the group are not. Weights whose traces cover a path are held on that path, so that the gradient with
respect to the parameters is what no trace covers.

So a value is computed once for each way (:class:`_Way`) from it to the result that makes a difference to it. In

    h' = tanh(h);  v' = h' + x W;  out = v' + h'      h and v in groups of their own, W covered in that of v

``out`` reads ``v' + p_v``, with the W inside held, and ``h' + p_h``. In ``v'`` itself, which is inside of the group
of v and outside of that of h, ``h' + p_h`` is read again. Were both in one group, ``v'`` would read ``h'`` as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from typing import Literal, NamedTuple

from ...ir.node import Node
from ...ir.ops import Binary, Unary
from ...ir.program import Function, Program
from ...ir.types import is_literal
from ..bit_sets import numbered, union
from ..dataflow.reachability import reached
from ..facts import Facts
from ..fresh_names import fresh_name
from ..routes import reached_by_derivatives
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


def exit_form(
    scan: WeightScan,
    clusters: Sequence[Sequence[HiddenLeaf]],
    *,
    covered: Collection[tuple[str, int]],
    products: Collection[int],
    unread: Collection[int],
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
    unread : collection of int
        Leaves of the step's result that no loss depends on.
    """
    rewriter = _Rewriter(scan, clusters, covered, products)
    outputs = rewriter.rewrite(scan.results)
    hidden, step = scan.states.hidden, scan.function
    read = [name for place, name in enumerate(outputs) if place not in unread]
    added = {name: hidden[number].kind for (_, number), name in rewriter.added.items()}

    def function_of(extra: Sequence[str], nodes: Iterable[Node]) -> Function:
        types = [str(added[name].strong) for name in extra]
        return step.replace(
            inputs=(*step.inputs, *extra), types=(*step.types, *types), nodes=tuple(nodes), outputs=outputs
        )

    params = [leaf.value.name for leaf in scan.states.params if leaf.value.aval.is_inexact]
    # What the loss has no derivative of is left out.
    starts = numbered((*added, *params))
    found = reached_by_derivatives(function_of((*added,), rewriter.nodes), starts)
    seen = union(found, read)
    used = {name for name, mask in starts.items() if seen & mask}
    exits, entries = (
        {number: name for (where, number), name in sorted(rewriter.added.items()) if where == kind and name in used}
        for kind in ("exit", "entry")
    )
    extra, ordinary = (*exits.values(), *entries.values()), tuple(name for name in params if name in used)
    function = function_of(extra, _without(rewriter.nodes, added.keys() - used))
    check_backward(function, (*extra, *ordinary), read)
    program = scan.program.with_entry(function, flat_interface(function.inputs, len(outputs)))
    return ExitForm(program=program, params=ordinary, exits=tuple(exits), entries=tuple(entries))


def _without(nodes: Iterable[Node], unused: Set[str]) -> Iterator[Node]:
    """Turn the sums with inputs that are not used into copies."""
    for node in nodes:
        if not unused.isdisjoint(node.inputs):
            node = Unary(op="copy", inputs=node.inputs[:1], outputs=node.outputs, types=node.types)
        yield node


class _Way(NamedTuple):
    """What is known of the way from a value to the result; sets of clusters are bits.

    Parameters
    ----------
    inside : int
        The clusters whose exits the way passes.
    tail : int
        The cluster whose exit is the first that it passes, unless it passes a weight operation before; or none.
    """

    inside: int
    tail: int


_OUTSIDE = _Way(0, 0)

_Change = Literal["", "exit", "entry", "held"]
"""What is done to a value where it is read: nothing, ``p`` or ``q`` is added, or its derivative is stopped."""


class _Rewriter:
    """Writes the nodes of a step once for each way from their results to that of the step.

    Going backward, a node is met when all who read it have asked for its results, each by its way.

    Attributes
    ----------
    nodes : list of Node
    added : dict
        The inputs, by ``exit`` or ``entry`` and the number of the hidden state.
    """

    def __init__(
        self,
        scan: WeightScan,
        clusters: Sequence[Sequence[HiddenLeaf]],
        covered: Collection[tuple[str, int]],
        products: Collection[int],
    ) -> None:
        self.scan = scan
        self.function: Function = scan.function
        self.nodes: list[Node] = []
        self.added: dict[tuple[str, int], str] = {}
        self.new: dict[str, tuple[int, HiddenLeaf]] = {}
        self.old: dict[str, tuple[int, HiddenLeaf]] = {}
        for place, cluster in enumerate(clusters):
            for leaf in cluster:
                self.old[leaf.old] = (1 << place, leaf)
                if leaf.new in self.function.producers:
                    self.new.setdefault(leaf.new, (1 << place, leaf))
        members = {name: cluster for name, (cluster, _) in (*self.old.items(), *self.new.items())}
        # The clusters that each value sees a member of, old or new.
        self.upstream = reached(self.function, members)
        self.entered = {meeting.index for meeting in scan.meetings if meeting.mixes} - {*products}
        # The clusters in which a trace covers the way on from each value.
        self.covered: dict[str, int] = {}
        for name, place in covered:
            self.covered[name] = self.covered.get(name, 0) | 1 << place
        self.tails = self._tails()
        self.taken = set(self.function.value_types)
        self.written: set[str] = set()
        # What each value is called on each way, as it is and changed.
        self.names: dict[str, dict[tuple[_Way, _Change], str]] = {}

    def _tails(self) -> dict[str, int]:
        """Return, for each value, the clusters in whose tails covered weights reach it."""
        found = dict(self.covered)
        for index, node in enumerate(self.function.nodes):
            mask = union(found, [name for name in node.inputs if not self._is_entered(index, name)])
            if mask:
                found.update((name, found.get(name, 0) | mask) for name in node.outputs)
        return found

    def _is_entered(self, index: int, operand: str) -> bool:
        """Whether a way from this operand passes a weight operation, at which tails begin."""
        return index in self.entered and not self.scan.is_param(operand)

    def rewrite(self, results: Sequence[str]) -> tuple[str, ...]:
        """Write the nodes behind the results of the step, and return the names that these have then."""
        outputs = tuple([self._read(name, _OUTSIDE) for name in results])
        for index in range(len(self.function.nodes) - 1, -1, -1):
            node = self.function.nodes[index]
            ways = {way for name in node.outputs for way, _ in self.names.get(name, ())}
            for name in node.outputs:
                self._write_changes(name)
            for way in sorted(ways):
                self._write(index, node, way)
        for name in [name for name in self.names if name not in self.function.producers]:
            self._write_changes(name)
        self.nodes.reverse()
        return outputs

    def _read(self, name: str, way: _Way, *, held: bool = False) -> str:
        """Return the name that a value has where it is read on a way to the result."""
        if is_literal(name):
            return name
        change: _Change = ""
        if name in self.new:
            cluster, leaf = self.new[name]
            if way.inside & cluster:
                way = _Way(way.inside, way.tail & cluster)
            else:
                way, change = _Way(way.inside | cluster, cluster), "exit" if leaf.kind.is_inexact else ""
        elif name in self.old:
            cluster, leaf = self.old[name]
            change = "entry" if leaf.kind.is_inexact and not way.inside & cluster else ""
        return self._named(name, way, "held" if held else change)

    def _named(self, name: str, way: _Way, change: _Change = "") -> str:
        if name not in self.function.producers:
            way = _OUTSIDE
        # What makes no difference to this value.
        way = _Way(way.inside & self.upstream.get(name, 0), way.tail & self.tails.get(name, 0))
        names = self.names.setdefault(name, {})
        if (way, change) not in names:
            stays = way == _OUTSIDE and not change
            names[way, change] = name if stays else fresh_name(f"{name}.{change}" if change else name, self.taken)
        return names[way, change]

    def _write(self, index: int, node: Node, way: _Way) -> None:
        """Write a node whose results are read on one way."""
        ends = union(self.covered, node.outputs) & way.tail
        inputs = []
        for name in node.inputs:
            if self.scan.is_data(name):
                inputs.append(self._read(name, _Way(way.inside, 0) if self._is_entered(index, name) else way))
            else:
                covered = ends or self.covered.get(name, 0) & way.tail
                inputs.append(self._read(name, _OUTSIDE, held=bool(covered) and self.scan.is_param(name)))
        outputs = []
        for name in node.outputs:
            mine = self._named(name, way)
            # A result to which the way makes no difference is written once.
            outputs.append(fresh_name(name, self.taken) if mine in self.written else mine)
        self.written.update(outputs)
        self.nodes.append(node.model_copy(update={"inputs": tuple(inputs), "outputs": tuple(outputs)}))

    def _write_changes(self, name: str) -> None:
        """Write what is done to a value where it is read."""
        for (way, change), result in [*self.names.get(name, {}).items()]:
            if not change:
                continue
            value, outputs = self._named(name, way), (result,)
            if change == "held":
                types = (str(self.function.type_of(name)),)
                self.nodes.append(Unary(op="stop_gradient", inputs=(value,), outputs=outputs, types=types))
            else:
                _, leaf = (self.new if change == "exit" else self.old)[name]
                inputs, types = (value, self._input(change, leaf)), (str(leaf.kind.strong),)
                self.nodes.append(Binary(op="add", inputs=inputs, outputs=outputs, types=types))

    def _input(self, kind: Literal["exit", "entry"], leaf: HiddenLeaf) -> str:
        place = kind, leaf.number
        if place not in self.added:
            self.added[place] = fresh_name(f"{kind}.{leaf.old}", self.taken)
        return self.added[place]
