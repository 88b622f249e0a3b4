"""Tracing of derivative rules, which JAX keeps as functions and traces when it differentiates.

Like :mod:`.jax_compat`, it reads what JAX may rename or move between versions; nothing else does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad

from .jax_compat import Equation, as_closed, is_literal, moves, open_jaxpr, spec_of
from .keys.wrapped import traced_rule
from .tracing import evaluated, make_jaxpr, without_source

__all__ = [
    "avals",
    "made_of",
    "num_closed_over",
    "operand_specs",
    "rule_operands",
    "trace_custom_jvp",
    "trace_jvp_case",
    "trace_transpose",
    "trace_transposed_jvp",
    "trace_vjp_case",
    "trace_vjp_rules",
    "with_own_rules",
]


def trace_transpose(equation: Equation) -> Any:
    """Trace the transpose of a ``linear_call``: residuals and cotangents of the results to those of the operands."""
    params = equation.params
    transpose, consts = params["transpose_thunk"]()
    first = params["num_callee_consts"]
    residuals = equation.invars[first : first + params["num_res"]]
    kinds = [atom.aval for atom in (*residuals, *equation.outvars)]
    if not consts and transpose.in_avals == kinds:
        return as_closed(without_source(transpose.jaxpr), transpose.consts)

    def run(*operands: Any) -> list[Any]:
        return evaluated(transpose, *consts, *operands)

    return make_jaxpr(run)(*map(spec_of, kinds))


def trace_custom_jvp(equation: Equation) -> Any:
    """Trace the rule of a ``custom_jvp_call``; signature as in :func:`~.primitive_rules.trace_primitive_jvp`."""
    kinds, outputs = avals(equation)
    own = equation.params["num_consts"]
    still = [not moves(kind) for kind in kinds[own:]]
    jaxpr, consts, zero_tangents = _traced_again(equation.params["jvp_jaxpr_fun"], still)
    takes_all = not own and [var.aval for var in jaxpr.invars] == [*kinds, *kinds] and all(map(moves, kinds))
    if takes_all and all(map(moves, outputs)) and not any(zero_tangents):
        return as_closed(without_source(jaxpr), consts)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        closed_over = sum(map(moves, kinds[:own]))
        results = jax.core.eval_jaxpr(jaxpr, consts, *primals[own:], *tangents[closed_over:])
        given = iter(results[len(outputs) :])
        full = [None if zero else next(given) for zero in zero_tangents]
        moved = [_instantiate(tangent, kind) for tangent, kind in zip(full, outputs, strict=True) if moves(kind)]
        return results[: len(outputs)], moved

    return make_jaxpr(rule)(*_rule_specs(kinds))


def trace_transposed_jvp(equation: Equation, jvp: Any) -> tuple[Any, Any]:
    """Trace the rule of a ``custom_jvp_call`` as rules for reverse mode; signatures as in :func:`trace_vjp_rules`.

    A rule that linearizes a function with ``custom_vjp`` can be transposed and nothing else: JAX has no tangents of it.

    Parameters
    ----------
    equation
    jvp : closed jaxpr
        The rule, as :func:`trace_custom_jvp` traces it.
    """
    kinds, outputs = avals(equation)
    call = equation.params["call_jaxpr"]
    function = jax.custom_jvp(lambda *operands: evaluated(call, *operands))

    @function.defjvp
    def _rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        moving = [tangent for tangent, kind in zip(tangents, kinds, strict=True) if moves(kind)]
        values = evaluated(jvp, *primals, *moving)
        return values[: len(outputs)], _with_float0(values[len(outputs) :], outputs)

    structures: list[Any] = []

    def run_fwd(*operands: Any) -> list[Any]:
        results, back = jax.vjp(function, *operands)
        residuals, structure = jax.tree.flatten(back)
        structures.append(structure)
        return [*results, *residuals]

    fwd = make_jaxpr(run_fwd)(*operand_specs(equation))

    def run_bwd(residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        back = jax.tree.unflatten(structures[-1], residuals)
        returned = back(_with_float0(cotangents, outputs))
        return [cotangent for cotangent, kind in zip(returned, kinds, strict=True) if moves(kind)]

    residuals = [spec_of(aval) for aval in fwd.out_avals[len(outputs) :]]
    return fwd, make_jaxpr(run_bwd)(residuals, [spec_of(kind) for kind in outputs if moves(kind)])


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
    found = traced_rule(params[name])
    if found.thunk is params[name]:
        return equation
    return equation.replace(params={**params, name: found.thunk, "num_consts": params["num_consts"] + found.kept})


def avals(equation: Equation) -> tuple[list[Any], list[Any]]:
    """Return the abstract values of operands and results."""
    return [atom.aval for atom in equation.invars], [var.aval for var in equation.outvars]


def operand_specs(equation: Equation) -> list[jax.ShapeDtypeStruct]:
    """Return what is traced for the operands."""
    return [spec_of(atom.aval) for atom in equation.invars]


def _rule_specs(kinds: Sequence[Any]) -> tuple[list[jax.ShapeDtypeStruct], list[jax.ShapeDtypeStruct]]:
    """Return what is traced for operands and for their inexact tangents."""
    return [spec_of(kind) for kind in kinds], [spec_of(kind) for kind in kinds if moves(kind)]


def trace_vjp_rules(equation: Equation, own: int) -> tuple[Any, Any]:
    """Trace the rules of a ``custom_vjp_call``, whose function closes over the first `own` operands.

    Returns
    -------
    fwd, bwd : closed jaxprs
        ``fwd`` takes the operands and returns results, then residuals; ``bwd`` takes residuals and inexact cotangents
        and returns inexact cotangents of the operands, zero for those that the user's function closed over.
    """
    kinds, outputs = avals(equation)
    symbolic = equation.params["symbolic_zeros"]
    forward, residuals = _trace_forward(
        equation, list(map(moves, kinds[own:])) if symbolic else [True] * (len(kinds) - own)
    )
    still = _symbolic_zero if symbolic else _float0

    def run_bwd(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        values = iter(cotangents)
        full = [next(values) if moves(kind) else still(kind) for kind in outputs]
        returned = _backward(equation, own, residuals.filled(given), full)
        pairs = zip(returned, kinds[own:], strict=True)
        closed_over = [_zeros(_cotangent(kind)) for kind in kinds[:own] if moves(kind)]
        return [*closed_over, *(_instantiate(found, _cotangent(kind)) for found, kind in pairs if moves(kind))]

    bwd = make_jaxpr(run_bwd)(residuals.specs, [spec_of(kind) for kind in outputs if moves(kind)])
    return forward, bwd


@dataclass(frozen=True)
class _Residuals:
    """What a forward rule leaves for the backward rule: types of what it computes, and what it always leaves.

    A backward rule may need the latter as Python numbers, such as the shape of an operand.
    """

    specs: list[Any]
    fixed: dict[int, Any]

    def filled(self, given: Sequence[Any]) -> list[Any]:
        values = iter(given)
        count = len(self.specs) + len(self.fixed)
        return [self.fixed[place] if place in self.fixed else next(values) for place in range(count)]


def _trace_forward(equation: Equation, perturbed: Sequence[bool], first: int = 0) -> tuple[Any, _Residuals]:
    """Trace a forward rule from the operands after the `first` to results and residuals that are not fixed."""
    params = equation.params
    own = params["num_consts"]
    kinds, outputs = avals(equation)
    unperturbed = [False] * (len(kinds) - own - len(perturbed))
    jaxpr, consts = params["fwd_jaxpr_thunk"].call_wrapped(*unperturbed, *perturbed)
    # A residual that is an operand is not computed: the third tree entry names the operand instead.
    forwarded = params["out_trees"]()[2]

    def run(*operands: Any) -> list[Any]:
        # It has no use for what its function closes over.
        unused = [np.zeros(kind.shape, kind.dtype) for kind in kinds[own:first]]
        computed = jax.core.eval_jaxpr(jaxpr, consts, *unused, *operands[max(own - first, 0) :])
        split = len(computed) - len(outputs)
        fresh, results = iter(computed[:split]), computed[split:]
        return [*results, *(next(fresh) if index is None else operands[index - first] for index in forwarded)]

    specs = [spec_of(kind) for kind in kinds[first:]]
    closed = make_jaxpr(run)(*specs)
    traced = open_jaxpr(closed)
    arrays = dict(zip(traced.constvars, traced.consts, strict=True))
    left = traced.outvars[len(outputs) :]
    fixed = {
        place: atom.val if is_literal(atom) else arrays[atom]
        for place, atom in enumerate(left)
        if is_literal(atom) or atom in arrays
    }
    residuals = _Residuals([spec_of(atom.aval) for place, atom in enumerate(left) if place not in fixed], fixed)
    if fixed:
        count = len(outputs)
        dropped = {count + place for place in fixed}

        def kept(*operands: Any) -> list[Any]:
            return [value for place, value in enumerate(run(*operands)) if place not in dropped]

        closed = make_jaxpr(kept)(*specs)
    return closed, residuals


def _traced_again(thunk: Any, arguments: Sequence[Any]) -> Any:
    """Return what a rule is now; what JAX remembers of it may come from before something that it reads was changed.

    Nor does JAX remember this trace, which has none of the model's lines.
    """
    _forget(thunk)
    try:
        return thunk.call_wrapped(*arguments)
    finally:
        _forget(thunk)


def _forget(thunk: Any) -> None:
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


def _backward(equation: Equation, own: int, residuals: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
    for store in equation.params["bwd"].stores:
        if store is not None:
            store.reset()  # what JAX before 0.10 notes of one call must be the same in the next
    returned = equation.params["bwd"].call_wrapped(*residuals, *cotangents)
    # JAX 0.12 returns the cotangents and a log.
    paired = len(returned) == 2 and isinstance(returned[0], list | tuple)
    found: Sequence[Any] = returned[0] if paired else returned
    return found[len(found) - (len(equation.invars) - own) :]  # without zeros for what the function closes over


def num_closed_over(equation: Equation, perturbed: Sequence[int] | None = None) -> int:
    """Return how many operands of a node with rules, at the beginning, are what its function closes over.

    A ``custom_vjp_call`` that was traced again has them as operands like others, but for its forward rule, which
    refuses to let them be perturbed. Where only some operands can be, none of the others counts as one of them.
    """
    params = equation.params
    first, last = int(params["num_consts"]), len(equation.invars)
    if "fwd_jaxpr_thunk" in params:
        _forget(params["fwd_jaxpr_thunk"])
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


def rule_operands(equation: Equation, own: int) -> tuple[list[Any], list[Any]]:
    """Return which operands that a derivative rule sees can move, and which results; as positions."""
    kinds, outputs = avals(equation)
    return [place for place, kind in enumerate(kinds[own:]) if moves(kind)], [
        place for place, kind in enumerate(outputs) if moves(kind)
    ]


def trace_jvp_case(equation: Equation, perturbed: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Trace the rule of a ``custom_jvp_call`` where the tangents of the other operands are symbolic zeros.

    Returns
    -------
    closed jaxpr, tuple of int
        From operands that are not closed over, and the tangents, to results and the tangents of those that move; and
        which these are.
    """
    kinds, outputs = avals(equation)
    kinds = kinds[equation.params["num_consts"] :]
    zeros = [place not in perturbed for place in range(len(kinds))]
    jaxpr, consts, still = _traced_again(equation.params["jvp_jaxpr_fun"], zeros)
    moved = [place for place, zero in enumerate(still) if not zero and moves(outputs[place])]

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results = jax.core.eval_jaxpr(jaxpr, consts, *primals, *tangents)
        given = iter(results[len(outputs) :])
        full = [None if zero else next(given) for zero in still]
        return results[: len(outputs)], [full[place] for place in moved]

    closed = make_jaxpr(rule)([spec_of(kind) for kind in kinds], [spec_of(kinds[place]) for place in perturbed])
    return closed, tuple(moved)


