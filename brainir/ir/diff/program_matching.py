"""Matching of the functions, values and nodes of two versions of a program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator

from ..constant import Constant
from ..effects import effectful_functions, runs_effects
from ..node import Node
from ..ops import Cond, CustomJvp, CustomVjp, While
from ..program import Function, Program
from ..types import is_literal
from .graph import Graph, Interner
from .interface_matching import InterfaceMatching, match_in_order, match_interfaces
from .node_matching import Pairs, match_nodes

__all__ = ["FunctionMatching", "ProgramMatching"]


class FunctionMatching:
    """What corresponds in two versions of a function.

    Attributes
    ----------
    old, new : Function
    inputs, outputs : pairs of int
        By position.
    nodes : list of int
        For each old node its partner in the new function, or -1.
    old_nodes : list of int
        For each new node its partner in the old function, or -1.
    old_contents, new_contents : dict of str to pair of str
        Type and hash of each constant.
    constants : list of pairs of Constant
    values : dict of str to str
        The new name of each old value that has a counterpart.
    old_exact, new_exact : list of int
        What each node is, all attributes and result types included; equal numbers for equal nodes.
    """

    def __init__(self, old: Graph, new: Graph, inputs: Pairs, outputs: Pairs, intern: Interner) -> None:
        self.old, self.new = old.function, new.function
        self.old_contents, self.new_contents = old.contents, new.contents
        self.old_exact, self.new_exact = old.exact, new.exact
        self.inputs, self.outputs = inputs, outputs
        self.nodes = match_nodes(old, new, inputs, outputs, intern)
        self.old_nodes = [-1] * len(new.nodes)
        for before, after in enumerate(self.nodes):
            if after >= 0:
                self.old_nodes[after] = before
        self.constants = self._match_constants()
        self.values = {self.old.inputs[before]: self.new.inputs[after] for before, after in inputs}
        self.values |= {before.name: after.name for before, after in self.constants}
        for first, second in self.matched_nodes():
            # One of them may have more results than the other.
            self.values.update(zip(first.outputs, second.outputs, strict=False))

    def matched_nodes(self) -> Iterator[tuple[Node, Node]]:
        """Yield each old node that has a partner, and the partner."""
        for before, after in enumerate(self.nodes):
            if after >= 0:
                yield self.old.nodes[before], self.new.nodes[after]

    def same_operand(self, old: str, new: str) -> bool:
        """Whether operands of the old and of the new function are the same value, or versions of one constant."""
        if self.values.get(old) == new:
            return True
        if is_literal(old) or is_literal(new):
            return old == new
        return old in self.old_contents and self.old_contents[old] == self.new_contents.get(new)

    def _match_constants(self) -> list[tuple[Constant, Constant]]:
        """Match constants by content, then by the places that use them, then by name."""
        if not (self.old.constants and self.new.constants):
            return []
        places: dict[str, str] = {}
        for first, second in self.matched_nodes():
            for before, after in zip(first.inputs, second.inputs, strict=False):
                if before in self.old_contents and after in self.new_contents:
                    places.setdefault(after, before)
        old = [(name, *content, name) for name, content in self.old_contents.items()]
        new = [(name, *content, places.get(name)) for name, content in self.new_contents.items()]
        pairs = match_in_order(
            old,
            new,
            [
                lambda each: each[:3],
                lambda each: each[1:3],
                lambda each: (each[3], each[1]),
                lambda each: each[3] if each[3] is not None else each,
                lambda each: each[:2],
            ],
        )
        return [(self.old.constants[before], self.new.constants[after]) for before, after in pairs]


class ProgramMatching:
    """What corresponds in two versions of a program.

    Functions correspond when they are equal, or when matched nodes refer to them in the same place. One function may
    have two counterparts, when two equal functions became different or the other way round.

    Attributes
    ----------
    old, new : Program
    interface : InterfaceMatching
    functions : list of FunctionMatching
        The entry first, then as nodes refer to them.
    of_old, of_new : dict of str to FunctionMatching
        The first matching of each function that has one.
    old_effects, new_effects : set of str
        The functions that have effects when they run.
    """

    def __init__(self, old: Program, new: Program) -> None:
        self.old, self.new = old, new
        self.interface: InterfaceMatching = match_interfaces(old, new)
        self.functions: list[FunctionMatching] = []
        self.of_old: dict[str, FunctionMatching] = {}
        self.of_new: dict[str, FunctionMatching] = {}
        self.old_effects = effectful_functions(old.table)
        self.new_effects = effectful_functions(new.table)
        self._intern = Interner()
        self._old = _Numbered(old, self.old_effects, self._intern)
        self._new = _Numbered(new, self.new_effects, self._intern)
        self._compared: set[tuple[str, str]] = set()
        self._old.refer(self._new)
        self._new.refer(self._old)
        self._match()

    def same_function(self, old: str, new: str) -> bool:
        """Whether functions are equal, or were compared with each other."""
        return self._old.numbers[old] == self._new.numbers[new] or (old, new) in self._compared

    def pair(self, old: str, new: str) -> FunctionMatching | None:
        """Return the matching of two functions, if there is one."""
        return next((each for each in self.functions if (each.old.name, each.new.name) == (old, new)), None)

    def has_equal(self, *, old: str | None = None, new: str | None = None) -> bool:
        """Whether the other program has a function that equals this one."""
        mine, other = (self._old, self._new) if old is not None else (self._new, self._old)
        return mine.numbers[old or new or ""] in other.known

    def _match(self) -> None:
        waiting = deque([(self.old.entry, self.new.entry, self.interface.inputs, self.interface.outputs)])
        while waiting:
            while waiting:
                pair = self._compare(*waiting.popleft())
                if pair is not None:
                    waiting.extend(self._referred(pair))
            for old, new in self._left():
                waiting.append((old, new, *self._sides(old, new, None)))

    def _compare(self, old: str, new: str, inputs: Pairs, outputs: Pairs) -> FunctionMatching | None:
        if (old, new) in self._compared or (old in self.of_old and new in self.of_new):
            return None
        known = old in self.of_old or new in self.of_new
        if known and (self._old.numbers[old] == self._new.numbers[new] or not self._of_one_size(old, new)):
            return None
        self._compared.add((old, new))
        pair = FunctionMatching(self._old.graphs[old], self._new.graphs[new], inputs, outputs, self._intern)
        self.functions.append(pair)
        self.of_old.setdefault(old, pair)
        self.of_new.setdefault(new, pair)
        return pair

    def _of_one_size(self, old: str, new: str) -> bool:
        # Otherwise one large function could be compared with many small ones.
        sizes = sorted((len(self.old.table[old].nodes), len(self.new.table[new].nodes)))
        return sizes[1] <= 2 * sizes[0] + 16

    def _referred(self, pair: FunctionMatching) -> Iterator[tuple[str, str, Pairs, Pairs]]:
        """Yield the functions that matched nodes refer to in the same place, with their inputs and outputs."""
        graph = self._old.graphs[pair.old.name]
        for index in graph.referring:
            if pair.nodes[index] < 0:
                continue
            before, after = pair.old.nodes[index], pair.new.nodes[pair.nodes[index]]
            referred = dict(after.references())
            for attribute, names in before.references():
                for old, new in zip(names, referred.get(attribute, ()), strict=False):
                    if (old, new) not in self._compared:
                        operands = _operands(before, attribute), _operands(after, attribute)
                        yield old, new, *self._sides(old, new, (pair, *operands))

    def _sides(
        self, old: str, new: str, use: tuple[FunctionMatching, list[str], list[str]] | None
    ) -> tuple[Pairs, Pairs]:
        """Match inputs and outputs of two functions; where their number changed, by the operands of a node."""
        first, second = self.old.table[old], self.new.table[new]
        outputs = _by_type(
            [str(first.type_of(name)) for name in first.outputs], [str(second.type_of(name)) for name in second.outputs]
        )
        if len(first.inputs) == len(second.inputs):
            return [(position, position) for position in range(len(first.inputs))], outputs
        pair, before, after = use or (None, [], [])
        old_inputs = [
            (name, kind, pair.values.get(before[position], "") if pair and position < len(before) else "", "old")
            for position, (name, kind) in enumerate(zip(first.inputs, first.types, strict=True))
        ]
        new_inputs = [
            (name, kind, after[position] if pair and position < len(after) else "", "new")
            for position, (name, kind) in enumerate(zip(second.inputs, second.types, strict=True))
        ]
        keys: list[Callable[[tuple[str, str, str, str]], Hashable]] = [
            lambda each: (each[1], each[2] or each),
            lambda each: each[:2],
            lambda each: each[1],
        ]
        return match_in_order(old_inputs, new_inputs, keys), outputs

    def _left(self) -> Iterator[tuple[str, str]]:
        """Yield the functions without counterpart that are equal or have one name."""
        free: dict[Hashable, str] = {}
        for name, number in self._new.numbers.items():
            if name not in self.of_new:
                free[name] = free[number] = name
        for name, number in self._old.numbers.items():
            if name not in self.of_old and (found := free.get(number, free.get(name))) is not None:
                yield name, found


class _Numbered:
    """The functions of a program as graphs, with a number for each that equal functions share."""

    def __init__(self, program: Program, effects: set[str], intern: Interner) -> None:
        self.program = program
        self.graphs: dict[str, Graph] = {}
        self.numbers: dict[str, int] = {}
        self.known: set[int] = set()
        self._intern = intern
        for name in _callees_first(program):
            # Derivative rules may lead back to themselves; the way back has no number yet.
            graph = self.graphs[name] = Graph(program.table[name], intern, lambda each: self.numbers.get(each, "open"))
            # Nothing calls the entry, and it has its counterpart.
            self.numbers[name] = intern["entry"] if name == program.entry else self._number(graph, effects)
            self.known.add(self.numbers[name])

    def _number(self, graph: Graph, effects: set[str]) -> int:
        intern, function = self._intern, graph.function
        slots, count = [-1] * len(graph.owner), len(graph.nodes)
        up, down = [-1] * count, [-1] * count
        leaves = graph.leaf_tokens(intern, lambda position: ("alone", position))
        outputs = [intern["output alone", position] for position in range(len(graph.outputs))]
        graph.hash_up(range(count), graph.exact, leaves, slots, up, intern)
        graph.hash_down(reversed(range(count)), graph.exact, outputs, down, intern)
        returned = [slots[operand] if operand >= 0 else leaves[~operand] for operand in graph.outputs]
        ordered = [up[index] for index, node in enumerate(graph.nodes) if runs_effects(node, effects)]
        nodes = sorted(zip(up, down, strict=True))
        constants = sorted(set(graph.contents.values()))
        return intern["function", function.types, tuple(returned), tuple(ordered), tuple(nodes), tuple(constants)]

    def refer(self, other: _Numbered) -> None:
        """Let nodes that refer to functions without an equal in the other program be known by the functions' names."""
        here, there = self.known, other.known

        def reference(name: str) -> Hashable:
            if self.numbers[name] in there:
                return self.numbers[name]
            return name if name in other.numbers and other.numbers[name] not in here else None

        for graph in self.graphs.values():
            graph.refer(self._intern, reference)


