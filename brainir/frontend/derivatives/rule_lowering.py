"""Nodes with derivative rules, and rules that lead back to themselves."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import jax_compat, jax_rules
from ..keys.key import Key, Parts
from ..keys.lowering_keys import LoweringKeys, is_too_high
from ..memory.jaxprs import Rule
from ..memory.remembering import Behaviour
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

    Parameters
    ----------
    keys : LoweringKeys

    Attributes
    ----------
    known : dict
        Rules that were lowered, or why they cannot be, and what they depend on where they were met first.
    """

    def __init__(self, keys: LoweringKeys) -> None:
        self._keys = keys
        self._open: list[_Open] = []
        self.known: dict[_Rules, tuple[Attributes, Behaviour | None]] = {}

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
        equation = jax_rules.with_own_rules(equation)
        memory = lowering.memory
        behaviour = memory.of_rules(equation, base, active)
        made_of = (base, jax_rules.rule_functions(equation), active)
        rules = _Rules(memory.place(equation), base, behaviour, self._keys, made_of)

        def covering() -> TracedRules:
            if active is None:
                raise RefusedError(base)
            return trace_covering(equation, *active)

        def traced() -> TracedRules:
            return traced_rules(base, functools.partial(trace, equation), covering if zeros else None)

        def lower(chosen: Lowering) -> Attributes:
            elements = sum(math.prod(atom.aval.shape) for atom in equation.invars)
            try:
                return chosen.rules._lowered(chosen, _Open(rules, elements), traced)
            except HigherOrderError as error:
                error.function = function
                raise
            except NoRuleError as error:
                return {"refusal": Refusal(str(error))}

        if rules not in self.known:
            apart = behaviour is not None and not lowering.only_rules
            self.known[rules] = memory.lowered(lowering, behaviour, lower) if apart else lower(lowering), behaviour
        attributes, first = self.known[rules]
        if "refusal" in attributes:
            raise NoRuleError(function, attributes["refusal"].reason)
        if behaviour is None or first != behaviour or zeros or memory.is_of_this_program(behaviour):
            lowering.nested.tie()
        elif not behaviour.key.lasts:
            lowering.nested.depend(Rule(equation, base, behaviour))
        return {"function": function, **attributes}

    def _lowered(self, lowering: Lowering, opened: _Open, trace: Callable[[], TracedRules]) -> Attributes:
        """Trace and lower derivative rules; return the attributes that refer to them.

        A rule may call the function that it belongs to, and so on for every order of derivative. Where the call inside
        has the same key, it has the same rule, which refers to itself. Else it has a rule of its own; and where those
        are equal after all, :func:`~brainir.ir.sharing.equal_functions` makes them one. Functions whose rules have
        another key in every order end after a few, sooner if they are larger each time, as that of an adjoint equation.
        """
        self._check_order(opened)
        with _TRACING:
            traced = trace()
        attributes, bodies = named_rules(lowering.table, opened.rules.base, traced)
        self.known[opened.rules] = attributes, opened.rules.behaviour
        self._open.append(opened)
        try:
            lowering.store_rules(bodies)
        finally:
            self._open.pop()
        return attributes

    def _check_order(self, opened: _Open) -> None:
        """Refuse a function that its own rules lead to too often, each time with other rules or as a larger one."""
        rules = opened.rules
        around = [each for each in self._open if each.rules.base == rules.base]
        smaller = [each for each in around if each.elements < opened.elements]
        if len(smaller) >= _MOST_LARGER or is_too_high(rules.parts, [each.rules.parts for each in around]):
            raise HigherOrderError(rules.base, f"derivatives of order {len(around) + 1} and above are not stored")


class _Rules:
    """The rules of an equation; they equal others that are the same in this program.

    What they depend on can change from program to program, or is made anew each time, as on another line; not while
    this program is lowered. What tells them from others then is found where others are like them: it takes as long as
    finding what they depend on.

    Parameters
    ----------
    place : hashable
        Of the equation; see :meth:`Remembering.place`.
    base : str
        Name of their function.
    behaviour : Behaviour, optional
        What they depend on, as far as it can be told.
    keys : LoweringKeys
        Find the key of what they are made of, which tells them from others.
    made_of
        The functions that they are, their name, and which operands and results can have derivatives.
    """

    def __init__(
        self, place: Hashable, base: str, behaviour: Behaviour | None, keys: LoweringKeys, made_of: Any
    ) -> None:
        self.base = base
        self.behaviour = behaviour
        self._place = place
        self._keys = keys
        self._made_of = made_of
        # Whether what they depend on tells them from others by itself.
        self._by_behaviour = behaviour is not None and not behaviour.key.parts
        self._hash = hash(behaviour if self._by_behaviour else (place, base))

    @functools.cached_property
    def _key(self) -> Key:
        return self._keys.of(self._made_of)

    @property
    def parts(self) -> Parts:
        """What can be made anew of that which they depend on."""
        return Parts() if self._by_behaviour else self._key.parts

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Rules) or self._hash != other._hash or self._by_behaviour != other._by_behaviour:
            return False
        if self._by_behaviour:
            return self.behaviour == other.behaviour
        return self._place == other._place and self._key.content == other._key.content


class _Open(NamedTuple):
    """Rules that are being lowered, and how many elements the operands of their function have."""

    rules: _Rules
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
