"""Names of the old version for the functions and values of the new one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..program import Function
from .program_matching import FunctionMatching, ProgramMatching

__all__ = ["Names"]

_NUMBERED = re.compile(r"(v|x|c)([0-9]{1,15})", re.ASCII)
_LONGEST = 180


class Names:
    """The names that functions and values of the new version take over from the old one.

    What has no counterpart keeps its name, unless the old version has that name for something else.

    Parameters
    ----------
    matching : ProgramMatching

    Attributes
    ----------
    functions : dict of str to str
        For each function of the new version.
    values : dict of str to dict of str to str
        For each value, by the new version's name of its function.
    """

    def __init__(self, matching: ProgramMatching) -> None:
        given = {new: pair.old.name for new, pair in matching.of_new.items() if matching.of_old[pair.old.name] is pair}
        self.functions = _complete(given, matching.new.table, matching.old.table)
        self.values = {
            function.name: _value_names(function, matching.of_new.get(function.name))
            for function in matching.new.functions
        }


def _value_names(function: Function, pair: FunctionMatching | None) -> dict[str, str]:
    if pair is None:
        return {name: name for name in function.value_types}
    given: dict[str, str] = {}
    for old, new in pair.values.items():
        given.setdefault(new, old)
    # How often equal constants are stored does not count.
    names = {pair.new_contents[name]: old for name, old in given.items() if name in pair.new_contents}
    for name, content in pair.new_contents.items():
        if name not in given and content in names:
            given[name] = names[content]
    return _complete(given, function.value_types, pair.old.value_types)


def _complete(given: dict[str, str], names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return a name for each of `names`: the given one, else its own or a similar one that is free."""
    used = {*taken, *given.values()}
    fresh: dict[str, Iterator[str]] = {}
    complete: dict[str, str] = {}
    for name in names:
        chosen = given.get(name)
        if chosen is None:
            chosen = name
            if name in used:
                numbered = _NUMBERED.fullmatch(name)
                stem = numbered[1] if numbered else f"{name[:_LONGEST]}_"
                if stem not in fresh:
                    # To look through all names pays for the few stems that many names have.
                    fresh[stem] = _similar(stem, used, _highest(stem, used) if numbered else 0)
                chosen = next(fresh[stem])
            used.add(chosen)
        complete[name] = chosen
    return complete


def _highest(stem: str, used: set[str]) -> int:
    """Return the highest number that follows a stem."""
    size = len(stem)
    numbers = (name[size:] for name in used if name.startswith(stem))
    return max((int(text) for text in numbers if text.isascii() and text.isdigit() and len(text) <= 15), default=0)


def _similar(stem: str, used: set[str], number: int) -> Iterator[str]:
    """Yield free names of one stem, with numbers above a given one."""
    while True:
        number += 1
        if (name := f"{stem}{number}") not in used:
            yield name