def _callees_first(program: Program) -> Iterator[str]:
    """Yield the functions of a program, each after those it refers to, where that is possible."""
    entered: set[str] = set()
    for root in (program.entry, *program.table):
        stack: list[tuple[str, Iterator[str]]] = []
        if root not in entered:
            entered.add(root)
            stack.append((root, _callees(program.table[root])))
        while stack:
            name, callees = stack[-1]
            following = next((callee for callee in callees if callee not in entered), None)
            if following is None:
                stack.pop()
                yield name
            else:
                entered.add(following)
                stack.append((following, _callees(program.table[following])))


def _callees(function: Function) -> Iterator[str]:
    return (callee for node in function.nodes for callee in node.callees())


def _operands(node: Node, attribute: str) -> list[str]:
    """Return the operands that become the first inputs of a function that a node refers to."""
    inputs = list(node.inputs)
    if isinstance(node, Cond):
        return inputs[1:]
    if isinstance(node, While):
        split = node.cond_nconsts + node.body_nconsts
        return inputs[: node.cond_nconsts] + inputs[split:] if attribute == "cond" else inputs[node.cond_nconsts :]
    if isinstance(node, CustomVjp) and attribute in ("bwd", "bwds"):
        return []
    if isinstance(node, CustomJvp | CustomVjp) and attribute in ("jvps", "fwds"):
        return inputs[node.closed_over :]
    return inputs


def _by_type(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """Match two lists of types from both ends, then by type in order, then in order."""
    if len(old) == len(new):
        return [(position, position) for position in range(len(old))]
    shorter = min(len(old), len(new))
    first = next((place for place in range(shorter) if old[place] != new[place]), shorter)
    last = next((place for place in range(shorter - first) if old[-1 - place] != new[-1 - place]), shorter - first)
    inner = match_in_order(
        old[first : len(old) - last], new[first : len(new) - last], [lambda kind: kind, lambda kind: None]
    )
    return [
        *((place, place) for place in range(first)),
        *((first + before, first + after) for before, after in inner),
        *((len(old) - last + place, len(new) - last + place) for place in range(last)),
    ]
