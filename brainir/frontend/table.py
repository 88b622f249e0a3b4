"""The functions of one program while it is lowered."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Collection, Hashable, Mapping
from typing import NamedTuple

from ..ir.canonical import outline, structural_key
from ..ir.program import Function
from ..ir.sharing import equal_functions, reachable_functions
from .jaxpr_memory import LoweredFunctions, LoweredJaxpr, Reached, written_form

__all__ = ["Table", "identifier"]


@functools.lru_cache(maxsize=1 << 12)
def identifier(text: str, default: str = "fn") -> str:
    """Turn a text into a Python identifier; `default` if nothing of it can be kept."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) if text != "<lambda>" else ""
    if not name.strip("_"):
        return default
    return f"{default}_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


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
        # What a rule computes is known only when it is lowered: each name stands for what no other name does.
        self._names: dict[str, str] = {}
        self._alike: dict[object, list[str]] = {}
        self._keys: dict[str, str] = {}
        self._by_form: dict[Hashable, str] = {}
        self._unread: list[Reached] = []  # taken, and not among the forms yet

    def new_name(self, wanted: str) -> str:
        """Return a name that no function has."""
        name, count = wanted, 0
        while name in self.wanted:
            count += 1
            name = f"{wanted}_{count}"
        self.wanted[name] = wanted
        self._names[name] = name
        return name

    def new_rule_name(self, wanted: str) -> str:
        """Return a name that no function has, for a derivative rule."""
        name = self.new_name(wanted)
        self.rules.add(name)
        return name

    def stored(self, function: Function) -> str:
        """Store a function, unless an equal one is; return its name."""
        written = written_form(function)
        self._read_taken()
        name = self._by_form.get(written)
        if name is None:
            name = self._by_form[written] = self._stored_once(function)
        self._note_mixing(self.wanted[name], self.functions[name], function.name, function)
        return name

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

    def _note_mixing(self, wanted: str, held: Function, other: str, function: Function) -> None:
        """Note where a function stands for an equal one that is written otherwise, or wants another name."""
        if wanted != other or (held.nodes is not function.nodes and not _written_alike(held, function)):
            self.mixed += 1

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
        self.functions.update(parts)
        self.wanted.update(reached.wanted)
        self.rules.update(reached.rules)
        self._names.update(reached.names)
        self._unread.append(reached)
        if all(known is not other for other in self._before):
            self._before.append(known)
        return True

    def _stored_once(self, function: Function) -> str:
        alike = self._alike.setdefault(outline(function), [])
        key = self.key(function) if alike else None
        for name in alike:
            if self._key_of(name) == key:
                return name
        name = self.new_name(function.name)
        self.functions[name] = function.named(name)
        alike.append(name)
        if key is not None:
            self._keys[name] = key
        return name

    def _key_of(self, name: str) -> str:
        if name not in self._keys:
            self._keys[name] = self.key(self.functions[name])
        return self._keys[name]

    def key(self, function: Function) -> str:
        """Return a content hash of a function, in which those that it refers to stand for themselves."""
        return structural_key(function, self._names)

    def finished(self, entry: str) -> Finished:
        """Return the functions that the entry leads to, in order of reference, equal ones once, and their new names.

        Those that want one name are numbered in this order, without gaps.
        """
        function = self.functions[entry]
        if not function.callees:
            return Finished((function,), {entry: entry})
        known = self._source_of(function.callees)
        if known is None or outline(function) in known.outlines:
            first = equal_functions(self.functions, entry, self._unlike(entry))
            return self._arranged(entry, first)
        wanted = self.wanted[entry], function.callees
        if wanted not in known.arranged:
            reached = reachable_functions(self.functions, entry)
            functions, names = self._arranged(entry, {part.name: part.name for part in reached})
            known.arrange(wanted, functions[1:], names)
        others, names = known.arranged[wanted]
        return Finished((self._renamed(function, names), *others), names)

    def _source_of(self, names: Collection[str]) -> LoweredFunctions | None:
        """Return those of the earlier program that functions, and all that they lead to, come from, if it is one."""
        if len(self._before) != 1:
            return None
        (known,) = self._before
        return known if all(known.functions.get(name) is self.functions[name] for name in names) else None

    def _arranged(self, entry: str, first: dict[str, str]) -> Finished:
        """Name what the entry leads to; for each function, `first` tells the equal one that stands for it."""
        merged = {name: same for name, same in first.items() if name != same}
        for name, same in merged.items():
            one, other = (self.functions[each].with_callees(first) for each in (same, name))
            self._note_mixing(self.wanted[same], one, self.wanted[name], other)
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
        return Finished(tuple([self._renamed(function, names) for function in kept]), names)

    @staticmethod
    def _renamed(function: Function, names: Mapping[str, str]) -> Function:
        return function.with_callees(names).named(names[function.name])

    def _unlike(self, entry: str) -> set[str]:
        """Return functions that refer to none and no two of which are equal."""
        stored = {name for names in self._alike.values() for name in names}
        return {name for name in stored if name != entry and not self.functions[name].callees}


def _written_alike(one: Function, other: Function) -> bool:
    """Whether nothing but their names tells two functions apart in a file."""
    parts = ((each.inputs, each.types, each.constants, each.outputs, [*map(vars, each.nodes)]) for each in (one, other))
    return next(parts) == next(parts)
