"""The functions of one program while it is lowered."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from ..ir.canonical import outline
from ..ir.program import Function
from ..ir.sharing import equal_functions, reachable_functions, written_form
from .memory.arrangement import ARRANGEMENTS, Arrangement
from .memory.functions import content_key, known_function, written_alike
from .memory.jaxprs import LoweredFunctions, LoweredJaxpr, Reached

__all__ = ["Table", "identifier"]


@functools.lru_cache(maxsize=1 << 12)
def identifier(text: str) -> str:
    """Turn a text into a Python identifier; ``fn`` if nothing of it can be kept."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) if text != "<lambda>" else ""
    if not name.strip("_"):
        return "fn"
    return f"fn_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


class Finished(NamedTuple):
    """The functions of a program as they are in the end.

    Parameters
    ----------
    functions : tuple of Function
        The entry first.
    names : mapping of str to str
        What each function that was lowered for it is called now.
    """

    functions: tuple[Function, ...]
    names: Mapping[str, str]


class Table:
    """Functions by name. A nested function is stored once, whatever the number of calls.

    Attributes
    ----------
    functions : dict of str to Function
    wanted : dict of str to str
        For each name, the one that the function would have if it were alone.
    rules : set of str
        Which of the functions are derivative rules.
    mixed : int
        How often a function stood for an equal one that is written otherwise: with another name, with other scopes and
        lines, or with its nodes in another order.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.wanted: dict[str, str] = {}
        self.rules: set[str] = set()
        self.mixed = 0
        self._before: list[LoweredFunctions] = []
        self._alike: dict[object, list[str]] = {}
        self._by_form: dict[Hashable, str] = {}
        self._unread: list[Reached] = []  # taken, and not among the forms yet

    def new_name(self, wanted: str) -> str:
        """Return a name that no function has."""
        name, count = wanted, 0
        while name in self.wanted:
            count += 1
            name = f"{wanted}_{count}"
        self.wanted[name] = wanted
        return name

    def new_rule_name(self, wanted: str) -> str:
        """Return a name that no function has, for a derivative rule."""
        name = self.new_name(wanted)
        self.rules.add(name)
        return name

    def define(self, name: str, function: Function) -> None:
        """Store a function under a name that was made for it, whatever equals it."""
        self.functions[name] = function

    def stored(self, function: Function) -> str:
        """Store a function, unless an equal one is; return its name."""
        written = written_form(function)
        self._read_taken()
        name = self._by_form.get(written)
        if name is None:
            function = known_function(function)
            name = self._by_form[written] = self._stored_once(function)
        self.mixed += self._is_mixed(self.wanted[name], self.functions[name], function.name, function)
        return name

    def add(self, functions: Mapping[str, Function], wanted: Mapping[str, str], rules: Collection[str]) -> None:
        """Add functions whose names no others have, with the names that they want, and which of them are rules."""
        self.functions.update(functions)
        self.wanted.update(wanted)
        self.rules.update(rules)

    def leave_out(self, names: Collection[str]) -> None:
        """Let functions that the program may not need stand for none that is stored from now on."""
        self._read_taken()
        for alike in self._alike.values():
            alike[:] = [name for name in alike if name not in names]
        self._by_form = {form: name for form, name in self._by_form.items() if name not in names}

    def _read_taken(self) -> None:
        """Let what was taken from earlier programs stand for what is written alike."""
        for reached in self._unread:
            for form, name in reached.forms.items():
                self._by_form.setdefault(form, name)
        self._unread.clear()

    @staticmethod
    def _is_mixed(wanted: str, held: Function, other: str, function: Function) -> bool:
        """Whether a function stands for an equal one that is written otherwise, or wants another name."""
        return wanted != other or (held.nodes is not function.nodes and not written_alike(held, function))

    @property
    def sources(self) -> int:
        """From how many earlier programs functions were taken."""
        return len(self._before)

    def take(self, lowered: LoweredJaxpr) -> bool:
        """Add what a jaxpr was lowered to in an earlier program, unless one of its names means something else."""
        known = lowered.functions
        reached = known.reached(lowered.name)
        parts = reached.functions
        if any(self.functions.get(name) is not parts[name] for name in self.wanted.keys() & parts.keys()):
            return False
        self.add(parts, reached.wanted, reached.rules)
        self._unread.append(reached)
        if all(known is not other for other in self._before):
            self._before.append(known)
        return True

    def _stored_once(self, function: Function) -> str:
        alike = self._alike.setdefault(outline(function), [])
        for name in alike:
            if content_key(self.functions[name]) == content_key(function):
                return name
        name = self.new_name(function.name)
        self.functions[name] = function.named(name)
        alike.append(name)
        return name

    def finished(self, entry: str) -> Finished:
        """Return the functions that the entry leads to, in order of reference, equal ones once, and their new names.

        Those that want one name are numbered in this order, without gaps.
        """
        function = self.functions[entry]
        if not function.callees:
            return Finished((function,), {entry: entry})
        made_of = reachable_functions(self.functions, entry)[1:]
        wanted = [self.wanted[part.name] for part in made_of]
        key = self.wanted[entry], function.callees, tuple(map(id, made_of)), tuple(wanted)
        known = ARRANGEMENTS.find(key)
        if known is None or outline(function) in known.outlines:
            known = self._arranged(entry, made_of)
            if outline(function) not in known.outlines:
                ARRANGEMENTS.keep(key, known)
        self.mixed += known.mixed
        return Finished((function.renamed(known.names), *known.functions), known.names)

    def _arranged(self, entry: str, made_of: tuple[Function, ...]) -> Arrangement:
        """Name what the entry leads to, and let one function stand for all that are equal to it."""
        outlines = frozenset(map(outline, made_of))
        if self._are_unlike(made_of) and outline(self.functions[entry]) not in outlines:
            first = {entry: entry} | {part.name: part.name for part in made_of}
        else:
            first = equal_functions(self.functions, entry, self._unlike(entry))
        mixed = 0
        for name, same in first.items():
            if name != same:
                one, other = (self.functions[each].with_callees(first) for each in (same, name))
                mixed += self._is_mixed(self.wanted[same], one, self.wanted[name], other)
        kept = reachable_functions(self.functions, entry, first)
        new: dict[str, str] = {}
        counts: dict[str, int] = {}
        taken = set[str]()
        for function in kept:
            base = name = self.wanted[function.name]
            # A function that came back from a program can want a name with a number.
            while name in taken:
                counts[base] = counts.get(base, 0) + 1
                name = f"{base}_{counts[base]}"
            taken.add(name)
            new[function.name] = name
        names = {old: new[same] for old, same in first.items()}
        functions = tuple([function.renamed(names) for function in kept[1:]])
        return Arrangement(made_of, outlines, functions, names, mixed)

    def _are_unlike(self, functions: Sequence[Function]) -> bool:
        """Whether functions, no two of them equal, come from one earlier program."""
        if len(self._before) != 1:
            return False
        (known,) = self._before
        return all(known.functions.get(part.name) is part for part in functions)

    def _unlike(self, entry: str) -> set[str]:
        """Return functions that refer to none and no two of which are equal."""
        stored = {name for names in self._alike.values() for name in names}
        return {name for name in stored if name != entry and not self.functions[name].callees}
