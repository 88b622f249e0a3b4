"""Calls of what a program only names: host callbacks, and primitives that were left as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...ir.errors import EmissionError
from ...ir.trees import DictTree, LeafTree, NoneTree, SequenceTree, Tree
from ...ir.types import TensorType
from ..expressions import Apply, DictOf, Expression, ExternalOf, ListOf, Literal, Name, PrimitiveOf, Tuple
from .registry import Types, as_keywords, as_operands, dtype, rule


@rule("pure_callback")
def _pure_callback(node: Any, types: Types) -> Expression:
    return _callback("jax.pure_callback", node, _results(node), vmap_method=node.vmap_method)


@rule("io_callback")
def _io_callback(node: Any, types: Types) -> Expression:
    return _callback("experimental.io_callback", node, _results(node), ordered=node.ordered)


@rule("debug_callback")
def _debug_callback(node: Any, types: Types) -> Expression:
    options = {"partitioned": True} if node.partitioned else {}
    return _callback("jax.debug.callback", node, (), ordered=node.ordered, **options)


def _callback(function: str, node: Any, results: tuple[Expression, ...], **options: Any) -> Expression:
    operands = iter(as_operands(node.inputs))
    arguments = [_built(tree, operands) for tree in node.arguments.children]
    keywords = {name: _built(tree, operands) for name, tree in node.keywords}
    external = ExternalOf(node.name, node.text)
    return Apply(Name(function), (external, *results, *arguments), {**as_keywords(options), **keywords})


def _results(node: Any) -> tuple[Expression, ...]:
    kinds = map(TensorType.parse, node.types)
    specs = (Apply(Name("jax.ShapeDtypeStruct"), (Literal(kind.shape), dtype(kind.dtype))) for kind in kinds)
    return (Tuple(tuple(specs)),)


def _built(tree: Tree, leaves: Iterator[Expression]) -> Expression:
    match tree:
        case LeafTree():
            return next(leaves)
        case NoneTree():
            return Literal(None)
        case SequenceTree(kind=kind, children=children):
            items = tuple([_built(child, leaves) for child in children])
            return Tuple(items) if kind == "tuple" else ListOf(items)
        case DictTree(kind="dict", keys=keys, children=children):
            return DictOf(keys, tuple([_built(child, leaves) for child in children]))
    raise EmissionError(f"an argument of a callback is a {tree.kind}; give it tuples, lists and dicts of arrays")


@rule("custom_call")
def _custom_call(node: Any, types: Types) -> Expression:
    return Apply(PrimitiveOf(node.name), as_operands(node.inputs), as_keywords(dict(node.params)))
