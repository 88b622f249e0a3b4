"""Nodes with derivative rules, and rules that lead back to themselves."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import jax_compat, jax_rules
from ..memory.jaxprs import Rule
from ..memory.keys import Parts
from ..memory.lowering_keys import LoweringKeys, is_too_high
from ..memory.remembering import Behaviour, Remembering
from ..rules import Attributes
from ..table import Table, identifier
from .cases import HigherOrderError, NoRuleError, Refusal, RefusedError, TracedRules, jvp_rules, traced_rules, vjp_rules
from .covering import covering_jvp, covering_vjp

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["RuleBody", "RuleLowering", "named_rules"]

_TRACING = threading.RLock()
"""What JAX notes while it traces a rule is in the rule, of which programs of several threads can have the same."""

_MOST_LARGER = 2
"""How often a function may meet itself in its derivative rule, with larger operands each time."""


class RuleLowering:
    """Lowers the rules of ``custom_jvp`` and ``custom_vjp`` in one program.

    Attributes
    ----------
    by_behaviour : dict
        Rules that were lowered, by what they depend on, or why they cannot be.
    """

    def __init__(self) -> None:
        self._keys = LoweringKeys()
        self._open: list[_Open] = []
        self._first: dict[Hashable, Behaviour | None] = {}
        self.by_behaviour: dict[Hashable, Attributes] = {}

    def custom_jvp(self, lowering: Lowering, equation: Any) -> Attributes:
        """Lower ``custom_jvp_call`` with its rule; ``op`` says so where that is only for reverse mode."""
        attributes = self._with_rules(lowering, equation, jvp_rules, covering_jvp)
        return {"op": "custom_vjp", **attributes} if "fwd" in attributes else attributes

    def custom_vjp(self, lowering: Lowering, equation: Any) -> Attributes:
        """Lower ``custom_vjp_call`` with its rules."""
        return self._with_rules(lowering, equation, vjp_rules, covering_vjp)

    def _with_rules(
        self,
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
        active = lowering.activity(equation) if zeros else None
        memory = lowering.memory
        behaviour = memory.of_rules(equation, base, active)
        elements = sum(math.prod(atom.aval.shape) for atom in equation.invars)
        key, parts = self._key(memory, equation, (base, jax_rules.rule_functions(equation), active), behaviour)

        def covering() -> TracedRules:
            if active is None:
                raise RefusedError(base)
            return trace_covering(equation, *active)

        def traced() -> TracedRules:
            return traced_rules(base, functools.partial(trace, equation), covering if zeros else None)

        def lower(chosen: Lowering) -> Attributes:
            try:
                return chosen.rules._lowered(chosen, _Open(base, parts, elements), traced, key)
            except HigherOrderError as error:
                error.function = function
                raise
            except NoRuleError as error:
                return {"refusal": Refusal(str(error))}

        known = self.by_behaviour.get(key)
        if known is None:
            self._first[key] = behaviour
            apart = behaviour is not None and not lowering.only_rules
            known = self.by_behaviour[key] = memory.lowered(lowering, behaviour, lower) if apart else lower(lowering)
        if "refusal" in known:
            raise NoRuleError(function, known["refusal"].reason)
        is_other = self._first.get(key) != behaviour
        if behaviour is None or is_other or zeros or memory.is_of_this_program(behaviour):
            lowering.nested.tie()
        elif not behaviour.lasts:
            lowering.nested.depend(Rule(equation, base, behaviour))
        return {"function": function, **known}

    def _key(
        self, memory: Remembering, equation: Any, made_of: Any, behaviour: Behaviour | None
    ) -> tuple[Hashable, Parts]:
        """Return what tells rules from others in this program, and what of that can be made anew each time.

        What they depend on can change from program to program, or is made anew each time, as on another line; not while
        this program is lowered.
        """
        if behaviour is not None and not behaviour.made:
            return behaviour, behaviour.made
        rules = self._keys.of(made_of)
        return (memory.place(equation), rules.content), rules.parts

    def _lowered(
        self, lowering: Lowering, opened: _Open, trace: Callable[[], TracedRules], key: Hashable
    ) -> Attributes:
        """Trace and lower derivative rules; return the attributes that refer to them.

        A rule may call the function that it belongs to, and so on for every order of derivative. Where the call inside
        has the same key, it has the same rule, which refers to itself. Else it has a rule of its own; and where those
        are equal after all, :func:`~brainir.ir.sharing.equal_functions` makes them one. Functions whose rules have
        another key in every order end after a few, sooner if they are larger each time, as that of an adjoint equation.
        """
        self._check_order(opened)
        with _TRACING:
            rules = trace()
        table = lowering.table
        attributes, bodies = named_rules(table, opened.base, rules)
        self.by_behaviour[key] = attributes
        self._open.append(opened)
        try:
            for name, body in bodies.items():
                table.functions[name] = lowering.rule(body, name)
        finally:
            self._open.pop()
        return attributes

    def _check_order(self, opened: _Open) -> None:
        """Refuse a function that its own rules lead to too often, each time with other rules or as a larger one."""
        around = [each for each in self._open if each.base == opened.base]
        smaller = [each for each in around if each.elements < opened.elements]
        if len(smaller) >= _MOST_LARGER or is_too_high(opened.parts, [each.parts for each in around]):
            raise HigherOrderError(opened.base, f"derivatives of order {len(around) + 1} and above are not stored")


class _Open(NamedTuple):
    """Rules that are being lowered.

    Parameters
    ----------
    base : str
        Name of their function.
    parts : frozenset
        What can be made anew of that which the rules depend on.
    elements : int
        How many its operands have.
    """

    base: str
    parts: Parts
    elements: int


class RuleBody(NamedTuple):
    """A traced rule, with the inputs that are never perturbed and those that are tangents."""

    closed: Any
    still: frozenset[int]
    tangents: frozenset[int]


def named_rules(table: Table, base: str, rules: TracedRules) -> tuple[Attributes, dict[str, RuleBody]]:
    """Name the rules of a function; return the attributes that refer to them, and each rule by its name."""
    bodies: dict[str, RuleBody] = {}
    own = rules.attributes.get("closed_over", 0)

    def named(wanted: str, closed: Any, first: int) -> str:
        name = table.new_rule_name(f"{base}_{wanted}")
        still = frozenset() if wanted.startswith("bwd") else frozenset(at - first for at in rules.still if at >= first)
        count = len(closed.in_avals)
        tangents = frozenset(range(rules.operands - first, count)) if rules.operands else frozenset[int]()
        bodies[name] = RuleBody(closed, still, tangents)
        return name

    attributes: Attributes = {attribute: named(attribute, body, 0) for attribute, body in rules.single.items()}
    for attribute, cases in rules.several.items():
        attributes[attribute] = tuple(named(wanted, body, own) for wanted, body in cases)
    return {**attributes, **rules.attributes}, bodies
