"""Matching of the states, arguments and results of two versions of a program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..interface import Argument, Interface, State, Tree, leaf_paths
from ..program import Program
from .node_matching import Pairs

__all__ = ["InterfaceMatching", "match_in_order", "match_interfaces"]

_Item = TypeVar("_Item")


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
    before, after = old.interface, new.interface
    old_leaves, new_leaves = _owners(old), _owners(new)
    old_states, new_states = old_leaves[: len(before.states)], new_leaves[: len(after.states)]
    states = match_in_order(
        old_states,
        new_states,
        [lambda each: _state(each).path, lambda each: (_state(each).role, _state(each).tree, each.types)],
    )
    old_arguments, new_arguments = old_leaves[len(before.states) :], new_leaves[len(after.states) :]
    arguments = match_in_order(
        old_arguments,
        new_arguments,
        [lambda each: _argument(each).name, lambda each: each.types, lambda each: None],
    )
    inputs: list[tuple[int, int]] = []
    pairs = [(old_states[before], new_states[after]) for before, after in states]
    pairs += [(old_arguments[before], new_arguments[after]) for before, after in arguments]
    for first, second in pairs:
        inputs += _match_leaves(first.owner.tree, second.owner.tree, first.start, second.start)
    return InterfaceMatching(states, arguments, inputs, _match_outputs(before, after, states))


@dataclass(frozen=True, slots=True)
class _Owner:
    owner: State | Argument
    start: int
    types: tuple[str, ...]


def _state(each: _Owner) -> State:
    if not isinstance(each.owner, State):
        raise TypeError("an argument is not a state")
    return each.owner


def _argument(each: _Owner) -> Argument:
    if not isinstance(each.owner, Argument):
        raise TypeError("a state is not an argument")
    return each.owner


def _owners(program: Program) -> list[_Owner]:
    types = program.entry_function.types
    owners: list[_Owner] = []
    start = 0
    everything: tuple[State | Argument, ...] = (*program.interface.states, *program.interface.arguments)
    for owner in everything:
        count = sum(1 for _ in leaf_paths(owner.tree))
        owners.append(_Owner(owner, start, types[start : start + count]))
        start += count
    return owners


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
            position += sum(1 for _ in leaf_paths(state.tree))
    return starts, position
