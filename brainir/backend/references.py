"""Which functions a generated module defines, in which order, under which names, and what each is wrapped in."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.node import Node
from ..ir.program import Function, Program
from ..ir.types import TensorType
from .expressions import CallableOf, CustomJvpOf, CustomOf, CustomVjpOf, Expression, FunctionOf, JitOf, walk
from .layout import Doc, call
from .model_names import written_name
from .scope import ModuleScope
from .solves import source_expression

__all__ = ["References"]


class References:
    """How the functions of a program refer to each other, and how they do so in a module.

    Parameters
    ----------
    program : Program
    scope : ModuleScope
        Gives the names of what the module defines.

    Attributes
    ----------
    order : list of str
        The functions to define before the entry, callees first; the entry too if it is called.
    """

    def __init__(self, program: Program, scope: ModuleScope) -> None:
        self._program = program
        self._scope = scope
        self._references: dict[str, set[CallableOf]] = {function.name: set() for function in program.functions}
        self._roles: dict[str, list[CustomOf]] = {function.name: [] for function in program.functions}
        for function in program.functions:
            for node in function.nodes:
                for part in walk(self.expression(node, function)):
                    if isinstance(part, CallableOf):
                        self._refer(part)
        self.order = self._definition_order()
        entry = {program.entry: f"{program.entry}_flat"}
        wanted = {name: entry.get(name) or written_name(program.function(name)) for name in self.order}
        self._names = {name: scope.new(name if wanted[name] in scope.taken else wanted[name]) for name in self.order}
        self._custom = {
            key: scope.new(f"{self._names[name]}_custom")
            for name in self.order
            for key in self.custom_keys(name)
            if self.decoration(name) != key
        }

    def expression(self, node: Node, function: Function) -> Expression:
        """Return the JAX call that a node of a function is."""
        return source_expression(node, function.type_of, self._program.table)

    def _refer(self, key: CallableOf) -> None:
        if key not in self._references[key.function]:
            self._references[key.function].add(key)
            if isinstance(key, CustomOf):
                for rule in _rules(key):
                    self._roles[rule].append(key)

    def _definition_order(self) -> list[str]:
        """Return the functions to define before the entry, callees first; the entry too if it is called."""
        table = self._program.table
        done: dict[str, None] = {}
        path = [(self._program.entry, self._needed(table[self._program.entry]))]
        seen = {self._program.entry}
        while path:
            callee = next((callee for callee in path[-1][1] if callee not in seen), None)
            if callee is None:
                done[path.pop()[0]] = None
            else:
                seen.add(callee)
                path.append((callee, self._needed(table[callee])))
        entry = self._program.entry
        if not self._references[entry] and not self._roles[entry]:
            del done[entry]
        return list(done)

    def _needed(self, function: Function) -> Iterator[str]:
        """Yield what a function and its derivative rules, which are written below it, refer to."""
        for node in function.nodes:
            yield from node.callees()
        for key in self.custom_keys(function.name):
            yield from _rules(key)

    def name(self, function: str) -> str:
        """Return the name under which the module defines a function."""
        return self._names[function]

    def callee(self, key: CallableOf) -> Doc:
        """Return the function that an expression refers to."""
        name = self._names[key.function]
        if isinstance(key, FunctionOf) or self.decoration(key.function) == key:
            return (name,)
        if isinstance(key, JitOf):
            return call((f"{self._scope.use('jax')}.jit",), [(name,)], self.jit_options(key))
        return (self._custom[key],)

    def returns_bare(self, function: str) -> bool:
        """Whether a function returns its one result alone rather than in a tuple."""
        # What loops and branches call returns a tuple, as the carry is one.
        called_as_is = FunctionOf(function) in self._references[function]
        return len(self._program.function(function).outputs) == 1 and not called_as_is

    def result_types(self, function: str) -> list[TensorType]:
        """Return the types of what a function returns."""
        return [*self._program.function(function).output_types]

    def decoration(self, function: str) -> JitOf | CustomJvpOf | CustomVjpOf | None:
        """Return what a function is always wrapped in, if it is, and in one thing only."""
        references = self._references[function]
        if len(references) != 1 or self._roles[function]:
            return None
        (key,) = references
        return None if isinstance(key, FunctionOf) else key

    def is_only_rule(self, function: str) -> bool:
        """Whether a function is a derivative rule of one other, and nothing else."""
        return len(self._roles[function]) == 1 and not self._references[function]

    def custom_keys(self, function: str) -> list[CustomOf]:
        """Return the pairs of a function and derivative rules that it is used with."""
        return sorted((key for key in self._references[function] if isinstance(key, CustomOf)), key=repr)

    def jit_options(self, key: JitOf) -> list[tuple[str, Doc]]:
        """Return the keywords of ``jax.jit``."""
        options = {"inline": key.inline, "keep_unused": key.keep_unused, "donate_argnums": key.donated}
        return [(name, self._scope.plain(value)) for name, value in options.items() if value]


def _rules(key: CustomOf) -> tuple[str, ...]:
    """Return the functions that are the derivative rules."""
    if isinstance(key, CustomVjpOf):
        return (key.fwd, key.bwd)
    return () if key.missing else (key.jvp,)
