"""Nodes where they stand: with the types of their operands and results, worked out once for each function."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from ...ir.kept import keep, kept
from ...ir.node import Node, Traits
from ...ir.ops import OptimizationBarrier
from ...ir.program import Function
from ...ir.types import TensorType
from ..constants import Constants
from ..rearrange import Array, Known

__all__ = ["Signature", "Site", "keep_signatures", "signature_for", "signature_of", "signatures_of"]

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
    counts : bool
        Whether nodes make integers or booleans of several positions, such as whether any neuron spikes. They have no
        derivative, and no position.
    inexact, sloped : tuple of bool
        Whether each result is made of floating point or complex numbers, and whether a derivative passes to it.
    number : int
        Another one for each signature.
    """

    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    traits: Traits
    plain: bool
    in_place: bool
    repeats: bool
    counts: bool
    inexact: tuple[bool, ...]
    sloped: tuple[bool, ...]
    number: int


class Site(NamedTuple):
    """A node where it stands.

    Parameters
    ----------
    node : Node
    signature : Signature
        What it shares with other nodes, the types of its operands and results among it.
    constants : callable
        Returns the value of an operand that depends on no input of the function, or None.
    """

    node: Node
    signature: Signature
    constants: Known

    @staticmethod
    def of(node: Node, function: Function, constants: Known | None = None) -> Site:
        """Return the site of a node of a function."""
        return Site(node, signature_of(node, function), constants or Constants(function))

    @property
    def operands(self) -> tuple[TensorType, ...]:
        """Types of its operands."""
        return self.signature.operands

    @property
    def results(self) -> tuple[TensorType, ...]:
        """Types of its results."""
        return self.signature.results

    def known_operands(self) -> list[Array | None]:
        """Return the values of its operands, where they depend on no input."""
        return [self.constants(operand) for operand in self.node.inputs]


def signatures_of(function: Function) -> list[Signature]:
    """Return the signature of each node of a function, found once and kept with it; equal ones are one object."""

    def find() -> list[Signature]:
        return [signature_of(node, function) for node in function.nodes]

    return kept(function, "_signatures", find)


def keep_signatures(function: Function, signatures: list[Signature]) -> None:
    """Keep the signatures of the nodes of a function, where they are known from the one that it was cut out of."""
    keep(function, "_signatures", signatures)


def signature_of(node: Node, function: Function) -> Signature:
    """Return the signature of one node of a function."""
    types = function.value_types
    # Of a literal, only its type counts.
    operands = tuple([types.get(operand) or operand[operand.rindex(":") :] for operand in node.inputs])
    return _signature(type(node), node.op, node.types, operands)


def signature_for(node: Node, operands: Sequence[TensorType]) -> Signature:
    """Return the signature of a node with operands of some types."""
    return _signature(type(node), node.op, node.types, tuple(map(str, operands)))


@functools.lru_cache(maxsize=1 << 14)
def _signature(schema: type[Node], op: str, types: tuple[str, ...], inputs: tuple[str, ...]) -> Signature:
    operands = tuple(TensorType.parse(f"{text[1:]}[]" if text[0] == ":" else text) for text in inputs)
    results = tuple(map(TensorType.parse, types))
    traits = schema.op_traits.get(op, schema.family_traits)
    inexact = tuple([kind.is_inexact for kind in results])
    return Signature(
        operands=operands,
        results=results,
        traits=traits,
        plain=not traits.control and schema is not OptimizationBarrier,
        in_place=len(results) == 1 and all(kind.shape in ((), results[0].shape) for kind in operands),
        repeats=traits.elementwise and not traits.control and not schema.attribute_names(),
        counts=not (traits.elementwise or traits.structural or traits.control or any(inexact)),
        inexact=inexact,
        sloped=(False,) * len(results) if traits.blocks_gradient or traits.flat else inexact,
        number=next(_NUMBERS),
    )
