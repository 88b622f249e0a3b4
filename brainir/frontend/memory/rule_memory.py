"""What is lowered apart from the program, once in a process, and taken into each program that needs it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from ...ir.node import Node
from ...ir.ops import Callback, CustomVmap
from ...ir.program import Function
from ...ir.sharing import reachable_functions
from .. import jax_compat
from ..keys.function_keys import FunctionKeys
from ..keys.key import Key
from ..keys.wrapped import UnknownBehaviourError
from .functions import known_function
from .rules import LOWERED_RULES, LoweredRules, NodeByRules
from .settings import settings

if TYPE_CHECKING:
    from ..lowering import Lowering
    from ..session import Session

__all__ = ["Behaviour", "RuleMemory"]


class Behaviour(NamedTuple):
    """What derivative rules depend on.

    Parameters
    ----------
    primitive
    kinds : tuple
        Types of operands and results.
    mesh
        That around the equation, with what `shard_map` makes of its axes.
    key : Key
        Of what the rules are made of.
    keep : frozenset of str
        Names of primitives that are left as they are.
    settings : hashable
        Those of JAX.
    """

    primitive: Any
    kinds: tuple[Any, ...]
    mesh: Hashable
    key: Key
    keep: frozenset[str]
    settings: Hashable


class RuleMemory:
    """Takes rules from the memory of the process into one program.

    Parameters
    ----------
    keep : frozenset of str
        Names of primitives that are left as they are.
    keys : FunctionKeys
    """

    def __init__(self, keep: frozenset[str], keys: FunctionKeys) -> None:
        self._keys = keys
        self._keep = keep
        self._own = set[Hashable]()

    @functools.cached_property
    def settings(self) -> Hashable:
        """What JAX is set to while the program is lowered."""
        return settings()

    def behaviour(self, equation: Any, made_of: Any) -> Behaviour | None:
        """Return what the rules of an equation depend on, or None if that cannot be told.

        Parameters
        ----------
        equation
        made_of
            Functions, and values that these use.
        """
        try:
            key = self._keys.of(made_of)
        except UnknownBehaviourError:
            return None
        return Behaviour(*self.place(equation), key, self._keep, self.settings)

    @staticmethod
    def place(equation: Any) -> tuple[Any, tuple[Any, ...], Hashable]:
        """Return the primitive, the types of operands and results, and the mesh around an equation."""
        avals = [atom.aval for atom in (*equation.invars, *equation.outvars)]
        kinds = tuple([(jax_compat.type_text(aval), jax_compat.varying(aval)) for aval in avals])
        return equation.primitive, kinds, jax.sharding.get_abstract_mesh()

    def lowered(self, lowering: Lowering, key: Hashable, lower: Callable[[Lowering], NodeByRules]) -> NodeByRules:
        """Take rules from memory, or lower and remember them.

        They are lowered apart from the program, so that what is remembered does not depend on it.
        """
        session = lowering.session
        found = LOWERED_RULES.find(key)
        if found is None:
            inner = lowering.apart()
            found = _lowered_rules(lower(inner), inner.session)
            session.problems.extend(inner.session.problems)
            if not found.can_be_kept():
                self._own.add(key)
            elif not inner.session.problems:
                LOWERED_RULES.keep(key, found)
        if found.externals:
            self._own.add(key)
        called = {name: session.externals.named(external) for name, external in found.externals.items()}
        functions = found.functions
        if any(name != new for name, new in called.items()):
            functions = {name: known_function(_calling(function, called)) for name, function in functions.items()}
        session.table.add(functions, found.wanted, found.rules)
        return found.node

    def is_of_this_program(self, key: Hashable) -> bool:
        """Whether the rules that were lowered for a key can be other ones in another program, or are too large.

        What they call on the host has a name that depends on the others in the program.
        """
        return bool(self._own) and key in self._own


_numbers = itertools.count()


def _lowered_rules(node: NodeByRules, session: Session) -> LoweredRules:
    """Return rules that were lowered apart, under names that no other function has, whatever the program."""
    table, number = session.table, next(_numbers)
    roots = [name for value in node.attributes.values() for name in _names(value) if name in table.functions]
    reached = {part.name: part for root in roots for part in reachable_functions(table.functions, root)}
    names = {name: f"{name}@{number}" for name in reached}
    functions = {names[name]: part.renamed(names) for name, part in reached.items()}
    attributes = {attribute: _renamed(value, names) for attribute, value in node.attributes.items()}
    return LoweredRules(
        dataclasses.replace(node, attributes=attributes),
        functions,
        {new: table.wanted[name] for name, new in names.items()},
        frozenset([names[name] for name in table.rules if name in names]),
        {name: session.externals.behind(name) for name in _called(functions.values())},
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return an attribute with other names for the functions that it refers to."""
    if isinstance(value, str):
        return names[value]
    return tuple(map(names.__getitem__, value)) if _names(value) else value


def _names(value: Any) -> tuple[str, ...]:
    """Return the names of functions in an attribute of a node with rules."""
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) and all(isinstance(name, str) for name in value) else ()


def _called(functions: Iterable[Function]) -> dict[str, None]:
    """Return the names of the externals of functions, in order."""
    nodes = (node for function in functions for node in function.nodes)
    return {getattr(node, field): None for node in nodes if (field := _external_field(node))}


def _calling(function: Function, names: Mapping[str, str]) -> Function:
    """Return a function with other names for its externals; itself if that changes nothing."""
    if names.keys().isdisjoint(_called([function])):
        return function
    nodes = [
        node.replace(**{field: names[getattr(node, field)]}) if (field := _external_field(node)) else node
        for node in function.nodes
    ]
    return function.replace(nodes=tuple(nodes))


def _external_field(node: Node) -> str:
    """Return which attribute of a node is the name of an external; an empty text if none is."""
    if isinstance(node, Callback):
        return "name"
    return "rule" if isinstance(node, CustomVmap) and node.rule else ""
