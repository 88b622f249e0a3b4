"""Names for new values of a function, and for new functions of a program."""

from __future__ import annotations

import keyword

from ..ir.program import Function

__all__ = ["Names", "fresh_name"]


class Names(set[str]):
    """The names of the values of a function, and of those that are made up beside them.

    Making it does not copy the names of the function, of which there may be many.
    """

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._values = function.value_types

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._values


def fresh_name(wanted: str, taken: set[str]) -> str:
    """Return `wanted`, with a number behind it if it is taken, and take it."""
    name, count = wanted, 0
    while name in taken or keyword.iskeyword(name):
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name
