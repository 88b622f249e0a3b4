"""Primitives that another package defines, as functions with the derivative rule that the package gives."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ...ir.program import Function
from .. import jax_compat, jaxprs
from ..derivatives.cases import UNTRACEABLE, HigherOrderError, NoRuleError, Refusal, RefusedError, TracedRules
from ..derivatives.covering import covering_rule
from ..derivatives.rule_lowering import named_rules
from ..externals import custom_call
from ..keys.key import Parts
from ..keys.lowering_keys import LoweringKeys, is_too_high
from ..memory.functions import content_key
from ..rules import Attributes, UnsupportedError
from ..table import identifier
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
    same : hashable
        The primitive, with its parameters and the types of its operands.
    parts : frozenset
        What can be made anew in the parameters.
    perturbed : tuple of int, optional
        The operands that can have a tangent, where the rule is only for those.
    linear : tuple of int
        The operands that are tangents.
    """

    same: Hashable
    parts: Parts
    perturbed: Places | None
    linear: Places

    @property
    def key(self) -> Hashable:
        """What tells this use from others."""
        return self.same, self.perturbed, self.linear


class _Function(NamedTuple):
    """What computes a primitive: a function for a call, and one for a node with a derivative rule."""

    called: str
    with_rule: str


class ForeignPrimitives:
    """Lowers such primitives in one program.

    Parameters
    ----------
    keys : LoweringKeys

    Attributes
    ----------
    functions : dict
        What computes a primitive, lowered.
    known : dict
        The attributes of its node, or why it has no rule.
    """

    def __init__(self, keys: LoweringKeys) -> None:
        self.functions: dict[Hashable, _Function] = {}
        self.known: dict[Hashable, Attributes] = {}
        self._traced: dict[Hashable, Any] = {}
        self._keys = keys
        self._open: list[tuple[Any, Parts]] = []

    def lower(self, lowering: Lowering, equation: Any) -> tuple[str, Attributes]:
        """Lower a primitive that another package defines, from its implementation and its JVP rule.

        A rule that cannot be traced with all operands perturbed is traced with those that can be in the program.
        """
        attributes = self._attributes(lowering, equation)
        if "refusal" in attributes:
            active = lowering.activity(equation)
            if active is not None:
                attributes = self._attributes(lowering, equation, active[0])
            elif attributes["refusal"].asserted:
                raise RefusedError(attributes["function"])
        if "refusal" in attributes:
            raise NoRuleError(attributes["function"], attributes["refusal"].reason)
        if not attributes:
            try:
                return custom_call(equation)
            except UnsupportedError as error:
                raise UnsupportedError(f"what computes it cannot be traced, nor can it go by name: {error}") from None
        return "custom_jvp" if "jvp" in attributes else "call", attributes

    def _attributes(self, lowering: Lowering, equation: Any, perturbed: Places | None = None) -> Attributes:
        """Return the attributes of the call of a primitive's function; none if that cannot be traced."""
        use = _Use(*self._same(equation), perturbed, lowering.linear_operands(equation))
        if use.key not in self.known:
            held = equation.primitive, dict(equation.params), perturbed, use.linear
            self.known[use.key] = lowering.remembered(
                equation, held, lambda inner: inner.foreign._lowered(inner, equation, use)
            )
        return self.known[use.key]

    def _same(self, equation: Any) -> tuple[Hashable, Parts]:
        """Return what tells an equation from others with its primitive, and what of that can be made anew."""
        params, _, parts = self._keys.of(dict(sorted(equation.params.items())))
        kinds = tuple([(jax_compat.type_text(atom.aval), jax_compat.varying(atom.aval)) for atom in equation.invars])
        return (equation.primitive, params, kinds), parts

    def _lowered(self, lowering: Lowering, equation: Any, use: _Use) -> Attributes:
        if self._computation(equation, use) is None:
            return {}
        if not use.linear:
            return self._with_rule(lowering, equation, use)
        # Tangents run another function, which JAX transposes by the rule of the primitive; it is differentiated alike.
        function = self._function(lowering, equation, use)
        ruled = self._with_rule(lowering, equation, use._replace(linear=()))
        return {**ruled, "function": function.called if ruled.keys() == {"function"} else function.with_rule}

    def _computation(self, equation: Any, use: _Use) -> Any:
        """Trace what computes a primitive, once; None if it has code of its own, which cannot be traced."""
        if use.same not in self._traced:
            traced = _implementation(equation)
            # One that runs the primitive in the same way says nothing; nor does one that may do so without end.
            again = [] if traced is None else map(self._same, jaxprs.uses(traced, equation.primitive))
            is_open = any(same == use.same or not parts <= use.parts for same, parts in again)
            self._traced[use.same] = None if is_open else traced
        return self._traced[use.same]

    def _function(self, lowering: Lowering, equation: Any, use: _Use) -> _Function:
        """Lower what computes a primitive, once; for tangents, in which it is linear, with its transpose."""
        if use.key not in self.functions:
            name, closed = equation.primitive.name, self._computation(equation, use)
            still = set() if use.perturbed is None else set(range(len(equation.invars))) - {*use.perturbed}
            if use.linear:
                closed = transposed(equation, closed, use.linear)
            called = with_rule = lowering.own(closed, name, still)
            if lowering.table.functions[called].constants:
                # JAX makes the constants of a function with a rule operands of its node, and, where that is in the body
                # of a scan or in a branch, of the scan or cond around it: the regenerated program would be another one.
                # Those of a nested jit stay where they are.
                with_rule = lowering.own(jaxprs.within_jit(closed, name), name, still)
            self.functions[use.key] = _Function(called, with_rule)
        return self.functions[use.key]

    def _with_rule(self, lowering: Lowering, equation: Any, use: _Use) -> Attributes:
        """Lower the rule of a primitive, once, and return the attributes of its node."""
        if use.key in self.known:
            return self.known[use.key]
        table, name = lowering.table, equation.primitive.name
        function = self._function(lowering, equation, use)
        if not any(jax_compat.moves(atom.aval) for atom in equation.invars):
            return {"function": function.called}  # nobody asks for the derivative of what has no tangents
        around = [parts for primitive, parts in self._open if primitive is equation.primitive]
        if is_too_high(use.parts, around):
            reason = f"derivatives of order {len(around) + 1} and above are not stored"
            raise HigherOrderError(function.with_rule, reason)
        rules = self._rules(equation, use)
        if rules is None:
            return {"function": function.called}
        if isinstance(rules, Refusal):
            ruled = self.known[use.key] = {"function": function.with_rule, "refusal": rules}
            return ruled
        before = set(table.functions)
        attributes, bodies = named_rules(table, identifier(name), rules)
        # Known before its rule is lowered, because the rule may use the primitive.
        ruled = self.known[use.key] = {"function": function.with_rule, **attributes}
        self._open.append((equation.primitive, use.parts))
        try:
            lowering.store_rules(bodies)
        finally:
            self._open.pop()
        if use.perturbed is None and _is_derivative(lowering, table.functions[str(attributes["jvp"])], equation):
            ruled = self.known[use.key] = {"function": function.called}
        if not self._open:
            # Of what was lowered to compare, and of a rule that needs not be stored, nothing may name other functions.
            table.leave_out(table.functions.keys() - before)
        return ruled

    @staticmethod
    def _rules(equation: Any, use: _Use) -> TracedRules | Refusal | None:
        """Trace the derivative rule of a primitive for the operands that are perturbed; None if it has none."""
        try:
            if use.perturbed is not None:
                return covering_rule(equation, use.perturbed, primitive_rules.trace_primitive_jvp_case)
            return TracedRules({"jvp": primitive_rules.trace_primitive_jvp(equation)}, operands=len(equation.invars))
        except NotImplementedError:
            return None
        except RecursionError:
            raise  # that Python's stack is full says nothing of the rule
        except (RuntimeError, AssertionError) as error:
            return Refusal(str(error) or "its derivative rule fails", isinstance(error, AssertionError))


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
