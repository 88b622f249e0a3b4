"""Derivative rules that were lowered before, by what they are made of.

Tracing the rules of a program takes much longer than tracing the program. They are traced once in a process; the
memory holds what they were lowered to, which is data and keeps no function and no array of JAX alive.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.program import Function
from ..derivatives.refusals import Refusal
from ..externals import External
from ..rules import Attributes
from .functions import constant_bytes
from .latest import Latest

__all__ = ["LOWERED_RULES", "LoweredRules", "NodeByRules"]

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NodeByRules:
    """What the rules of an equation make of it.

    Parameters
    ----------
    op : str
        The operation of its node.
    attributes : dict
        Those that the rules give; each text among them is the name of a function that was lowered for the node.
    refusal : Refusal, optional
        Why a derivative rule is not among them.
    """

    op: str
    attributes: Attributes
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class LoweredRules:
    """What the rules of an equation were lowered to apart from a program.

    Parameters
    ----------
    node : NodeByRules
    functions : dict of str to Function
        By name, which no function of any program has.
    wanted : dict of str to str
        For each function, the name that it would have if it were alone.
    rules : frozenset of str
        Which of the functions are rules; rules may refer to themselves.
    externals : dict of str to External
        What they call on the host, by name, in the order in which it is met.
    """

    node: NodeByRules
    functions: dict[str, Function]
    wanted: dict[str, str]
    rules: frozenset[str]
    externals: dict[str, External]

    def can_be_kept(self) -> bool:
        """Whether they are the same in every program, and small."""
        is_same = all(external.held is None for external in self.externals.values())
        return is_same and constant_bytes(self.functions.values()) <= _MOST_BYTES


LOWERED_RULES: Latest[LoweredRules] = Latest(1 << 10)
"""The rules that were used last; see :meth:`LoweredRules.can_be_kept`."""
