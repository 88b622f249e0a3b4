"""Jaxprs to functions of a program."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from ..ir.canonical import outline, structural_key
from ..ir.errors import LoweringError
from ..ir.program import Function
from ..ir.sharing import reachable_functions, share_equal_functions
from . import control, jax_compat, jax_rules, parallel
from .body import Body
from .derivatives import UNTRACEABLE, NoRuleError, TracedRules, jvp_rules, traced_rules, vjp_rules
from .equations import EQUATION_RULES
from .externals import ExternalNames, callback, custom_call, is_callback
from .identity import FunctionKeys, UnknownBehaviourError
from .jax_compat import OpenJaxpr
from .rule_memory import RULES as MEMORY
from .rule_memory import LoweredRules
from .rules import OTHER_OPS, RULES, Attributes, UnsupportedError, node_attributes

__all__ = ["Lowering", "identifier", "lowered_ops"]

Lowered = tuple[str, Attributes]


def identifier(text: str, default: str = "fn") -> str:
    """Turn a text into a Python identifier; `default` if nothing of it can be kept."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) if text != "<lambda>" else ""
    if not name.strip("_"):
        return default
    return f"{default}_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name


_MOST_ORDERS = 2
"""How often a function may meet itself in its derivative rule, as a larger one each time."""


class Lowering:
    """Lowers one program: collects functions, shares equal ones, and gathers everything that cannot be lowered.

    Parameters
    ----------
    keep : collection of str
        Names of primitives that are left as they are.
    externals : ExternalNames, optional
        Those of the program that rules are lowered for, where this lowers nothing but rules.
    """

    def __init__(self, keep: Collection[str] = (), externals: ExternalNames | None = None) -> None:
        self._keep = frozenset(keep)
        self._externals = externals or ExternalNames()
        self._only_rules = externals is not None
        self._functions: dict[str, Function] = {}
        self._wanted: dict[str, str] = {}
        # Nested functions are stored once, and what a rule computes is known only when it is lowered: each name
        # stands for what no other name does.
        self._names: dict[str, str] = {}
        self._alike: dict[object, list[str]] = {}
        self._keys: dict[str, str] = {}
        self._by_text: dict[str, str] = {}
        self._by_jaxpr: dict[int, tuple[Any, str]] = {}
        self._foreign: dict[Any, tuple[str, str | None]] = {}
        self._kept: list[Any] = []
        self._rule_blind_keys: dict[str, str] = {}
        self._open_orders: list[str] = []
        self._open_rules: dict[str, list[Attributes]] = {}
        self._rule_names: set[str] = set()
        self._by_behaviour: dict[Hashable, Attributes] = {}
        self._function_keys = FunctionKeys()
        self._settings = jax_compat.settings()
        self._open_sources: list[str] = []
        self._problems: list[str] = []

    def program(
        self, jaxpr: OpenJaxpr, name: str, inputs: Sequence[str], outputs: dict[int, str]
    ) -> tuple[Function, ...]:
        """Lower the outermost jaxpr and everything in it.

        Parameters
        ----------
        jaxpr : OpenJaxpr
        name : str
            Name of the entry function.
        inputs : sequence of str
            Names of its inputs.
        outputs : dict of int to str
            Names for results by position, where a node defines them.

        Returns
        -------
        tuple of Function
            The entry first; then the functions that it needs in order of first reference, equal ones once.

        Raises
        ------
        LoweringError
            Listing everything that cannot be lowered.
        """
        name = self._new_name(name)
        self._functions[name] = self._function(jaxpr, name, inputs, outputs)
        if self._problems:
            listed = "\n".join(f"  {index}. {text}" for index, text in enumerate(dict.fromkeys(self._problems), 1))
            raise LoweringError(f"the program has parts that brainir cannot lower:\n{listed}")
        return _renamed(share_equal_functions(self._functions, name), self._wanted)

    def _new_name(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._wanted:
            count += 1
            name = f"{wanted}_{count}"
        self._wanted[name] = wanted
        self._names[name] = name
        return name

    def shared(self, closed: Any, name: str) -> str:
        """Lower a nested jaxpr, or find the equal function lowered before."""
        known = self._by_jaxpr.get(id(closed))
        if known is not None:
            return known[1]
        name = self._stored(self._function(jax_compat.open_jaxpr(closed), identifier(name)))
        # The jaxpr is kept alive, because its id is the key.
        self._by_jaxpr[id(closed)] = (closed, name)
        return name

    def _stored(self, function: Function) -> str:
        """Store a function, unless an equal one is; return its name."""
        written = _text(function)
        if written in self._by_text:
            return self._by_text[written]
        name = self._by_text[written] = self._stored_once(function)
        return name

    def _stored_once(self, function: Function) -> str:
        alike = self._alike.setdefault(outline(function), [])
        key = structural_key(function, self._names) if alike else None
        for name in alike:
            if self._key(name) == key:
                return name
        name = self._new_name(function.name)
        self._functions[name] = function.replace(name=name)
        alike.append(name)
        if key is not None:
            self._keys[name] = key
        return name

    def _key(self, name: str) -> str:
        if name not in self._keys:
            self._keys[name] = structural_key(self._functions[name], self._names)
        return self._keys[name]

    def _function(
        self, jaxpr: OpenJaxpr, name: str, inputs: Sequence[str] = (), outputs: dict[int, str] | None = None
    ) -> Function:
        return Body(self, jaxpr, inputs, outputs or {}).function(name)

    def lower_equation(self, equation: Any, source: str) -> Lowered:
        """Lower an equation to operation and attributes; note it and return a stand-in if that cannot be done."""
        name = equation.primitive.name
        self._open_sources.append(source)
        try:
            if name in self._keep:
                return custom_call(equation)
            if is_callback(name):
                return callback(equation, self._externals)
            if name in _HARD:
                op, rule = _HARD[name]
                return op, rule(self, equation)
            if name in EQUATION_RULES:
                (op, *_), equation_rule = EQUATION_RULES[name]
                attributes = equation_rule(self, equation)
                return attributes.pop("op", op), attributes
            if name in RULES:
                return node_attributes(name, equation.params)
            return self.foreign(equation)
        except NoRuleError as error:
            return "no_derivative", {"function": error.function, "reason": str(error)}
        except UnsupportedError as error:
            # Inside a function of a framework, the line is that of the call.
            where = next(filter(None, reversed(self._open_sources)), "")
            self._problems.append(f"{name}: {error}" + (f", at {where}" if where else ""))
            return "stop_gradient", {}
        finally:
            self._open_sources.pop()

    def custom_jvp(self, equation: Any) -> Attributes:
        """Lower ``custom_jvp_call`` with its rule."""
        return self._with_rules(equation, jvp_rules)

    def custom_vjp(self, equation: Any) -> Attributes:
        """Lower ``custom_vjp_call`` with its rules."""
        return self._with_rules(equation, vjp_rules)

    def _with_rules(self, equation: Any, trace: Callable[[Any], TracedRules]) -> Attributes:
        """Lower a node with derivative rules, or find equal rules that were lowered before.

        Raises
        ------
        NoRuleError
            If there is no rule to store.
        """
        closed = equation.params["call_jaxpr"]
        function = self.shared(closed, jax_compat.open_jaxpr(closed).function_name)
        base = self._wanted[function]
        behaviour = self._behaviour(equation, (base, jax_rules.rule_functions(equation)))

        def lower(lowering: Lowering) -> Attributes:
            try:
                occasion = f"{equation.primitive.name} {self._rule_blind_key(function)}"
                return lowering._lowered_rules(base, occasion, lambda: trace(equation), behaviour)
            except NoRuleError as error:
                raise NoRuleError(function, str(error)) from error

        known = None if behaviour is None else self._by_behaviour.get(behaviour)
        if known is None:
            if behaviour is None or self._only_rules:
                known = lower(self)
            else:
                known = self._by_behaviour[behaviour] = self._lowered_apart(behaviour, lower)
        return {"function": function, **known}

    def _lowered_rules(
        self, base: str, occasion: str, trace: Callable[[], TracedRules], behaviour: Hashable | None
    ) -> Attributes:
        """Trace and lower derivative rules; return the attributes that refer to them.

        A rule may call the function that it belongs to, and so on for every order of derivative. If that is known to
        have the same rule, the rule refers to itself. Else the call inside a rule is lowered with a rule of its own,
        and the call inside that one refers to the rule that it is in. Where both rules are equal,
        :func:`share_equal_functions` makes them one. A few functions are another one for every order, as that of an
        adjoint equation; those end at `_MOST_ORDERS`.
        """
        levels = self._open_rules.setdefault(occasion, [])
        if len(levels) == 2:
            return levels[-1]
        orders = [base, *self._open_orders].count(base)
        if not levels and orders > _MOST_ORDERS:
            raise NoRuleError(base, f"derivatives of order {orders} and above are not stored")
        rules = traced_rules(base, trace)
        bodies: dict[str, Any] = {}

        def named(wanted: str, closed: Any) -> str:
            name = self._new_rule_name(f"{base}_{wanted}")
            bodies[name] = closed
            return name

        attributes: Attributes = {attribute: named(attribute, body) for attribute, body in rules.single.items()}
        for attribute, cases in rules.several.items():
            attributes[attribute] = tuple(named(wanted, body) for wanted, body in cases)
        attributes.update(rules.attributes)
        if behaviour is not None:
            self._by_behaviour[behaviour] = attributes
        levels.append(attributes)
        self._open_orders.append(base)
        try:
            for name, body in bodies.items():
                self._functions[name] = self._function(jax_compat.open_jaxpr(body), name)
        finally:
            levels.pop()
            self._open_orders.pop()
        return attributes

    def _rule_blind_key(self, name: str) -> str:
        """Return a hash of what a function computes, whatever derivative rules its calls have.

        A call that was lowered with a rule of its own is another function than the one around it, but no other
        occasion.
        """
        if name not in self._rule_blind_keys:
            function = self._functions[name]
            rules = {callee for node in function.nodes for callee in node.rule_callees()}
            callees = {callee for node in function.nodes for callee in node.callees()}
            keys = {callee: "" if callee in rules else self._rule_blind_key(callee) for callee in callees}
            self._rule_blind_keys[name] = structural_key(function, keys)
        return self._rule_blind_keys[name]

    def _new_rule_name(self, wanted: str) -> str:
        name = self._new_name(wanted)
        self._rule_names.add(name)
        return name

    def _behaviour(self, equation: Any, parts: Any) -> Hashable | None:
        """Return what the rules of an equation depend on, or None if that cannot be told."""
        kinds = tuple([jax_compat.type_text(atom.aval) for atom in (*equation.invars, *equation.outvars)])
        try:
            return equation.primitive, kinds, self._function_keys.of(parts), self._keep, self._settings
        except UnknownBehaviourError:
            return None

    def _lowered_apart(self, key: Hashable, lower: Callable[[Lowering], Attributes]) -> Attributes:
        """Take rules from memory, or lower and remember them.

        They are lowered apart from the program, so that what is remembered does not depend on it.
        """
        found = MEMORY.find(key)
        if found is None:
            inner = Lowering(self._keep, self._externals)
            inner._open_sources = [*self._open_sources]
            attributes, functions = lower(inner), inner._functions
            roots = [name for value in attributes.values() for name in _names(value) if name in functions]
            reached = {part.name for root in roots for part in reachable_functions(functions, root)}
            kept = tuple(part for name, part in functions.items() if name in reached)
            found = LoweredRules(attributes, kept, inner._wanted, frozenset(inner._rule_names))
            self._problems.extend(inner._problems)
            if not inner._problems:
                MEMORY.keep(key, found)
        return self._adopted(found)

    def _adopted(self, found: LoweredRules) -> Attributes:
        """Add rules that were lowered apart; return the attributes with the names that they have here."""
        rules = [function for function in found.functions if function.name in found.rules]
        names = {function.name: self._new_rule_name(found.wanted[function.name]) for function in rules}
        for function in found.functions:
            if function.name not in names:
                renamed = function.replace(name=found.wanted[function.name]).with_callees(names)
                names[function.name] = self._stored(renamed)
        for function in rules:
            name = names[function.name]
            self._functions[name] = function.replace(name=name).with_callees(names)
        return {
            attribute: (
                names[value]
                if isinstance(value, str)
                else tuple(map(names.__getitem__, value))
                if _names(value)
                else value
            )
            for attribute, value in found.attributes.items()
        }

    def foreign(self, equation: Any) -> Lowered:
        """Lower a primitive that another package defines, from its implementation and its JVP rule."""
        kinds = tuple([jax_compat.type_text(atom.aval) for atom in equation.invars])
        key = (equation.primitive, tuple(sorted((name, _key(value)) for name, value in equation.params.items())), kinds)
        if key not in self._foreign:
            behaviour = None if self._only_rules else self._behaviour(equation, dict(equation.params))
            if behaviour is None:
                traced = self._implementation(equation)
                if traced is None:
                    return custom_call(equation)
                self._lower_foreign(equation, key, traced)
            else:
                known = self._lowered_apart(behaviour, lambda inner: inner._references(equation))
                if not known:
                    return custom_call(equation)
                self._foreign[key] = (known["function"], known.get("jvp"))
            # What the parameters hold is kept alive, because its ids are in the key.
            self._kept.append(equation.params)
        function, jvp = self._foreign[key]
        return ("call", {"function": function}) if jvp is None else ("custom_jvp", {"function": function, "jvp": jvp})

    def _references(self, equation: Any) -> Attributes:
        op, attributes = self.foreign(equation)
        return {} if op == "custom_call" else attributes

    def _implementation(self, equation: Any) -> Any:
        """Trace what computes a primitive; None if it has code of its own, which cannot be traced."""
        if equation.effects:
            raise UnsupportedError("brainir cannot store a primitive with side effects")
        if jax_compat.implementation(equation) is None:
            if jax_compat.is_brainevent(equation.primitive):
                return None
            raise UnsupportedError(
                f"brainir has no rule for this primitive; keep=[{equation.primitive.name!r}] would store it by name"
            )
        try:
            traced = jax_rules.trace_primitive(equation)
        except UNTRACEABLE:
            return None
        # One that only runs the primitive says nothing.
        return None if jax_rules.uses(traced, equation.primitive) else traced

    def _lower_foreign(self, equation: Any, key: Any, traced: Any) -> None:
        function = self.shared(traced, equation.primitive.name)
        jvp = self._new_rule_name(f"{self._wanted[function]}_jvp")
        # Known before its rule is lowered, because the rule may use the primitive.
        self._foreign[key] = (function, jvp)
        try:
            rule = jax_compat.open_jaxpr(jax_rules.trace_primitive_jvp(equation))
            self._functions[jvp] = self._function(rule, jvp)
        except NotImplementedError:
            self._foreign[key] = (function, None)
        except RecursionError:
            raise  # that Python's stack is full says nothing of the rule
        except (RuntimeError, AssertionError) as error:
            del self._foreign[key]
            raise NoRuleError(function, str(error)) from error
        else:
            if self._is_derivative(self._functions[jvp], equation):
                self._foreign[key] = (function, None)

    def _is_derivative(self, rule: Function, equation: Any) -> bool:
        """Return whether a primitive's rule is what JAX derives from its implementation.

        A plain call is then the same program, and analyses see through it.
        """
        problems = len(self._problems)
        try:
            derived = self._function(jax_compat.open_jaxpr(jax_rules.trace_implementation_jvp(equation)), rule.name)
        except UNTRACEABLE:
            return False
        finally:
            # What only the derivative of the implementation holds is not part of the program.
            del self._problems[problems:]
        return structural_key(derived, self._names) == structural_key(rule, self._names)


_HARD: dict[str, tuple[str, Callable[[Lowering, Any], Attributes]]] = {
    **control.RULES,
    **parallel.RULES,
    "custom_jvp_call": ("custom_jvp", Lowering.custom_jvp),
    "custom_vjp_call": ("custom_vjp", Lowering.custom_vjp),
}
"""Primitives that run other functions, with operation and rule."""


def lowered_ops() -> frozenset[str]:
    """Return the operations that JAX primitives are lowered to."""
    stored = ("pure_callback", "io_callback", "debug_callback", "custom_call", "no_derivative")
    several = (op for ops, _ in EQUATION_RULES.values() for op in ops)
    return frozenset((*stored, *(op for op, _ in (*RULES.values(), *_HARD.values())), *OTHER_OPS, *several))


def _text(function: Function) -> str:
    """Return a text that is equal for functions that were written alike; most equal ones are."""
    nodes = [[item for item in vars(node).items() if item[0] not in ("source", "scope")] for node in function.nodes]
    constants = [(constant.name, constant.type, constant.digest()) for constant in function.constants]
    return repr((function.inputs, function.types, constants, nodes, function.outputs))


def _names(value: Any) -> tuple[str, ...]:
    """Return the names of functions in an attribute of a node with rules."""
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) and all(isinstance(name, str) for name in value) else ()


def _key(value: Any) -> str:
    """Return a text that is equal for equal plain values; anything else equals only itself."""
    if isinstance(value, tuple):
        return f"({','.join(map(_key, value))})"
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return f"{type(value).__name__} {value!r}" if is_plain else f"id {id(value)}"


def _renamed(functions: tuple[Function, ...], wanted: dict[str, str]) -> tuple[Function, ...]:
    """Return the functions with those of one name numbered in the order of the table, without gaps."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    taken = set[str]()
    for function in functions:
        base = name = wanted[function.name]
        # A function that came back from a program can want a name with a number.
        while name in taken:
            counts[base] = counts.get(base, 0) + 1
            name = f"{base}_{counts[base]}"
        taken.add(name)
        names[function.name] = name
    renamed = (function.with_callees(names) for function in functions)
    return tuple(
        function if function.name == names[function.name] else function.replace(name=names[function.name])
        for function in renamed
    )
