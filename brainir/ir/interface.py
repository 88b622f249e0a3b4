"""How users see the entry function of a program: arguments, result, states, pytrees and physical units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from .model import Model, StatePath
from .trees import LeafTree, Tree, leaf_count, leaf_paths

__all__ = ["BASE_UNITS", "Argument", "Interface", "Role", "State", "Unit"]

PositiveFinite = Annotated[float, Field(gt=0, allow_inf_nan=False)]


BASE_UNITS = ("m", "kg", "s", "A", "K", "mol", "cd")
"""The SI base units, in the order of the exponents of a unit."""


class Unit(Model):
    """A physical unit: ``factor * base**scale`` times powers of the seven SI base units.

    Parameters
    ----------
    text : str
        How the unit is written, ``mV``; the name by which leaves refer to it.
    dimension : tuple of seven numbers
        Exponents of metre, kilogram, second, ampere, kelvin, mole, candela.
    scale, base, factor : float
    """

    text: str
    dimension: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    scale: FiniteFloat = 0.0
    base: PositiveFinite = 10.0
    factor: PositiveFinite = 1.0


Role = Literal["hidden", "param", "other"]


class State(Model):
    """One state of the model.

    Parameters
    ----------
    path : tuple of str and int
        Where the state sits in the module, or in the pytree of a pure step function.
    role : {"hidden", "param", "other"}
    type : str
        Name of the state class, such as ``HiddenState``; for a pure step the role.
    tree : Tree
        Structure and units of the value.
    returned : bool
        Whether the entry function returns the new value; if not, the state stays as it is.
    num_state : int
        States held along the last axis of a grouped state, else 1.
    reachable : bool
        False if the module graph does not lead to the state; `path` is then made up.
    """

    path: StatePath
    role: Role
    type: str
    tree: Tree
    returned: bool = True
    num_state: int = 1
    reachable: bool = True


class Argument(Model):
    """One argument of the entry function after the states.

    Parameters
    ----------
    name : str
    tree : Tree
    keyword : bool
        Whether it was passed by keyword.
    plain : bool
        Whether a leaf with a unit may also be given as plain numbers in that unit.
    """

    name: str
    tree: Tree
    keyword: bool = False
    plain: bool = False


class Interface(Model):
    """How the leaves of the entry function's inputs and outputs form arguments, states and the result.

    Inputs of the entry are the leaves of the states, then of the arguments, in order. Outputs are the leaves of the
    states with ``returned``, then of the result.

    Parameters
    ----------
    kind : {"function", "step", "module"}
        Calling convention: ``fn(*arguments)``, ``fn(params, hidden, *arguments) -> (hidden, result)``, or
        ``fn(states, *arguments) -> (states, result)`` with states in a dict by path.
    states : tuple of State
    arguments : tuple of Argument
    result : Tree
    units : tuple of Unit
        Every unit that a leaf names.
    params, hidden : Tree or None
        For a step: the pytrees of its first two arguments, whose leaves are the states.
    unused : tuple of paths
        States of the module that the step neither reads nor writes.
    """

    kind: Literal["function", "step", "module"]
    states: tuple[State, ...] = ()
    arguments: tuple[Argument, ...] = ()
    result: Tree
    units: tuple[Unit, ...] = ()
    params: Tree | None = None
    hidden: Tree | None = None
    unused: tuple[StatePath, ...] = ()

    def trees(self) -> Iterator[Tree]:
        """Yield every tree of the interface."""
        for state in self.states:
            yield state.tree
        for argument in self.arguments:
            yield argument.tree
        yield self.result
        yield from (tree for tree in (self.params, self.hidden) if tree is not None)

    def input_leaves(self) -> Iterator[tuple[State | Argument, StatePath, LeafTree]]:
        """Yield the leaf behind each input of the entry: its owner, its keys within the owner, and the leaf."""
        owners: tuple[State | Argument, ...] = (*self.states, *self.arguments)
        for owner in owners:
            for path, leaf in leaf_paths(owner.tree):
                yield owner, path, leaf

    def output_leaves(self) -> Iterator[tuple[State | None, StatePath, LeafTree]]:
        """Yield the leaf behind each output of the entry: its state, or None for the result."""
        for state in self.states:
            if state.returned:
                for path, leaf in leaf_paths(state.tree):
                    yield state, path, leaf
        for path, leaf in leaf_paths(self.result):
            yield None, path, leaf

    def returned_leaves(self) -> int:
        """Return how many of the first outputs of the entry hold states; those of the result follow."""
        return sum(leaf_count(state.tree) for state in self.states if state.returned)
