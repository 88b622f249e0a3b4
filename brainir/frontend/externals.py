"""Host callbacks and primitives that are left as they are: what a program names without holding it."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax

from ..ir.errors import LoweringError
from ..ir.trees import LeafTree, NoneTree, SequenceTree, Tree, leaves
from . import jax_compat
from .keys.function_keys import FunctionKeys
from .keys.lowering_keys import LoweringKeys
from .keys.wrapped import UnknownBehaviourError
from .literals import literal
from .rules import Operation, UnsupportedError
from .trees import TreeReader

__all__ = ["CALLBACKS", "External", "ExternalNames", "callback", "custom_call"]


CALLBACKS = {
    "pure_callback": "pure_callback",
    "io_callback": "io_callback",
    "debug_callback": "debug_callback",
    "debug_print": "debug_callback",
}
"""Primitives that call a Python function on the host, with the operation."""


class External(NamedTuple):
    """A function that is called on the host.

    Parameters
    ----------
    key : hashable
        What tells it from others.
    wanted : str
        The name that it would have if it were alone.
    held : callable, optional
        The function, where the key is that of one program only.
    """

    key: Hashable
    wanted: str
    held: Any


class ExternalNames:
    """Gives each function that a program calls on the host a name of its own, after ``__name__``.

    Parameters
    ----------
    lasting : FunctionKeys
        Tell functions apart that are made anew.
    within : LoweringKeys
        Do so for one program, where that cannot be told for good.
    """

    def __init__(self, lasting: FunctionKeys, within: LoweringKeys) -> None:
        self._names: dict[Hashable, str] = {}
        self._named: dict[str, External] = {}
        self._lasting = lasting
        self._within = within

    def of(self, function: Any, *, pure: bool = False) -> str:
        """Return the name of a function, always the same for one function.

        Pure functions of the same code and contents are one: a rule that makes its callback anew is traced more than
        once. So are those that regenerated calls make of one external.
        """
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        wanted = str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")
        wanted = wanted if wanted.isidentifier() else "external"
        given = getattr(function, "brainir_external", function)
        if not pure:
            return self.named(External((id(given), wanted), wanted, function))
        try:
            return self.named(External((self._lasting.of(given).content, wanted), wanted, None))
        except UnknownBehaviourError:
            return self.named(External((self._within.of(given).content, wanted), wanted, function))

    def named(self, external: External) -> str:
        """Return the name of a function that may have been met in another program."""
        if external.key not in self._names:
            count, name = 0, external.wanted
            while name in self._named:
                count += 1
                name = f"{external.wanted}_{count}"
            self._names[external.key] = name
            self._named[name] = external
        return self._names[external.key]

    def behind(self, name: str) -> External:
        """Return the function that has a name."""
        return self._named[name]


def callback(equation: Any, names: ExternalNames) -> Operation:
    """Return what a host callback does."""
    params = dict(equation.params)
    primitive = equation.primitive.name
    function, tree, text = jax_compat.callback_parts(equation)
    if params.get("sharding") is not None:
        raise UnsupportedError(f"a callback with sharding={params['sharding']!r}")
    args, kwargs = jax.tree.unflatten(tree, [0] * tree.num_leaves)
    attributes = dict(
        name=names.of(function, pure=primitive == "pure_callback"),
        arguments=SequenceTree(kind="tuple", children=tuple(map(_tree, args))),
        keywords=tuple((name, _tree(kwargs[name])) for name in sorted(kwargs)),
        vmap_method=params.get("vmap_method"),
        ordered=jax_compat.is_ordered(equation),
        partitioned=bool(params.get("partitioned", False)),
        text=text,
    )
    return Operation(CALLBACKS[primitive], attributes)


def _tree(value: Any) -> Tree:
    """Return the structure of an argument; of anything but tuples, lists and dicts, the list of its leaves.

    A program names no class that emission would have to import and call to make the argument anew.
    """
    where = "an argument of the callback"
    try:
        tree = TreeReader().read(value, where)
    except LoweringError:
        tree = TreeReader().read(jax.tree.leaves(value), where)
    if any(leaf.unit is not None for leaf in leaves(tree)):
        raise UnsupportedError(f"{where} is a quantity; give it the mantissa")
    return tree if _has_no_class(tree) else TreeReader().read(jax.tree.leaves(value), where)


def _has_no_class(tree: Tree) -> bool:
    if isinstance(tree, (LeafTree, NoneTree)):
        return True
    return tree.kind in ("tuple", "list", "dict") and all(map(_has_no_class, tree.children))


def custom_call(equation: Any) -> Operation:
    """Return what a primitive does that is left as it is."""
    if equation.effects:
        raise UnsupportedError("a primitive with effects cannot be left as it is")
    params = [(name, literal(value, f"parameter {name}")) for name, value in sorted(equation.params.items())]
    return Operation("custom_call", {"name": equation.primitive.name, "params": tuple(params)})
