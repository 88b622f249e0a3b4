"""Nodes of ``jax.custom_jvp`` and ``jax.custom_vjp``, with the rules that these were given."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import jax_compat
from ..memory.jaxprs import Rule
from ..rules import Attributes
from ..table import identifier
from .cases import NoRuleError, Refusal, RefusedError, TracedRules, jvp_rules, traced_rules, vjp_rules
from .covering import covering_jvp, covering_vjp
from .jax_rules import made_of, with_own_rules

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["RULES"]

_TRACING = threading.RLock()
"""What JAX notes while it traces a rule is in the rule, of which programs of several threads can have the same."""


def _custom_jvp(lowering: Lowering, equation: Any) -> Attributes:
    """Lower ``custom_jvp_call`` with its rule; ``op`` says so where that is only for reverse mode."""
    attributes = _with_rules(lowering, equation, jvp_rules, covering_jvp)
    return {"op": "custom_vjp", **attributes} if "fwd" in attributes else attributes


def _custom_vjp(lowering: Lowering, equation: Any) -> Attributes:
    return _with_rules(lowering, equation, vjp_rules, covering_vjp)


def _with_rules(
    lowering: Lowering,
    equation: Any,
    trace: Callable[[Any], TracedRules],
    trace_covering: Callable[..., TracedRules],
) -> Attributes:
    """Lower a node with derivative rules, or find equal rules that were lowered before.

    Raises
    ------
    NoRuleError
        If there is no rule to store.
    """
    function = lowering.shared(equation.params["call_jaxpr"])
    base = identifier(jax_compat.function_name(equation.params["call_jaxpr"]))
    zeros = bool(equation.params["symbolic_zeros"])
    active = lowering.roots.activity(equation) if zeros else None
    equation = with_own_rules(equation)
    ruled = lowering.rules.ruled(equation, base, made_of(equation, base, active))

    def covering() -> TracedRules:
        if active is None:
            raise RefusedError(base)
        return trace_covering(equation, *active)

    def lower(chosen: Lowering) -> Attributes:
        chosen.rules.check_order(ruled, function, by_size=True)
        try:
            with _TRACING:
                rules = traced_rules(base, functools.partial(trace, equation), covering if zeros else None)
        except NoRuleError as error:
            return {"refusal": Refusal(str(error))}
        return chosen.rules.stored(chosen, ruled, rules)

    attributes, first = lowering.rules.lowered(lowering, ruled, lower)
    if "refusal" in attributes:
        raise NoRuleError(function, attributes["refusal"].reason)
    behaviour = ruled.behaviour
    if behaviour is None or first != behaviour or zeros or lowering.memory.is_of_this_program(behaviour):
        lowering.nested.tie()
    elif not behaviour.key.lasts:
        lowering.nested.depend(Rule(equation, base, behaviour))
    return {"function": function, **attributes}


RULES = {
    "custom_jvp_call": ("custom_jvp", _custom_jvp),
    "custom_vjp_call": ("custom_vjp", _custom_vjp),
}
"""Primitive name to operation and rule."""
