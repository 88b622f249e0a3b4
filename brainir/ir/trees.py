"""Pytrees as data: containers, what they are made of besides arrays, and their leaves in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator

from .model import Model, PathKey, StatePath

__all__ = [
    "DEEPEST_TREE",
    "Aux",
    "ClassName",
    "CustomTree",
    "DataclassTree",
    "DictTree",
    "LeafTree",
    "NamedTupleTree",
    "NoneTree",
    "Scalar",
    "SequenceTree",
    "Static",
    "StaticDict",
    "Tree",
    "customs",
    "leaf_count",
    "leaf_paths",
    "leaves",
    "tree_depth",
    "with_units",
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
    elif not isinstance(tree, NoneTree):
        keys: Iterable[PathKey | StatePath]
        if isinstance(tree, SequenceTree):
            keys = range(len(tree.children))
        else:
            keys = tree.keys if isinstance(tree, DictTree | CustomTree) else tree.fields
        for key, child in zip(keys, tree.children, strict=True):
            yield from leaf_paths(child, (*prefix, *key) if isinstance(key, tuple) else (*prefix, key))


def customs(trees: Iterable[Tree]) -> Iterator[CustomTree]:
    """Yield the containers of trees that a file cannot hold all of."""
    pending = [*trees]
    while pending:
        tree = pending.pop()
        if isinstance(tree, CustomTree):
            yield tree
        pending += getattr(tree, "children", ())


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
