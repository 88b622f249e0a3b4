"""Primitives that another package defines, as functions with the derivative rule that the package gives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ...ir.program import Function
from .. import jax_compat, jaxprs
from ..derivatives.cases import UNTRACEABLE, TracedRules, traced_rules
from ..derivatives.covering import covering_rule
from ..derivatives.refusals import NoRuleError, Refusal, RefusedError
from ..derivatives.rule_lowering import RuleKey, RuleLowering
from ..externals import custom_call
from ..memory.functions import content_key
from ..memory.rules import NodeByRules
from ..rules import Operation, UnsupportedError
from . import primitive_rules
from .implementations import implementation, is_brainevent
from .transposes import transposed

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["ForeignPrimitives"]


Places: TypeAlias = tuple[int, ...]


class _Use(NamedTuple):
    """One way in which a primitive is used in a program.

    Parameters
    ----------
    equation
    key : RuleKey
        What tells this use from others.
    perturbed : tuple of int, optional
        The operands that can have a tangent, where the rule is only for those.
    linear : tuple of int
        The operands that are tangents.
    """

    equation: Any
    key: RuleKey
    perturbed: Places | None
    linear: Places

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return str(self.equation.primitive.name)


class _Function(NamedTuple):
    """What computes a primitive: a function for a call, and one for a node with a derivative rule."""

    called: str
    with_rule: str


class ForeignPrimitives:
    """Lowers such primitives in one program.

    Parameters
    ----------
    rules : RuleLowering

    Attributes
    ----------
    functions : dict
        What computes a primitive, lowered.
    """

    def __init__(self, rules: RuleLowering) -> None:
        self.functions: dict[RuleKey, _Function] = {}
        self._traced: dict[RuleKey, Any] = {}
        self._rules = rules
        self._depth = 0

    def lower(self, lowering: Lowering, equation: Any) -> Operation:
        """Lower a primitive that another package defines, from its implementation and its JVP rule.

        A rule that cannot be traced with all operands perturbed is traced with those that can be in the program.
        """
        node = self._node(lowering, equation)
        if node.refusal is not None:
            active = lowering.roots.activity(equation)
            if active is None and node.refusal.asserted:
                raise RefusedError(node.attributes["function"])
            if active is not None:
                node = self._node(lowering, equation, active[0])
        if node.refusal is not None:
            raise NoRuleError(node.attributes["function"], node.refusal.reason)
        if node == _BY_NAME:
            try:
                return custom_call(equation)
            except UnsupportedError as error:
                raise UnsupportedError(f"what computes it cannot be traced, nor can it go by name: {error}") from None
        return Operation(node.op, node.attributes)

    def _node(self, lowering: Lowering, equation: Any, perturbed: Places | None = None) -> NodeByRules:
        """Return what runs a primitive's function; `_BY_NAME` if that cannot be traced."""
        use = self._use(equation, perturbed, lowering.roots.linear_operands(equation))
        return self._rules.lowered(lowering, use.key, lambda inner: inner.session.foreign._lowered(inner, use)).node

    def _use(self, equation: Any, perturbed: Places | None = None, linear: Places = ()) -> _Use:
        primitive, params = equation.primitive, sorted(equation.params.items())
        key = self._rules.key(equation, primitive.name, (primitive, tuple(params), perturbed, linear))
        return _Use(equation, key, perturbed, linear)

    def _lowered(self, lowering: Lowering, use: _Use) -> NodeByRules:
        if self._computation(use.equation) is None:
            return _BY_NAME
        if not use.linear:
            return self._with_rule(lowering, use)
        # Tangents run another function, which JAX transposes by the rule of the primitive; it is differentiated alike.
        function = self._function(lowering, use)
        plain = self._use(use.equation, use.perturbed)
        node, _ = self._rules.lowered(lowering, plain.key, lambda inner: inner.session.foreign._with_rule(inner, plain))
        called = function.called if node.op == "call" else function.with_rule
        return dataclasses.replace(node, attributes={**node.attributes, "function": called})

    def _computation(self, equation: Any) -> Any:
        """Trace what computes a primitive, once; None if it has code of its own, which cannot be traced."""
        key = self._use(equation).key
        if key not in self._traced:
            traced = _implementation(equation)
            # One that runs the primitive in the same way says nothing; nor does one that may do so without end.
            inner = [] if traced is None else jaxprs.uses(traced, equation.primitive)
            again = [self._use(each).key for each in inner]
            is_open = any(each == key or not each.parts <= key.parts for each in again)
            self._traced[key] = None if is_open else traced
        return self._traced[key]

    def _function(self, lowering: Lowering, use: _Use) -> _Function:
        """Lower what computes a primitive, once; for tangents, in which it is linear, with its transpose."""
        if use.key not in self.functions:
            closed = self._computation(use.equation)
            still = set() if use.perturbed is None else set(range(len(use.equation.invars))) - {*use.perturbed}
            if use.linear:
                closed = transposed(use.equation, closed, use.linear)
            called = with_rule = lowering.own(closed, use.name, still)
            if lowering.session.table.functions[called].constants:
                # JAX makes the constants of a function with a rule operands of its node, and, where that is in the body
                # of a scan or in a branch, of the scan or cond around it: the regenerated program would be another one.
                # Those of a nested jit stay where they are.
                with_rule = lowering.own(jaxprs.within_jit(closed, use.name), use.name, still)
            self.functions[use.key] = _Function(called, with_rule)
        return self.functions[use.key]

    def _with_rule(self, lowering: Lowering, use: _Use) -> NodeByRules:
        """Lower the rule of a primitive, and return its node."""
        function = self._function(lowering, use)
        called = NodeByRules("call", {"function": function.called})
        if not any(jax_compat.moves(atom.aval) for atom in use.equation.invars):
            return called  # nobody asks for the derivative of what has no tangents
        self._rules.check_order(use.key, function.with_rule)
        rules = _traced_rules(use)
        if rules is None:
            return called
        if isinstance(rules, Refusal):
            return NodeByRules("no_derivative", {"function": function.with_rule}, rules)
        table = lowering.session.table
        before = set(table.functions)
        self._depth += 1
        try:
            node = self._rules.stored(lowering, use.key, rules, function=function.with_rule)
        finally:
            self._depth -= 1
        if use.perturbed is None and _is_derivative(lowering, table.functions[node.attributes["jvp"]], use.equation):
            node = called
        if not self._depth:
            # Of what was lowered to compare, and of a rule that needs not be stored, nothing may name other functions.
            table.leave_out(table.functions.keys() - before)
        return node


