"""Nodes where they stand: with the types of their operands and results, worked out once for each function."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from ..ir.node import Node, Traits
from ..ir.ops import OptimizationBarrier
from ..ir.program import Function
from ..ir.types import TensorType
from .constants import Constants
from .rearrange import Array, Known

__all__ = ["Signature", "Site", "constants_of", "signature_of", "signatures_of"]

_NUMBERS = itertools.count()


class Signature(NamedTuple):
    """What all nodes of one operation share whose operands and results have the same types.

    Parameters
    ----------
    operands, results : tuple of TensorType
    traits : Traits
    plain : bool
        Whether nodes run no functions and are no barriers: analyses are asked what they do.
    in_place : bool
        Whether each operand has the shape of the one result, or rank 0.
    repeats : bool
        Whether nodes with this signature do the same: elementwise operations without attributes.
    number : int
        Another one for each signature.
    """

    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    traits: Traits
    plain: bool
    in_place: bool
    repeats: bool
    number: int


class Site(NamedTuple):
    """A node where it stands.

    Parameters
    ----------
    node : Node
    operands, results : tuple of TensorType
        Types of its operands and results.
    constants : callable
        Returns the value of an operand that depends on no input of the function, or None.
    in_place : bool
        Whether it is known that each operand has the shape of the one result, or rank 0.
    """

    node: Node
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    constants: Known
    in_place: bool = False

    @staticmethod
    def of(node: Node, function: Function, constants: Known | None = None) -> Site:
        """Return the site of a node of a function."""
        return Site.under(signature_of(node, function), node, constants or Constants(function))

    @staticmethod
    def under(signature: Signature, node: Node, constants: Known) -> Site:
        """Return the site of a node whose signature is known."""
        return Site(node, signature.operands, signature.results, constants, signature.in_place)


def constants_of(site: Site) -> list[Array | None]:
    """Return the values of the operands of a node, where they depend on no input."""
    return [site.constants(operand) for operand in site.node.inputs]


def signatures_of(function: Function) -> list[Signature]:
    """Return the signature of each node of a function, found once and kept with it; equal ones are one object."""
    found: list[Signature] | None = function.__dict__.get("_signatures")
    if found is None:
        types = function.value_types
        # As functools.cached_property does: a function never changes. Of a literal, only its type counts.
        found = function.__dict__["_signatures"] = [
            _signature(
                type(node),
                node.op,
                node.types,
                tuple([types.get(operand) or operand[operand.rindex(":") :] for operand in node.inputs]),
            )
            for node in function.nodes
        ]
    return found


def signature_of(node: Node, function: Function) -> Signature:
    """Return the signature of one node of a function."""
    types = function.value_types
    operands = tuple([types.get(operand) or operand[operand.rindex(":") :] for operand in node.inputs])
    return _signature(type(node), node.op, node.types, operands)


@functools.lru_cache(maxsize=1 << 14)
def _signature(schema: type[Node], op: str, types: tuple[str, ...], inputs: tuple[str, ...]) -> Signature:
    operands = tuple(TensorType.parse(f"{text[1:]}[]" if text[0] == ":" else text) for text in inputs)
    results = tuple(map(TensorType.parse, types))
    traits = schema.op_traits.get(op, schema.family_traits)
    return Signature(
        operands=operands,
        results=results,
        traits=traits,
        plain=not traits.control and schema is not OptimizationBarrier,
        in_place=len(results) == 1 and all(kind.shape in ((), results[0].shape) for kind in operands),
        repeats=traits.elementwise and not traits.control and not schema.attribute_names(),
        number=next(_NUMBERS),
    )
