"""What JAX keeps of derivative rules in an equation: functions that it traces when it differentiates.

Like :mod:`..jax_compat`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad

from ..jax_compat import Equation, moves, moving_places, spec_of
from ..keys.wrapped import unwrapped_rule

__all__ = [
    "avals",
    "float0",
    "forget",
    "instantiate",
    "made_of",
    "num_closed_over",
    "operand_specs",
    "rule_operands",
    "traced_again",
    "with_float0",
    "with_own_rules",
    "zeros",
]


def avals(equation: Equation) -> tuple[list[Any], list[Any]]:
    """Return the abstract values of operands and results."""
    return [atom.aval for atom in equation.invars], [var.aval for var in equation.outvars]


def operand_specs(equation: Equation) -> list[jax.ShapeDtypeStruct]:
    """Return what is traced for the operands."""
    return [spec_of(atom.aval) for atom in equation.invars]


def rule_operands(equation: Equation, own: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which operands that a derivative rule sees can move, and which results; as positions."""
    kinds, outputs = avals(equation)
    return moving_places(kinds[own:]), moving_places(outputs)


def made_of(equation: Equation, base: str, active: Any = None) -> tuple[Any, ...]:
    """Return what the rules of a ``custom_jvp_call`` or ``custom_vjp_call`` are traced from, and depend on.

    Parameters
    ----------
    equation
    base : str
        Name of the function that they belong to.
    active
        The operands and results that can move, where the rules depend on them.
    """
    params = equation.params
    held = ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "num_consts", "symbolic_zeros")
    return base, active, *[params[name] for name in held if name in params]


def with_own_rules(equation: Equation) -> Equation:
    """Return a ``custom_jvp_call`` or ``custom_vjp_call`` with the rules of its function, as it was first traced.

    Each time that JAX traces an equation again, it wraps its rules in others, which take what the function closes over
    as operands like others.
    """
    params = equation.params
    name = "fwd_jaxpr_thunk" if "fwd_jaxpr_thunk" in params else "jvp_jaxpr_fun"
    found = unwrapped_rule(params[name])
    if found.thunk is params[name]:
        return equation
    return equation.replace(params={**params, name: found.thunk, "num_consts": params["num_consts"] + found.kept})


def num_closed_over(equation: Equation, perturbed: Sequence[int] | None = None) -> int:
    """Return how many operands of a node with rules, at the beginning, are what its function closes over.

    A ``custom_vjp_call`` that was traced again has them as operands like others, but for its forward rule, which
    refuses to let them be perturbed. Where only some operands can be, none of the others counts as one of them.
    """
    params = equation.params
    first, last = int(params["num_consts"]), len(equation.invars)
    if "fwd_jaxpr_thunk" in params:
        forget(params["fwd_jaxpr_thunk"])
        moving = range(last) if perturbed is None else perturbed
        while first < last and not _may_perturb(equation, [place for place in moving if place >= first]):
            first += 1
    return first


def _may_perturb(equation: Equation, perturbed: Sequence[int]) -> bool:
    """Whether a forward rule lets these operands be perturbed."""
    own = range(equation.params["num_consts"], len(equation.invars))
    try:
        equation.params["fwd_jaxpr_thunk"].call_wrapped(*[place in perturbed for place in own])
    except Exception as error:
        if type(error).__name__ != "CustomVJPException":  # nowhere public
            raise
        return False
    return True


def traced_again(thunk: Any, arguments: Sequence[Any]) -> Any:
    """Return what a rule is now; what JAX remembers of it may come from before something that it reads was changed.

    Nor does JAX remember this trace, which has none of the model's lines.
    """
    forget(thunk)
    try:
        return thunk.call_wrapped(*arguments)
    finally:
        forget(thunk)


def forget(thunk: Any) -> None:
    """Let JAX trace a rule again: the trees that go with a forward rule are those of the last rule that it traced.

    A rule that was traced again calls the thunk of the trace before, which remembers too.
    """
    waiting, seen = [thunk], set[int]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        held: dict[Any, Any] = {}
        if hasattr(function, "call_wrapped"):
            held = {"f": function.f}
        elif isinstance(function, functools.partial):
            held = {"func": function.func, **dict(enumerate(function.args))}
        elif inspect.isfunction(function) and (function.__module__ or "").startswith("jax."):
            held = dict(inspect.getclosurevars(function).nonlocals)
        if isinstance(held.get("cells"), dict):
            held["cells"].clear()
        waiting += [value for value in held.values() if callable(value) or hasattr(value, "call_wrapped")]


def with_float0(given: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
    """Return tangents or cotangents of all values from those of inexact ones."""
    values = iter(given)
    return [next(values) if moves(kind) else float0(kind) for kind in kinds]


def float0(kind: Any) -> Any:
    """Return the tangent or cotangent of a value that has none."""
    return np.zeros(kind.shape, jax.dtypes.float0)


def instantiate(found: Any, kind: Any) -> Any:
    """Return a tangent or cotangent of this type as an array, zeros if it is none."""
    return zeros(kind) if found is None or isinstance(found, ad.Zero) else found


def zeros(kind: Any) -> Any:
    """Return zeros, of strong type, that lie on a mesh and vary between devices as the type says."""
    return ad.instantiate_zeros(ad.Zero(kind.update(weak_type=False)))