_BY_NAME = NodeByRules("custom_call", {})
"""What becomes of a primitive that cannot be traced; its parameters are those of the equation."""


def _traced_rules(use: _Use) -> TracedRules | Refusal | None:
    """Trace the derivative rule of a primitive for the operands that are perturbed; None if it has none."""
    equation = use.equation

    def trace() -> TracedRules:
        if use.perturbed is not None:
            return covering_rule(equation, use.perturbed, primitive_rules.trace_primitive_jvp_case)
        return TracedRules({"jvp": primitive_rules.trace_primitive_jvp(equation)}, operands=len(equation.invars))

    try:
        return traced_rules(use.name, trace)
    except NoRuleError as error:
        cause = error.__cause__
        if isinstance(cause, NotImplementedError):
            return None
        said = str(cause) if isinstance(cause, AssertionError) else ""  # by whoever wrote the rule
        return Refusal(said or str(error), not isinstance(cause, RuntimeError))


def _implementation(equation: Any) -> Any:
    """Trace what computes a primitive; None if it has code of its own, which cannot be traced."""
    if equation.effects:
        raise UnsupportedError("brainir cannot store a primitive with side effects")
    for atom in (*equation.invars, *equation.outvars):
        jax_compat.tensor_type(atom.aval)  # refuses what stands for several arrays
    if implementation(equation) is None:
        if is_brainevent(equation.primitive):
            return None
        raise UnsupportedError(
            f"brainir has no rule for this primitive; keep=[{equation.primitive.name!r}] would store it by name"
        )
    try:
        return primitive_rules.trace_primitive(equation)
    except UNTRACEABLE:
        return None


def _is_derivative(lowering: Lowering, rule: Function, equation: Any) -> bool:
    """Return whether a primitive's rule is what JAX derives from its implementation.

    A plain call is then the same program, and analyses see through it.
    """
    try:
        opened = jax_compat.open_jaxpr(primitive_rules.trace_implementation_jvp(equation))
        derived = lowering.tried(opened, rule.name)
    except UNTRACEABLE:
        return False
    return derived is not None and content_key(derived) == content_key(rule)
