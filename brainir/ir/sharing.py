"""The function table of a program without duplicates and without functions that nothing refers to."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from .canonical import function_keys, outline
from .kept import kept
from .node import Node
from .program import Function

__all__ = ["equal_functions", "reachable_functions", "share_equal_functions", "written_form"]

_NOTHING: Mapping[str, str] = {}
_HASHED_BYTES = 1 << 6


def reachable_functions(
    functions: Mapping[str, Function], entry: str, stands_for: Mapping[str, str] = _NOTHING
) -> tuple[Function, ...]:
    """Return the entry and the functions it leads to, in order of first reference.

    Parameters
    ----------
    functions : mapping of str to Function
        By name.
    entry : str
    stands_for : mapping of str to str
        Which function is taken where another is referred to.
    """
    found: dict[str, Function] = {}
    waiting = [entry]
    while waiting:
        wanted = waiting.pop()
        name = stands_for.get(wanted, wanted)
        if name not in found:
            function = found[name] = functions[name]
            waiting.extend(reversed(function.callees))
    return tuple(found.values())


def equal_functions(
    functions: Mapping[str, Function], entry: str, unlike: Collection[str] = frozenset()
) -> dict[str, str]:
    """Return for each function that the entry leads to the first one, in order of reference, that is equal to it.

    Functions are equal if their canonical forms are, derivative rules that refer to themselves included.

    Parameters
    ----------
    functions : mapping of str to Function
        By name.
    entry : str
    unlike : collection of str
        Functions that refer to none and no two of which are equal, as is known; these are not compared.
    """
    reached = reachable_functions(functions, entry)
    if len(reached) == 1:
        return {entry: entry}
    alike: dict[object, list[str]] = {}
    for function in reached:
        alike.setdefault(outline(function), []).append(function.name)
    alike = {key: names for key, names in alike.items() if len(names) > 1 and not all(name in unlike for name in names)}
    compared = {name for names in alike.values() for name in names}
    # To find the keys of functions takes longer than all else in lowering; a function without a like is its own, and
    # most equal ones were written alike.
    known = {function.name: f"the only {function.name}" for function in reached if function.name not in compared}
    written = _last_alike([function for function in reached if function.name in compared])
    for names in alike.values():
        if len({written[name] for name in names}) == 1:
            known.update(dict.fromkeys(names, f"the only {names[0]}"))
    keys = function_keys({function.name: function for function in reached}, known)
    first: dict[str, str] = {}
    for function in reached:
        first.setdefault(keys[function.name], function.name)
    return {function.name: first[keys[function.name]] for function in reached}


def share_equal_functions(functions: Mapping[str, Function], entry: str) -> tuple[Function, ...]:
    """Return the functions that the entry leads to, one for each set of equal ones: the first keeps its name."""
    first = equal_functions(functions, entry)
    return tuple(function.with_callees(first) for function in reachable_functions(functions, first[entry], first))


def _last_alike(functions: Iterable[Function]) -> dict[str, str]:
    """Return for each function the last one that is written like it, as far as those that they refer to are, too."""
    last: dict[str, str] = {}
    forms: dict[Hashable, str] = {}
    for function in reversed([*functions]):
        last[function.name] = forms.setdefault(written_form(function, last), function.name)
    return last


def written_form(function: Function, stands_for: Mapping[str, str] = _NOTHING) -> Hashable:
    """Return what is equal for functions that were written alike, but for scopes and lines; most equal ones are.

    Parameters
    ----------
    function : Function
    stands_for : mapping of str to str
        Which function is taken where another is referred to.
    """
    if stands_for and function.callees:
        return _written_form(function, stands_for)
    return kept(function, "_written_form", lambda: _written_form(function, _NOTHING))


def _written_form(function: Function, stands_for: Mapping[str, str]) -> Hashable:
    nodes = [(node.op, node.inputs, node.outputs, node.types, _attributes(node, stands_for)) for node in function.nodes]
    constants = [
        (constant.name, constant.type, constant.sha256, _Data(constant.data)) for constant in function.constants
    ]
    return function.inputs, function.types, tuple(constants), tuple(nodes), function.outputs


def _attributes(node: Node, stands_for: Mapping[str, str]) -> str:
    names = node.attribute_names()
    if node.refers:
        node = node.with_callees(stands_for)
    return repr([getattr(node, name) for name in names]) if names else ""


class _Data:
    """The bytes of an array, which are only gone through where the rest is equal."""

    __slots__ = ("held",)

    def __init__(self, held: bytes | None) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Data) and self.held == other.held

    def __hash__(self) -> int:
        return hash(self.held and self.held[:_HASHED_BYTES])
