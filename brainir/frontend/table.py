"""The functions of one program while it is lowered."""

from __future__ import annotations

import keyword
import re

from ..ir.canonical import outline, structural_key
from ..ir.program import Function
from ..ir.sharing import equal_functions, reachable_functions

__all__ = ["Table", "identifier"]


def identifier(text: str, default: str = "fn") -> str:
    """Turn a text into a Python identifier; `default` if nothing of it can be kept."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) if text != "<lambda>" else ""
    if not name.strip("_"):
        return default
    return f"{default}_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


class Table:
    """Functions by name. A nested function is stored once, whatever the number of calls.

    Attributes
    ----------
    functions : dict of str to Function
    wanted : dict of str to str
        For each name, the one that the function would have if it were alone.
    rules : set of str
        Which of the functions are derivative rules.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.wanted: dict[str, str] = {}
        self.rules: set[str] = set()
        # What a rule computes is known only when it is lowered: each name stands for what no other name does.
        self._names: dict[str, str] = {}
        self._alike: dict[object, list[str]] = {}
        self._keys: dict[str, str] = {}
        self._by_text: dict[str, str] = {}

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
        written = _text(function)
        if written in self._by_text:
            return self._by_text[written]
        name = self._by_text[written] = self._stored_once(function)
        return name

    def _stored_once(self, function: Function) -> str:
        alike = self._alike.setdefault(outline(function), [])
        key = self.key(function) if alike else None
        for name in alike:
            if self._key_of(name) == key:
                return name
        name = self.new_name(function.name)
        self.functions[name] = function.replace(name=name)
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

    def finished(self, entry: str) -> tuple[Function, ...]:
        """Return the functions that the entry leads to, in order of reference, equal ones once.

        Those that want one name are numbered in this order, without gaps.
        """
        first = equal_functions(self.functions, entry)
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
        renamed = (function.with_callees(names) for function in kept)
        return tuple(
            function if function.name == new[function.name] else function.replace(name=new[function.name])
            for function in renamed
        )


def _text(function: Function) -> str:
    """Return a text that is equal for functions that were written alike; most equal ones are."""
    nodes = [[item for item in vars(node).items() if item[0] not in ("source", "scope")] for node in function.nodes]
    constants = [(constant.name, constant.type, constant.digest()) for constant in function.constants]
    return repr((function.inputs, function.types, constants, nodes, function.outputs))
