"""Matching of the states, arguments and results of two versions of a program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..interface import Argument, Interface, State
from ..program import Program
from ..trees import Tree, leaf_count, leaf_paths
from .node_matching import Pairs

__all__ = ["InterfaceMatching", "Owner", "match_in_order", "match_interfaces", "owners_of"]

_Item = TypeVar("_Item")
_Record = TypeVar("_Record", State, Argument)


@dataclass(frozen=True, slots=True)
class InterfaceMatching:
    """What corresponds in two interfaces, by position.

    Parameters
    ----------
    states, arguments : pairs of int
        Positions in the interfaces.
    inputs, outputs : pairs of int
        Positions in the entry functions.
    """

    states: Pairs
    arguments: Pairs
    inputs: Pairs
    outputs: Pairs


def match_in_order(
    old: Sequence[_Item], new: Sequence[_Item], keys: Sequence[Callable[[_Item], Hashable]]
) -> list[tuple[int, int]]:
    """Match items by one key after the other; equal keys in order.

    Returns
    -------
    list of pairs of int
        Positions in `old` and `new`, in the order of `old`.
    """
    pairs: list[tuple[int, int]] = []
    left = list(range(len(old)))
    free = list(range(len(new)))
    for key in keys:
        waiting: dict[Hashable, deque[int]] = {}
        for position in free:
            waiting.setdefault(key(new[position]), deque()).append(position)
        found = set()
        for position in left:
            if queue := waiting.get(key(old[position])):
                found.add(queue[0])
                pairs.append((position, queue.popleft()))
        matched = {before for before, _ in pairs}
        left = [position for position in left if position not in matched]
        free = [position for position in free if position not in found]
    return sorted(pairs)


def match_interfaces(old: Program, new: Program) -> InterfaceMatching:
    """Match states by path, arguments by name and leaves by their keys; what is left, by type and in order."""
    (old_states, old_arguments), (new_states, new_arguments) = owners_of(old), owners_of(new)
    states = match_in_order(
        old_states,
        new_states,
        [lambda each: each.record.path, lambda each: (each.record.role, each.record.tree, each.types)],
    )
    arguments = match_in_order(
        old_arguments,
        new_arguments,
        [lambda each: each.record.name, lambda each: each.types, lambda each: None],
    )
    inputs: list[tuple[int, int]] = []
    for before, after in states:
        inputs += _match_inputs(old_states[before], new_states[after])
    for before, after in arguments:
        inputs += _match_inputs(old_arguments[before], new_arguments[after])
    return InterfaceMatching(states, arguments, inputs, _match_outputs(old.interface, new.interface, states))


@dataclass(frozen=True, slots=True)
class Owner(Generic[_Record]):
    """A state or an argument, with the inputs of the entry that hold its leaves.

    Parameters
    ----------
    record : State or Argument
    start : int
        Position of the first.
    types : tuple of str
    """

    record: _Record
    start: int
    types: tuple[str, ...]


def owners_of(program: Program) -> tuple[list[Owner[State]], list[Owner[Argument]]]:
    """Return the states and the arguments of a program, in order."""
    interface, types = program.interface, program.entry_function.types
    states = _owners(interface.states, types, 0)
    return states, _owners(interface.arguments, types, sum(len(each.types) for each in states))


def _owners(records: Iterable[_Record], types: tuple[str, ...], start: int) -> list[Owner[_Record]]:
    owners: list[Owner[_Record]] = []
    for record in records:
        end = start + leaf_count(record.tree)
        owners.append(Owner(record, start, types[start:end]))
        start = end
    return owners


def _match_inputs(old: Owner[_Record], new: Owner[_Record]) -> Iterator[tuple[int, int]]:
    return _match_leaves(old.record.tree, new.record.tree, old.start, new.start)


def _match_leaves(old: Tree, new: Tree, old_start: int, new_start: int) -> Iterator[tuple[int, int]]:
    before, after = [keys for keys, _ in leaf_paths(old)], [keys for keys, _ in leaf_paths(new)]
    for first, second in match_in_order(before, after, [lambda keys: keys, lambda keys: None]):
        yield old_start + first, new_start + second


def _match_outputs(old: Interface, new: Interface, states: Pairs) -> list[tuple[int, int]]:
    old_starts, old_count = _output_starts(old)
    new_starts, new_count = _output_starts(new)
    pairs: list[tuple[int, int]] = []
    for before, after in states:
        if before in old_starts and after in new_starts:
            trees = old.states[before].tree, new.states[after].tree
            pairs += _match_leaves(*trees, old_starts[before], new_starts[after])
    return [*pairs, *_match_leaves(old.result, new.result, old_count, new_count)]


def _output_starts(interface: Interface) -> tuple[dict[int, int], int]:
    """Return the first output of each state that is returned, and of the result."""
    starts: dict[int, int] = {}
    position = 0
    for index, state in enumerate(interface.states):
        if state.returned:
            starts[index] = position
            position += leaf_count(state.tree)
    return starts, position
