"""The dataflow framework: facts carried forward or backward through a program, through calls and control flow.

An analysis says what a fact is, how two facts join, and what one operation does to facts. The framework walks
functions in order, enters calls and the functions of derivative rules, takes the branches of a ``cond`` together,
and runs ``scan`` and ``while`` bodies until nothing changes.
"""

from .backward import BackwardAnalysis
from .forward import ForwardAnalysis
from .sites import Site

__all__ = ["BackwardAnalysis", "ForwardAnalysis", "Site"]
