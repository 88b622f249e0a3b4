"""Schemas of operations that run functions of the program."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef
from ..node import Node, Traits
from .traits import CONTROL, Ints


class Call(Node):
    """Run a function of the table: a nested ``jax.jit``."""

    op: Literal["call"] = "call"
    function: FunctionRef
    inline: bool = False
    keep_unused: bool = False
    donated: Ints = ()
    family_traits: ClassVar[Traits] = CONTROL


class CustomJvp(Node):
    """Run ``function``, which is differentiated by the rule ``jvp`` (``jax.custom_jvp``).

    The rule takes all operands, then a tangent for each operand with an inexact element type, and returns all results,
    then a tangent for each result with an inexact element type.
    """

    op: Literal["custom_jvp"] = "custom_jvp"
    function: FunctionRef
    jvp: FunctionRef
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("jvp",)


class CustomVjp(Node):
    """Run ``function``, which is differentiated by the rules ``fwd`` and ``bwd`` (``jax.custom_vjp``).

    ``fwd`` takes all operands and returns all results, then the residuals. ``bwd`` takes the residuals, then a
    cotangent for each result with an inexact element type, and returns a cotangent for each operand with one.
    """

    op: Literal["custom_vjp"] = "custom_vjp"
    function: FunctionRef
    fwd: FunctionRef
    bwd: FunctionRef
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("fwd", "bwd")


class Cond(Node):
    """Run the branch that the first operand (an ``int32`` index) names; all branches take the other operands."""

    op: Literal["cond"] = "cond"
    branches: tuple[FunctionRef, ...]
    family_traits: ClassVar[Traits] = CONTROL


class Scan(Node):
    """Run ``body`` ``length`` times (``jax.lax.scan``).

    The operands are ``num_consts`` constants, ``num_carry`` carried values, and arrays that are scanned over their
    first axis. The body takes constants, carry and slices, and returns the new carry and slices of the stacked results.
    """

    op: Literal["scan"] = "scan"
    body: FunctionRef
    length: int
    num_consts: int
    num_carry: int
    reverse: bool = False
    unroll: int = 1
    family_traits: ClassVar[Traits] = CONTROL


class While(Node):
    """Run ``body`` while ``cond`` holds; the operands are constants of ``cond``, constants of ``body``, the carry."""

    op: Literal["while"] = "while"
    cond: FunctionRef
    body: FunctionRef
    cond_nconsts: int
    body_nconsts: int
    family_traits: ClassVar[Traits] = CONTROL
