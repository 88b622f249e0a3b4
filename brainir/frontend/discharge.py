"""References (``jax.new_ref``) that live within a function become values, as JAX does it before it compiles.

JAX traces the whole function a second time for that, and loses derivative rules that run in loops with references. Here
only the equations that work on references change: one that reads or writes becomes what it does to the value that the
reference holds, and a loop, branch or call that is given references is given their values and returns the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core as jex_core

from .jax_references import is_reference, on_value, without_reference_effects
from .jax_scans import scan_arity
from .memory.alive import WhileAlive
from .weak_types import as_weak_as

__all__ = ["PURE", "makes_references", "without_references"]

_MAKERS = frozenset(("new_ref", "empty_ref"))
_WHOLE = jax.tree.structure(())
"""What ``get`` and ``swap`` say of indices where there are none."""


def makes_references(jaxpr: Any) -> bool:
    """Whether equations of a jaxpr make references."""
    return not _MAKERS.isdisjoint([equation.primitive.name for equation in jaxpr.eqns])


def without_references(closed: Any) -> Any:
    """Return a pure jaxpr that computes the same as one that makes references and works on them.

    It is the given one where that cannot be had, or would lose derivative rules; then the equations that work on
    references are refused, each with its line.
    """
    try:
        return _closed(closed)
    except NotImplementedError:
        return closed


PURE: WhileAlive[Any] = WhileAlive()
"""The pure jaxprs of those that are alive, so that what is remembered of a jaxpr is found again."""


def _closed(closed: Any) -> Any:
    """Return a pure jaxpr, closed or open as the given one is."""
    if not hasattr(closed, "jaxpr"):
        return _open(closed)
    return jex_core.ClosedJaxpr(_open(closed.jaxpr), closed.consts)


def _open(jaxpr: Any) -> Any:
    found = PURE.find(jaxpr)
    if found is None:
        found = _Rewriting(jaxpr.debug_info).jaxpr(jaxpr)
        PURE.keep(jaxpr, found)
    return found


class _Rewriting:
    """Rewrites the equations of one jaxpr.

    Where references are given to it, the pure jaxpr takes their values, and returns the last ones after the results.
    """

    def __init__(self, info: Any) -> None:
        self._info = info.with_unknown_names()
        self._now: dict[Any, Any] = {}
        """What a reference holds, and what stands for a value that was read from one."""
        self._equations: list[Any] = []

    def jaxpr(self, jaxpr: Any) -> Any:
        """Return the pure jaxpr."""
        references = [var for var in jaxpr.invars if is_reference(var)]
        self._now.update({var: type(var)(var.aval.inner_aval) for var in references})
        invars = [self._value(var) for var in jaxpr.invars]
        for equation in jaxpr.eqns:
            self._rewrite(equation)
        return jaxpr.replace(
            invars=invars,
            outvars=[self._value(var) for var in (*jaxpr.outvars, *references)],
            eqns=self._equations,
            effects=without_reference_effects(jaxpr.effects),
            debug_info=self._info,
        )

    def _value(self, atom: Any) -> Any:
        """Return the value that an operand has become or a reference holds, with the type that JAX says it has."""
        if isinstance(atom, jex_core.Literal):
            return atom
        value, kind = self._now.get(atom, atom), getattr(atom.aval, "inner_aval", atom.aval)
        if is_reference(value):
            raise NotImplementedError("a reference that was not made here")
        if getattr(value.aval, "weak_type", False) != getattr(kind, "weak_type", False):
            if isinstance(value, jex_core.Literal):
                value = jex_core.Literal(value.val, kind)
            else:
                (value,) = self._inlined(jax.make_jaxpr(lambda held: as_weak_as(held, kind))(value.aval), [value])
            self._now[atom] = value
        return value

    def _rewrite(self, equation: Any) -> None:
        name, invars, outvars = equation.primitive.name, equation.invars, equation.outvars
        if name in ("new_ref", "freeze"):
            self._now[outvars[0]] = self._value(invars[0])
        elif name == "empty_ref":
            kind = outvars[0].aval.inner_aval
            (self._now[outvars[0]],) = self._inlined(
                jax.make_jaxpr(lambda: jax.lax.empty(kind.shape, kind.dtype))(), []
            )
        elif name == "free_ref":
            self._now.pop(invars[0], None)
        elif any(map(is_reference, invars)):
            is_part = equation.params.get("tree", _WHOLE) != _WHOLE
            (_Rewriting._apply if is_part else _RULES.get(name, _Rewriting._apply))(self, equation)
        elif name == "convert_element_type" and self._is_number_of(outvars[0].aval.dtype, invars[0]):
            self._now[outvars[0]] = self._value(invars[0])
        else:
            self._equations.append(self._kept(equation))

    def _is_number_of(self, dtype: Any, atom: Any) -> bool:
        """Whether an operand has become a number of an element type; JAX converts no numbers in a jaxpr."""
        value: Any = self._value(atom)
        return isinstance(value, jex_core.Literal) and bool(atom.aval.dtype == dtype)

    def _kept(self, equation: Any) -> Any:
        """Return an equation with what its operands have become."""
        return equation.replace(invars=[self._value(atom) for atom in equation.invars])

    def _inlined(self, closed: Any, operands: Sequence[Any]) -> list[Any]:
        """Add the equations of a jaxpr that was traced for this place; return its results."""
        if closed.consts:
            raise NotImplementedError("what a reference becomes holds arrays")
        self._now.update(zip(closed.jaxpr.invars, operands, strict=True))
        self._equations += [self._kept(equation) for equation in closed.jaxpr.eqns]
        return [self._value(var) for var in closed.jaxpr.outvars]

    def _apply(self, equation: Any) -> None:
        """Add what an equation does to the values that its references hold."""
        invars = [*dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, jex_core.Literal))]
        results = self._inlined(on_value(equation, invars, self._info), [self._value(var) for var in invars])
        written = [var for var in invars if is_reference(var)]
        self._now.update(zip((*equation.outvars, *written), results, strict=True))

    def _get(self, equation: Any) -> None:
        self._now[equation.outvars[0]] = self._value(equation.invars[0])

    def _swap(self, equation: Any) -> None:
        reference, value = equation.invars
        self._now[equation.outvars[0]], self._now[reference] = self._value(reference), self._value(value)

    def _run(self, equation: Any, params: dict[str, Any], operands: Sequence[Any], outvars: Sequence[Any]) -> None:
        """Add an equation that runs pure jaxprs instead of those with references."""
        effects = without_reference_effects(equation.effects)
        given = {**equation.params, **params}
        changed = equation.replace(invars=list(operands), outvars=list(outvars), params=given, effects=effects)
        self._equations.append(changed)

    def _written(self, references: Sequence[Any]) -> list[Any]:
        """Return new variables for what references hold after an equation."""
        self._now.update({var: type(var)(var.aval.inner_aval) for var in references})
        return [self._now[var] for var in references]

    def _call(self, equation: Any) -> None:
        name = "call_jaxpr" if "call_jaxpr" in equation.params else "jaxpr"
        params = {name: _closed(equation.params[name])}
        operands = [self._value(atom) for atom in equation.invars]
        references = [atom for atom in equation.invars if is_reference(atom)]
        if "out_shardings" in equation.params:
            shardings = zip(equation.invars, equation.params["in_shardings"], strict=True)
            held = [sharding for atom, sharding in shardings if is_reference(atom)]
            params["out_shardings"] = (*equation.params["out_shardings"], *held)
            params["out_layouts"] = (*equation.params["out_layouts"], *[None] * len(held))
        self._run(equation, params, operands, [*equation.outvars, *self._written(references)])

    def _cond(self, equation: Any) -> None:
        branches = [_closed(branch) for branch in equation.params["branches"]]
        operands = [self._value(atom) for atom in equation.invars]
        count = len(equation.outvars)
        places = [place for place, atom in enumerate(equation.invars[1:]) if is_reference(atom)]
        # A reference that no branch writes to is only given to them.
        changed = [
            any(branch.jaxpr.outvars[count + index] is not branch.jaxpr.invars[place] for branch in branches)
            for index, place in enumerate(places)
        ]
        kept = [True] * count + changed
        params = {"branches": tuple([_returning(branch, kept) for branch in branches])}
        references = [
            equation.invars[1 + place] for place, is_changed in zip(places, changed, strict=True) if is_changed
        ]
        self._run(equation, params, operands, [*equation.outvars, *self._written(references)])

    def _scan(self, equation: Any) -> None:
        num_consts, num_carry = scan_arity(equation.params)
        consts, others = equation.invars[:num_consts], equation.invars[num_consts:]
        if any(map(is_reference, others)):
            self._apply(equation)
            return
        order, references = _order(consts)
        num_pure = num_consts - len(references)
        params = {
            "jaxpr": _carrying(_closed(equation.params["jaxpr"]), order, len(equation.outvars)),
            "num_consts": num_pure,
            "num_carry": num_carry + len(references),
        }
        operands = [self._value(atom) for atom in (*(consts[place] for place in order), *others)]
        self._run(equation, params, operands, [*self._written(references), *equation.outvars])

    def _while(self, equation: Any) -> None:
        in_cond, in_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
        for_cond, consts = equation.invars[:in_cond], equation.invars[in_cond : in_cond + in_body]
        others = equation.invars[in_cond + in_body :]
        if any(map(is_reference, (*for_cond, *others))):
            self._apply(equation)
            return
        order, references = _order(consts)
        cond = equation.params["cond_jaxpr"]
        unread = [type(var)(var.aval.inner_aval) for var in references]
        invars = [*cond.jaxpr.invars[:in_cond], *unread, *cond.jaxpr.invars[in_cond:]]
        params = {
            "cond_jaxpr": _replaced(cond, invars=invars),
            "body_jaxpr": _carrying(_closed(equation.params["body_jaxpr"]), order, len(equation.outvars)),
            "body_nconsts": in_body - len(references),
        }
        operands = [self._value(atom) for atom in (*for_cond, *(consts[place] for place in order), *others)]
        self._run(equation, params, operands, [*self._written(references), *equation.outvars])


_RULES: dict[str, Callable[[_Rewriting, Any], None]] = {
    "checkpoint": _Rewriting._call,
    "closed_call": _Rewriting._call,
    "cond": _Rewriting._cond,
    "core_call": _Rewriting._call,
    "eval_jaxpr": _Rewriting._call,
    "get": _Rewriting._get,
    "jit": _Rewriting._call,
    "remat2": _Rewriting._call,
    "scan": _Rewriting._scan,
    "swap": _Rewriting._swap,
    "while": _Rewriting._while,
}


def _order(consts: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Return the places of constants of a loop, values before references; and the references."""
    places = sorted(range(len(consts)), key=lambda place: is_reference(consts[place]))
    return places, [var for var in consts if is_reference(var)]


def _carrying(closed: Any, order: Sequence[int], count: int) -> Any:
    """Return the pure body of a loop that carries, before its other values, what references hold.

    Parameters
    ----------
    closed : ClosedJaxpr
        It returns what they hold at last.
    order : sequence of int
        The places of its constants, references at last.
    count : int
        How many results it had.
    """
    invars, outvars = closed.jaxpr.invars, closed.jaxpr.outvars
    return _replaced(
        closed,
        invars=[*(invars[place] for place in order), *invars[len(order) :]],
        outvars=[*outvars[count:], *outvars[:count]],
    )


def _returning(closed: Any, kept: Sequence[bool]) -> Any:
    """Return a jaxpr with some of its results."""
    outvars = [var for var, is_kept in zip(closed.jaxpr.outvars, kept, strict=True) if is_kept]
    return _replaced(closed, outvars=outvars)


def _replaced(closed: Any, **parts: Any) -> Any:
    info = closed.jaxpr.debug_info.with_unknown_names()
    return jex_core.ClosedJaxpr(closed.jaxpr.replace(**parts, debug_info=info), closed.consts)
