"""Nodes of ``jax.custom_jvp`` and ``jax.custom_vjp``, with the rules that these were given."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import jax_compat
from ..memory.dependencies import RulesDependency
from ..memory.rules import NodeByRules
from ..rules import Operation
from ..table import identifier
from .cases import TracedRules, jvp_rules, traced_rules, vjp_rules
from .covering import covering_jvp, covering_vjp
from .jax_rules import made_of, with_own_rules
from .refusals import NoRuleError, Refusal, RefusedError

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["RULES"]

_TRACING = threading.RLock()
"""What JAX notes while it traces a rule is in the rule, of which programs of several threads can have the same."""


def _with_rules(
    lowering: Lowering,
    equation: Any,
    trace: Callable[[Any], TracedRules],
    trace_covering: Callable[..., TracedRules],
) -> Operation:
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
    session = lowering.session
    key = session.rules.key(equation, base, made_of(equation, base, active))

    def covering() -> TracedRules:
        if active is None:
            raise RefusedError(base)
        return trace_covering(equation, *active)

    def lower(chosen: Lowering) -> NodeByRules:
        chosen.session.rules.check_order(key, function, by_size=True)
        try:
            with _TRACING:
                rules = traced_rules(base, functools.partial(trace, equation), covering if zeros else None)
        except NoRuleError as error:
            return NodeByRules("no_derivative", {}, Refusal(str(error)))
        return chosen.session.rules.stored(chosen, key, rules)

    node, first = session.rules.lowered(lowering, key, lower)
    if node.refusal is not None:
        raise NoRuleError(function, node.refusal.reason)
    behaviour = key.behaviour
    if behaviour is None or first != behaviour or zeros or session.memory.is_of_this_program(behaviour):
        lowering.dependencies.tie()
    elif not behaviour.key.lasts:
        lowering.dependencies.add(RulesDependency(equation, base, behaviour))
    return Operation(node.op, {"function": function, **node.attributes})


RULES = {
    # Or custom_vjp, where the rule is only for reverse mode.
    "custom_jvp_call": ("custom_jvp", functools.partial(_with_rules, trace=jvp_rules, trace_covering=covering_jvp)),
    "custom_vjp_call": ("custom_vjp", functools.partial(_with_rules, trace=vjp_rules, trace_covering=covering_vjp)),
}
"""Primitive name to operation and rule."""
