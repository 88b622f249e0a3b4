"""Which derivative rules a node has: one, or one for each case of what is perturbed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from ...ir.ops import JvpCase, VjpCase
from .. import jaxprs
from ..rules import Attributes, UnsupportedError
from .jax_jvp_rules import trace_custom_jvp, trace_jvp_case, trace_transposed_jvp
from .jax_rules import num_closed_over, rule_operands
from .jax_vjp_rules import trace_vjp_case, trace_vjp_rules
from .refusals import NoRuleError, RefusedError

__all__ = [
    "UNTRACEABLE",
    "TracedRules",
    "jvp_rules",
    "traced_rules",
    "vjp_rules",
]

UNTRACEABLE = (jax.errors.JAXTypeError, NotImplementedError, TypeError, ValueError)
"""What JAX raises for a function that it cannot trace."""

_MOST_CASES = 64
# What a rule raises that was not written for a case. JAX raises it too, when the case occurs.
_REFUSALS = (*UNTRACEABLE, AttributeError, AssertionError)


@dataclass
class TracedRules:
    """The rules of a node as closed jaxprs.

    Parameters
    ----------
    single : dict of str to closed jaxpr
        By attribute.
    several : dict of str to list of (str, closed jaxpr)
        By attribute that has one for each case, each with the end of its name.
    attributes : dict
        The attributes that say what the cases are.
    operands : int
        How many operands a rule takes before tangents; 0 for rules that take none.
    still : frozenset of int
        The operands that are never perturbed, where the rules are only for those that can be.
    """

    single: dict[str, Any]
    several: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    attributes: Attributes = field(default_factory=dict)
    operands: int = 0
    still: frozenset[int] = frozenset()

    def bodies(self) -> Iterator[Any]:
        """Yield every rule."""
        yield from self.single.values()
        yield from (closed for cases in self.several.values() for _, closed in cases)


def jvp_rules(equation: Any) -> TracedRules:
    """Trace the rule of a ``custom_jvp_call``, for each case if it asks for symbolic zeros.

    One that linearizes a function with ``custom_vjp`` becomes the rules of a ``custom_vjp``.
    """
    jvp = _whole(equation, trace_custom_jvp)
    shapes = [var.aval.shape for var in equation.outvars]
    if [kind.shape for kind in jvp.out_avals[: len(shapes)]] != shapes:
        # In a jaxpr, the batch axis of a function and of its rule may be different ones; that of the rule is lost.
        raise RuntimeError("JAX batches its derivative rule to results of other shapes than those of the function")
    if jaxprs.uses_named(jvp, "custom_lin"):
        if equation.params["symbolic_zeros"]:
            raise RuntimeError("its rule asks for symbolic zeros and linearizes a function with custom_vjp")
        fwd, bwd = trace_transposed_jvp(equation, jvp)
        return TracedRules({"fwd": fwd, "bwd": bwd})
    rules = TracedRules({"jvp": jvp}, operands=len(equation.invars))
    if not equation.params["symbolic_zeros"]:
        return rules
    own = num_closed_over(equation)
    inexact, _ = rule_operands(equation, own)
    _check_number(len(inexact))
    cases, jvps = [], []
    for perturbed in _subsets(inexact):
        try:
            closed, moved = trace_jvp_case(equation, perturbed)
        except _REFUSALS:
            continue
        cases.append(JvpCase(perturbed=perturbed, moved=moved))
        jvps.append((_named("jvp", "for", perturbed), closed))
    return _with_cases(rules, own, cases, jvps=jvps)


def vjp_rules(equation: Any) -> TracedRules:
    """Trace the rules of a ``custom_vjp_call``, for each case if they ask for symbolic zeros."""
    own = _whole(equation, num_closed_over)
    fwd, bwd = _whole(equation, lambda equation: trace_vjp_rules(equation, own))
    rules = TracedRules({"fwd": fwd, "bwd": bwd})
    if not equation.params["symbolic_zeros"]:
        return rules
    inexact, results = rule_operands(equation, own)
    _check_number(len(inexact) + len(results))
    cases, fwds, bwds = [], [], []
    for perturbed, asked in itertools.product(_subsets(inexact), _subsets(results)):
        try:
            fwd, bwd, returned = trace_vjp_case(equation, own, perturbed, asked)
        except _REFUSALS:
            continue
        cases.append(VjpCase(perturbed=perturbed, asked=asked, returned=returned))
        fwds.append((_named("fwd", "for", perturbed), fwd))
        bwds.append((_named(_named("bwd", "for", perturbed), "of", asked), bwd))
    return _with_cases(rules, own, cases, fwds=fwds, bwds=bwds)


def traced_rules(
    function: str, trace: Callable[[], TracedRules], covering: Callable[[], TracedRules] | None = None
) -> TracedRules:
    """Trace the rules of a function of the program; if they cannot be traced for every case, those that `covering` has.

    Raises
    ------
    NoRuleError
        If JAX cannot do that apart from the program.
    """
    try:
        rules = trace()
    except (RecursionError, UnsupportedError, RefusedError):
        raise  # that Python's stack is full, or what a parameter holds, says nothing of the rule; the last says it all
    except Exception as error:  # a rule raises whatever it was written to raise
        if covering is not None:
            return traced_rules(function, covering)
        said = str(error) if isinstance(error, RuntimeError) else ""
        raise NoRuleError(function, said or f"JAX cannot trace its derivative rule ({type(error).__name__})") from error
    if any(map(jaxprs.leaks, rules.bodies())):
        raise NoRuleError(
            function,
            "JAX cannot trace its derivative rule, which holds values of another trace; make what the rule holds, such "
            "as a solver, outside of the function that is lowered, or give it to the rule as an operand",
        )
    return rules


def _whole(equation: Any, trace: Any) -> Any:
    """Trace the rules where everything is perturbed."""
    if not equation.params["symbolic_zeros"]:
        return trace(equation)
    try:
        return trace(equation)
    except _REFUSALS as error:
        raise NotImplementedError(f"its rule fails where all operands are perturbed: {error}") from error


def _with_cases(rules: TracedRules, own: int, cases: list[Any], **several: list[tuple[str, Any]]) -> TracedRules:
    rules.several.update(several)
    rules.attributes.update(closed_over=own, cases=tuple(cases))
    return rules


def _check_number(moving: int) -> None:
    """Refuse rules with too many cases: the function can be run, but not differentiated."""
    if 1 << moving > _MOST_CASES:
        raise NotImplementedError(
            f"its rules ask for symbolic zeros, and {moving} operands and results can have them: that makes "
            f"{1 << moving} cases, and brainir stores the rules of {_MOST_CASES}; join arrays that move together, give "
            "those that never move as nondiff_argnums, or differentiate before lowering"
        )


def _subsets(places: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(places) + 1):
        yield from itertools.combinations(places, size)


def _named(rule: str, word: str, places: Sequence[int]) -> str:
    return f"{rule}_{word}_{'and'.join(map(str, places)) or 'none'}"
