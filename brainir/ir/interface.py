"""How users see the entry function of a program: arguments, result, states, pytrees and physical units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, FiniteFloat

from .model import Model, PathKey, StatePath

__all__ = [
    "BASE_UNITS",
    "DEEPEST_TREE",
    "Argument",
    "Aux",
    "ClassName",
    "CustomTree",
    "DataclassTree",
    "DictTree",
    "Interface",
    "LeafTree",
    "NamedTupleTree",
    "NoneTree",
    "Role",
    "Scalar",
    "SequenceTree",
    "State",
    "Static",
    "StaticDict",
    "Tree",
    "Unit",
    "customs",
    "leaf_count",
    "leaf_paths",
    "leaves",
    "tree_depth",
]

DEEPEST_TREE = 90
"""Levels of a pytree that can be stored: the JSON parser stops at 200 nested lists and dicts, a level takes two."""

Scalar = bool | int | float | str | None


class ClassName(Model):
    """A class that something in a container is, such as an enumeration; ``type`` is ``module:qualified.name``."""

    type: str


class StaticDict(Model):
    """A dict or ``OrderedDict`` with texts as keys, in a container, that holds no arrays."""

    items: tuple[tuple[str, Static], ...]
    ordered: bool = False


_Plain = Scalar | ClassName | StaticDict
_Row = _Plain | tuple[_Plain, ...]
_Table = _Row | tuple[_Row, ...]
Static: TypeAlias = _Table | tuple[_Table, ...]
"""What a container is made of besides arrays, where that is data; tuples are up to three deep."""

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


class LeafTree(Model):
    """One array; with ``unit``, a quantity whose mantissa it is."""

    kind: Literal["leaf"] = "leaf"
    unit: str | None = None


class NoneTree(Model):
    """``None``: a node without leaves."""

    kind: Literal["none"] = "none"


class SequenceTree(Model):
    """A tuple or a list."""

    kind: Literal["tuple", "list"]
    children: tuple[Tree, ...]


class DictTree(Model):
    """A dict; leaves follow the order of the keys here (JAX sorts them, but for ``OrderedDict``).

    A key is a text, a number, or a tuple of these, as the path of a state is.
    """

    kind: Literal["dict", "ordered_dict"]
    keys: tuple[PathKey | StatePath, ...]
    children: tuple[Tree, ...]


class NamedTupleTree(Model):
    """A namedtuple; ``type`` is ``module:qualified.name`` of its class."""

    kind: Literal["namedtuple"] = "namedtuple"
    type: str
    fields: tuple[str, ...]
    children: tuple[Tree, ...]


class DataclassTree(Model):
    """A dataclass that is registered as a pytree; ``static`` holds its other fields."""

    kind: Literal["dataclass"] = "dataclass"
    type: str
    fields: tuple[str, ...]
    children: tuple[Tree, ...]
    static: tuple[tuple[str, Static], ...] = ()


class Aux(Model):
    """What the class of a container gives JAX besides its parts (``aux_data`` in JAX)."""

    value: Static


class CustomTree(Model):
    """A container of a class that is registered with JAX, of which a program holds the parts with arrays alone.

    What else it is made of, such as functions, comes with an argument, or is ``aux`` if no argument is like it.

    Parameters
    ----------
    type : str
        ``module:qualified.name`` of the class.
    keys : tuple of str and int
        The parts, as JAX names them.
    children : tuple of Tree
    origin : int
        Containers of one interface with the same number are alike in all but their arrays. One of them is in an
        argument or state, or they have an `aux`.
    aux : Aux, optional
    """

    kind: Literal["custom"] = "custom"
    type: str
    keys: tuple[PathKey, ...]
    children: tuple[Tree, ...]
    origin: int
    aux: Aux | None = None


Tree: TypeAlias = Annotated[
    LeafTree | NoneTree | SequenceTree | DictTree | NamedTupleTree | DataclassTree | CustomTree, Discriminator("kind")
]
"""The structure of a pytree."""

for _model in (StaticDict, SequenceTree, DictTree, NamedTupleTree, DataclassTree, CustomTree):
    _model.model_rebuild()


def leaves(tree: Tree) -> Iterator[LeafTree]:
    """Yield the leaves of a tree in order."""
    for _, leaf in leaf_paths(tree):
        yield leaf


def leaf_paths(tree: Tree, prefix: StatePath = ()) -> Iterator[tuple[StatePath, LeafTree]]:
    """Yield each leaf with its keys from the root: dict keys, field names, indices; a path as key is that many keys."""
    if isinstance(tree, LeafTree):
        yield prefix, tree
    elif isinstance(tree, SequenceTree):
        for index, child in enumerate(tree.children):
            yield from leaf_paths(child, (*prefix, index))
    elif isinstance(tree, DictTree):
        for key, child in zip(tree.keys, tree.children, strict=True):
            yield from leaf_paths(child, (*prefix, *key) if isinstance(key, tuple) else (*prefix, key))
    elif isinstance(tree, NamedTupleTree | DataclassTree):
        for field, child in zip(tree.fields, tree.children, strict=True):
            yield from leaf_paths(child, (*prefix, field))
    elif isinstance(tree, CustomTree):
        for part, child in zip(tree.keys, tree.children, strict=True):
            yield from leaf_paths(child, (*prefix, part))


def customs(trees: Iterable[Tree]) -> Iterator[CustomTree]:
    """Yield the containers of trees that a file cannot hold all of."""
    pending = [*trees]
    while pending:
        tree = pending.pop()
        if isinstance(tree, (LeafTree, NoneTree)):
            continue
        if isinstance(tree, CustomTree):
            yield tree
        pending += tree.children


def with_units(tree: Tree, units: Mapping[str, str]) -> Tree:
    """Return a tree with other units: for each that a leaf names, the one to name."""
    if isinstance(tree, LeafTree):
        return tree if tree.unit is None else tree.replace(unit=units[tree.unit])
    if isinstance(tree, NoneTree):
        return tree
    return tree.replace(children=tuple(with_units(child, units) for child in tree.children))


def leaf_count(tree: Tree) -> int:
    """Return the number of leaves."""
    return sum(1 for _ in leaves(tree))


def tree_depth(tree: Tree) -> int:
    """Return the levels of a pytree; a leaf has one."""
    depth, layer = 0, [tree]
    while layer:
        depth += 1
        layer = [child for parent in layer for child in getattr(parent, "children", ())]
    return depth


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
