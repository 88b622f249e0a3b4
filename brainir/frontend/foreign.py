"""Primitives that another package defines, as functions with the derivative rule that the package gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir.program import Function
from . import jax_compat, jaxprs, primitive_rules
from .covering import covering_primitive_jvp
from .derivatives import UNTRACEABLE, HigherOrderError, NoRuleError, RefusedError, TracedRules
from .externals import custom_call
from .function_memory import content_key
from .lowering_keys import LoweringKeys, Parts, makes_new, most_orders
from .rule_lowering import named_rules
from .rules import Attributes, UnsupportedError
from .table import identifier
from .transposes import transposed

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["ForeignPrimitives"]


Active = tuple[tuple[int, ...], tuple[int, ...]]


class ForeignPrimitives:
    """Lowers such primitives in one program.

    Attributes
    ----------
    known : dict
        Those that were lowered.
    """

    def __init__(self) -> None:
        self.known: dict[Any, Attributes] = {}
        self._keys = LoweringKeys()
        self._open: list[tuple[Any, Parts]] = []

    def lower(self, lowering: Lowering, equation: Any) -> tuple[str, Attributes]:
        """Lower a primitive that another package defines, from its implementation and its JVP rule.

        A rule that cannot be traced with all operands perturbed is traced with those that can be in the program.
        """
        try:
            attributes = self._attributes(lowering, equation)
        except HigherOrderError:
            raise
        except NoRuleError as error:
            active = lowering.activity(equation)
            if active is None and isinstance(error.__cause__, AssertionError):
                raise RefusedError(error.function) from error
            if active is None:
                raise
            attributes = self._attributes(lowering, equation, active)
        if not attributes:
            try:
                return custom_call(equation)
            except UnsupportedError as error:
                raise UnsupportedError(f"what computes it cannot be traced, nor can it go by name: {error}") from None
        return "custom_jvp" if "jvp" in attributes else "call", attributes

    def _attributes(self, lowering: Lowering, equation: Any, active: Active | None = None) -> Attributes:
        """Return the attributes of the call of a primitive's function; none if that cannot be traced."""
        kinds = tuple([(jax_compat.type_text(atom.aval), jax_compat.varying(atom.aval)) for atom in equation.invars])
        params, parts = self._keys.with_parts(dict(sorted(equation.params.items())))
        linear = lowering.linear_operands(equation)
        key = (equation.primitive, params, kinds, linear, active)
        if key not in self.known:
            memory = lowering.memory
            held = equation.primitive, dict(equation.params), linear, active
            behaviour = None if lowering.only_rules else memory.behaviour(equation, held)
            if behaviour is None:
                traced = self._implementation(equation, linear)
                if traced is None:
                    return {}
                self._lower(lowering, equation, key, parts, traced)
            else:
                try:
                    known = memory.lowered(
                        lowering, behaviour, lambda inner: inner.foreign._attributes(inner, equation, active)
                    )
                except NoRuleError as error:
                    # The function that it names is not in the table of this program.
                    name = equation.primitive.name
                    traced = self._implementation(equation, linear)
                    error.function = _without_constants(lowering, traced, lowering.own(traced, name), name)
                    raise
                if not known:
                    return {}
                self.known[key] = known
        return self.known[key]

    @staticmethod
    def _implementation(equation: Any, linear: Sequence[int] = ()) -> Any:
        """Trace what computes a primitive; None if it has code of its own, which cannot be traced.

        Where it is linear in some operands, it has to be transposed by its own rule if JAX cannot do it without.
        """
        if equation.effects:
            raise UnsupportedError("brainir cannot store a primitive with side effects")
        if primitive_rules.implementation(equation) is None:
            if primitive_rules.is_brainevent(equation.primitive):
                return None
            raise UnsupportedError(
                f"brainir has no rule for this primitive; keep=[{equation.primitive.name!r}] would store it by name"
            )
        try:
            traced = primitive_rules.trace_primitive(equation)
        except UNTRACEABLE:
            return None
        # One that only runs the primitive says nothing.
        if jaxprs.uses(traced, equation.primitive):
            return None
        return transposed(equation, traced, linear) if linear else traced

    def _lower(self, lowering: Lowering, equation: Any, key: Any, parts: Parts, traced: Any) -> None:
        table = lowering.table
        called = lowering.own(traced, equation.primitive.name)
        if not any(jax_compat.moves(atom.aval) for atom in equation.invars):
            # Nobody asks for the derivative of what has no tangents.
            self.known[key] = {"function": called}
            return
        function = _without_constants(lowering, traced, called, equation.primitive.name)
        active = key[-1]
        around = [parts for primitive, parts in self._open if primitive is equation.primitive]
        if len(around) >= most_orders(makes_new(parts, around)):
            raise HigherOrderError(function, f"derivatives of order {len(around) + 1} and above are not stored")
        try:
            rules = _rules(equation, active)
        except NotImplementedError:
            self.known[key] = {"function": called}
            return
        except RecursionError:
            raise  # that Python's stack is full says nothing of the rule
        except (RuntimeError, AssertionError) as error:
            raise NoRuleError(function, str(error) or "its derivative rule fails") from error
        before = set(table.functions)
        attributes, bodies = named_rules(table, identifier(equation.primitive.name), rules)
        # Known before its rule is lowered, because the rule may use the primitive.
        self.known[key] = {"function": function, **attributes}
        self._open.append((equation.primitive, parts))
        try:
            for name, body in bodies.items():
                table.functions[name] = lowering.rule(body, name)
        finally:
            self._open.pop()
        if active is None and _is_derivative(lowering, table.functions[str(attributes["jvp"])], equation):
            self.known[key] = {"function": called}
        if not self._open:
            # Of what was lowered to compare, and of a rule that needs not be stored, nothing may name other functions.
            table.leave_out(table.functions.keys() - before)


def _without_constants(lowering: Lowering, closed: Any, name: str, wanted: str) -> str:
    """Return a function for a node with a derivative rule, which calls the one of a jaxpr if that has constants.

    JAX makes the constants of a function with a rule operands of its node, and, where that is in the body of a scan or
    in a branch, of the scan or ``cond`` around it: the regenerated program would be another one. Those of a nested jit
    stay where they are.
    """
    if not lowering.table.functions[name].constants:
        return name
    return lowering.own(jaxprs.within_jit(closed, wanted), wanted)


def _rules(equation: Any, active: Active | None) -> TracedRules:
    """Trace the derivative rule of a primitive, for all operands or for those that are active."""
    if active is not None:
        return covering_primitive_jvp(equation, active[0])
    return TracedRules({"jvp": primitive_rules.trace_primitive_jvp(equation)}, operands=len(equation.invars))


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