def trace_vjp_case(
    equation: Equation, own: int, perturbed: Sequence[int], asked: Sequence[int]
) -> tuple[Any, Any, tuple[int, ...]]:
    """Trace the rules of a ``custom_vjp_call`` where only some operands are perturbed, and some cotangents not zero.

    Returns
    -------
    fwd, bwd : closed jaxprs
        As of :func:`trace_vjp_rules`, for the operands that are not closed over and the cotangents that are not zero.
    returned : tuple of int
        The operands that ``bwd`` gives a cotangent for.
    """
    kinds, outputs = avals(equation)
    seen = kinds[own:]
    _forget(equation.params["fwd_jaxpr_thunk"])
    forward, residuals = _trace_forward(equation, [place in perturbed for place in range(len(seen))], own)
    returned: list[int] = []

    def run_bwd(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        values = iter(cotangents)
        full = [next(values) if place in asked else _symbolic_zero(kind) for place, kind in enumerate(outputs)]
        found = _backward(equation, own, residuals.filled(given), full)
        zeros = [cotangent is None or isinstance(cotangent, ad.Zero) for cotangent in found]
        returned[:] = [place for place, kind in enumerate(seen) if moves(kind) and not zeros[place]]
        return [found[place] for place in returned]

    bwd = make_jaxpr(run_bwd)(residuals.specs, [spec_of(outputs[place]) for place in asked])
    return forward, bwd, tuple(returned)


def _symbolic_zero(kind: Any) -> Any:
    return jax.custom_derivatives.SymbolicZero(_cotangent(kind))


def _cotangent(kind: Any) -> Any:
    """Return the abstract value of the cotangent of a value."""
    return getattr(kind, "to_ct_aval", kind.to_tangent_aval)()


def _with_float0(given: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
    """Return tangents or cotangents of all values from those of inexact ones."""
    values = iter(given)
    return [next(values) if moves(kind) else _float0(kind) for kind in kinds]


def _float0(kind: Any) -> Any:
    return np.zeros(kind.shape, jax.dtypes.float0)


def _instantiate(found: Any, kind: Any) -> Any:
    """Return a tangent or cotangent of this type as an array, zeros if it is none."""
    return _zeros(kind) if found is None or isinstance(found, ad.Zero) else found


def _zeros(kind: Any) -> Any:
    """Return zeros, of strong type, that lie on a mesh and vary between devices as the type says."""
    return ad.instantiate_zeros(ad.Zero(kind.update(weak_type=False)))
