"""What nodes with derivative rules refer to: lowered once, and rules that lead back to themselves."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..keys.key import Key, Parts
from ..keys.lowering_keys import LoweringKeys, is_too_high
from ..memory.rule_memory import Behaviour, RuleMemory
from ..memory.rules import NodeByRules
from ..rules import Attributes
from ..table import Table, identifier
from .cases import TracedRules
from .refusals import NoRuleError

if TYPE_CHECKING:
    from ..lowering import Lowering

__all__ = ["RuleBody", "RuleKey", "RuleLowering"]

_MOST_LARGER = 2
"""How often a function may meet itself in its derivative rule, with larger operands each time."""


class RuleKey:
    """The key of an equation that runs functions by rules, which equals those of others with the same rules.

    What they depend on can change from program to program, or is made anew each time, as on another line; not while
    this program is lowered. What tells them from others then is found where others are like them: it takes as long as
    finding what they depend on.

    Parameters
    ----------
    equation
    base : str
        The name of its function.
    made_of
        The functions that its rules are traced from, and what else these depend on.
    memory : RuleMemory
        Finds what they depend on, as far as it can be told.
    keys : LoweringKeys
        Find the key of what they are made of.
    """

    def __init__(self, equation: Any, base: str, made_of: Any, memory: RuleMemory, keys: LoweringKeys) -> None:
        self.base = base
        self.behaviour: Behaviour | None = memory.behaviour(equation, made_of)
        self._equation = equation
        self._made_of = made_of
        self._keys = keys
        # Whether what they depend on tells them from others by itself.
        self._by_behaviour = self.behaviour is not None and not self.behaviour.key.parts
        self._place = None if self._by_behaviour else memory.place(equation)
        self._hash = hash(self.behaviour if self._by_behaviour else (self._place, base))

    @functools.cached_property
    def _key(self) -> Key:
        return self._keys.of(self._made_of)

    @property
    def parts(self) -> Parts:
        """What can be made anew of that which they depend on."""
        return Parts() if self._by_behaviour else self._key.parts

    @property
    def elements(self) -> int:
        """How many elements the operands have."""
        return sum([math.prod(atom.aval.shape) for atom in self._equation.invars])

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RuleKey) or self._hash != other._hash or self._by_behaviour != other._by_behaviour:
            return False
        if self._by_behaviour:
            return self.behaviour == other.behaviour
        return self._place == other._place and self._key.content == other._key.content


class KnownRules(NamedTuple):
    """What rules were lowered to in this program, and what they depend on where they were met first."""

    node: NodeByRules
    behaviour: Behaviour | None


class RuleLowering:
    """Lowers the functions that equations run by rules, equal ones once in one program.

    Parameters
    ----------
    memory : RuleMemory
        Has those that were lowered in other programs.
    keys : LoweringKeys

    Attributes
    ----------
    known : dict
        What was lowered, or why it cannot be.
    """

    def __init__(self, memory: RuleMemory, keys: LoweringKeys) -> None:
        self._memory = memory
        self._keys = keys
        self._open: list[RuleKey] = []
        self.known: dict[RuleKey, KnownRules] = {}

    def key(self, equation: Any, base: str, made_of: Any) -> RuleKey:
        """Return what tells an equation from others with other rules."""
        return RuleKey(equation, base, made_of, self._memory, self._keys)

    def lowered(self, lowering: Lowering, key: RuleKey, lower: Callable[[Lowering], NodeByRules]) -> KnownRules:
        """Return what refers to rules, lowered apart from the program if it can be told what they depend on."""
        if key not in self.known:
            apart = key.behaviour is not None and not lowering.session.is_apart
            node = self._memory.lowered(lowering, key.behaviour, lower) if apart else lower(lowering)
            self.known[key] = KnownRules(node, key.behaviour)
        return self.known[key]

    def check_order(self, key: RuleKey, function: str, *, by_size: bool = False) -> None:
        """Refuse a function that its own rules lead to too often, each time with other rules.

        Parameters
        ----------
        key : RuleKey
        function : str
        by_size : bool
            Whether one with larger operands each time is refused sooner, as that of an adjoint equation.

        Raises
        ------
        NoRuleError
            With the name of the `function`.
        """
        around = [each for each in self._open if each.base == key.base]
        smaller = [each for each in around if by_size and each.elements < key.elements]
        if len(smaller) >= _MOST_LARGER or is_too_high(key.parts, [each.parts for each in around]):
            raise NoRuleError(function, f"derivatives of order {len(around) + 1} and above are not stored")

    def stored(self, lowering: Lowering, key: RuleKey, rules: TracedRules, **others: str) -> NodeByRules:
        """Lower derivative rules; return what refers to them, with `others` of its attributes.

        A rule may call the function that it belongs to, and so on for every order of derivative. Where the call inside
        has the same key, it has the same rule, which refers to itself. Else it has a rule of its own; and where those
        are equal after all, :func:`~brainir.ir.sharing.equal_functions` makes them one. Functions whose rules have
        another key in every order end after a few; see :meth:`check_order`.
        """
        attributes, bodies = _named(lowering.session.table, identifier(key.base), rules)
        op = "custom_vjp" if "fwd" in rules.single else "custom_jvp"
        node = NodeByRules(op, {**others, **attributes})
        self.known[key] = KnownRules(node, key.behaviour)
        self._open.append(key)
        try:
            lowering.store_rules(bodies)
        finally:
            self._open.pop()
        return node


class RuleBody(NamedTuple):
    """A traced rule, with the inputs that are never perturbed and those that are tangents."""

    closed: Any
    still: frozenset[int]
    tangents: frozenset[int]


def _named(table: Table, base: str, rules: TracedRules) -> tuple[Attributes, dict[str, RuleBody]]:
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
