"""Records with one field changed.

The changes come from the fields of the models, so a new schema or field is covered without a line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from brainir.ir.constant import Constant
from brainir.ir.interface import Interface
from brainir.ir.model import Model
from brainir.ir.node import Node
from brainir.ir.program import Function, Program
from brainir.ir.trees import CustomTree, DataclassTree, DictTree, LeafTree, NamedTupleTree, NoneTree, SequenceTree
from brainir.ir.types import DTYPES

Variant = tuple[str, Any]

# What the canonical form leaves out, and what stands for edges, which are changed below.
NAMES_AND_NOTES = {
    Program: {"format", "version", "entry", "functions", "metadata"},
    Function: {"name", "inputs", "constants", "nodes", "outputs"},
    Constant: {"name", "data", "sha256"},
    Node: {"inputs", "outputs", "scope", "source"},
}
# Their order does not count.
SETS = {(Interface, "units"), (Interface, "unused")}
TREE = LeafTree(unit="another")
TREES_OF = (LeafTree, NoneTree, SequenceTree, DictTree, NamedTupleTree, DataclassTree, CustomTree)
SAMPLES = ("another", "f32[9]", 0, 7, 0.0, -0.0, 2.5, True, False, None)


def left_out(model: Model) -> set[str]:
    return set().union(*(names for kind, names in NAMES_AND_NOTES.items() if isinstance(model, kind)))


def copied(model: Any, **changes: Any) -> Any:
    """Return a record with other fields, unchecked, and without what the old one had cached."""
    return model.model_construct(**{name: getattr(model, name) for name in type(model).model_fields} | changes)


def variants(model: Model) -> Iterator[Variant]:
    """Yield copies of a record with one field changed, each with the name of the field."""
    for name, info in type(model).model_fields.items():
        if name not in left_out(model):
            for where, changed in others(getattr(model, name), info.annotation, (type(model), name) in SETS):
                yield f"{type(model).__name__}.{name} {where}", copied(model, **{name: changed})


def others(value: Any, annotation: Any, is_set: bool = False) -> Iterator[Variant]:
    """Yield other values for a field."""
    if isinstance(value, Model):
        yield from variants(value)
        if isinstance(value, TREES_OF) and value != TREE:
            yield " (tree)", TREE
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            if ... in repeated(annotation):
                yield f"[{index}] (gone)", (*value[:index], *value[index + 1 :])
            for where, changed in others(item, item_annotation(annotation, index)):
                yield f"[{index}] {where}", (*value[:index], changed, *value[index + 1 :])
        if not is_set and len(value) > 1 and repr(value[0]) != repr(value[1]):
            yield " (order)", (value[1], value[0], *value[2:])
    else:
        choices, kinds = parts(annotation)
        for other in (*choices, *(sample for sample in (*neighbours(value), *SAMPLES) if type(sample) in kinds)):
            if repr(other) != repr(value):
                yield "", other


ALTERNATIVES = (
    ("fry", "rbg"),
    ("DEFAULT", "HIGH", "HIGHEST"),
    ("hidden", "output"),
    ("dots_saveable", "nothing_saveable", "everything_saveable"),
    ("save_only_these_names", "save_any_names_but_these"),
)
"""Texts that can stand for each other."""


def neighbours(value: Any) -> tuple[Any, ...]:
    """Return values that a field could well have in the place of this one."""
    if type(value) is int:
        return value + 1, value - 1
    if type(value) is not str:
        return ()
    if value in DTYPES:
        return tuple(name for name in DTYPES if DTYPES[name].itemsize == DTYPES[value].itemsize)
    return next((texts for texts in ALTERNATIVES if value in texts), ())


def parts(annotation: Any) -> tuple[list[Any], list[Any]]:
    """Return the values that an annotation lists, and the types that it names."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation)), []
    choices, kinds = [], [annotation]
    for part in get_args(annotation):
        more = parts(part)
        choices += more[0]
        kinds += more[1]
    return choices, kinds


def item_annotation(annotation: Any, index: int) -> Any:
    """Return the annotation of an item of a tuple, through options and unions."""
    items = repeated(annotation)
    return items[0] if ... in items else items[index] if index < len(items) else None


def repeated(annotation: Any) -> tuple[Any, ...]:
    """Return what a tuple is annotated to hold."""
    return next((get_args(part) for part in (annotation, *get_args(annotation)) if get_origin(part) is tuple), ())
