"""Which operands of an equation can have a tangent, and which of its results a cotangent, in a program.

Derivative rules that ask which are zero (``symbolic_zeros=True``) can refuse what never occurs: an operand that is a
constant of the program, a result that nothing uses. What is found may hold more than occurs, but never less.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

from .. import control, jax_compat
from ..jax_compat import OpenJaxpr
from ..jax_scans import scan_arity
from ..jaxprs import body_of

__all__ = ["LazyActivity", "Roots"]

Flags = tuple[bool, ...]

# Their results are constant wherever they have a derivative.
_STILL = frozenset(("ceil", "floor", "is_finite", "round", "sign", "stop_gradient"))
# Primitives whose equation runs one jaxpr with the operands that it has.
_CALLS = frozenset(
    [name for name, (op, _) in control.RULES.items() if op in ("call", "checkpoint", "composite", "custom_vmap")]
)


class Activity:
    """Follows derivatives through a jaxpr and those that it runs.

    Parameters
    ----------
    root : OpenJaxpr
        What is differentiated, for any of its inexact results.
    varied : sequence of bool
        The inputs along which it can be.
    """

    def __init__(self, root: OpenJaxpr, varied: Sequence[bool]) -> None:
        self._perturbed: dict[int, set[int]] = {}
        self._asked: dict[int, set[int]] = {}
        self._opened: dict[int, tuple[Any, OpenJaxpr]] = {}
        self._forward_known: dict[tuple[int, Flags], Flags] = {}
        self._backward_known: dict[tuple[int, Flags], Flags] = {}
        self._forward(root, varied)
        self._backward(root, [True] * len(root.outvars))

    def of(self, equation: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return the operands that can have a tangent and the results that can have a cotangent.

        None if no operand can, or the equation was not met: it is in the function of an operation that is not followed.
        """
        perturbed = self._perturbed.get(id(equation))
        return None if not perturbed else (tuple(sorted(perturbed)), tuple(sorted(self._asked.get(id(equation), ()))))

    def _open(self, closed: Any) -> OpenJaxpr:
        # The jaxpr is kept alive, because its id is the key.
        if id(closed) not in self._opened:
            self._opened[id(closed)] = closed, jax_compat.open_jaxpr(jax_compat.as_closed(closed))
        return self._opened[id(closed)][1]

    def _forward(self, jaxpr: OpenJaxpr, varied: Sequence[bool]) -> Flags:
        """Return which results have a tangent where these inputs have one."""
        key = id(jaxpr), tuple(varied)
        if key in self._forward_known:
            return self._forward_known[key]
        moving = {var for var, flag in zip(jaxpr.invars, varied, strict=True) if flag and jax_compat.moves(var.aval)}
        for equation in jaxpr.equations:
            given = _flags(equation.invars, moving)
            self._perturbed.setdefault(id(equation), set()).update(_places(given))
            found = self._results(equation, given) if any(given) else ()
            moving |= {
                var for var, flag in zip(equation.outvars, found, strict=False) if flag and jax_compat.moves(var.aval)
            }
        known = self._forward_known[key] = _flags(jaxpr.outvars, moving)
        return known

    def _results(self, equation: Any, given: Flags) -> Flags:
        name, params, count = equation.primitive.name, equation.params, len(equation.outvars)
        if name in _STILL:
            return (False,) * count
        if name in _CALLS:
            return self._forward(self._open(body_of(params)), given)
        if name == "cond":
            branches = [self._forward(self._open(branch), given[1:]) for branch in params["branches"]]
            return tuple(map(any, zip(*branches, strict=True)))
        if name == "scan":
            consts, carry = scan_arity(params)
            return self._looped(self._open(params["jaxpr"]), given, consts, carry)
        if name == "while":
            first = params["cond_nconsts"]
            body = self._open(params["body_jaxpr"])
            return self._looped(body, given[first:], params["body_nconsts"], count)
        for function, flags in _differentiated(equation, given):
            self._forward(self._open(function), flags)
        return (True,) * count

    def _looped(self, body: OpenJaxpr, given: Flags, consts: int, carry: int) -> Flags:
        while True:
            found = self._forward(body, given)
            carried = tuple(map(operator.or_, given[consts : consts + carry], found[:carry]))
            if carried == given[consts : consts + carry]:
                return (*carried, *found[carry:])
            given = (*given[:consts], *carried, *given[consts + carry :])

    def _backward(self, jaxpr: OpenJaxpr, useful: Sequence[bool]) -> Flags:
        """Return which inputs have a cotangent where these results have one."""
        key = id(jaxpr), tuple(useful)
        if key in self._backward_known:
            return self._backward_known[key]
        asked = {
            var
            for var, flag in zip(jaxpr.outvars, useful, strict=True)
            if flag and not isinstance(var, jax_compat.Literal) and jax_compat.moves(var.aval)
        }
        for equation in reversed(jaxpr.equations):
            given = _flags(equation.outvars, asked)
            self._asked.setdefault(id(equation), set()).update(_places(given))
            found = self._operands(equation, given) if any(given) else ()
            asked |= {
                var
                for var, flag in zip(equation.invars, found, strict=False)
                if flag and not isinstance(var, jax_compat.Literal) and jax_compat.moves(var.aval)
            }
        known = self._backward_known[key] = _flags(jaxpr.invars, asked)
        return known

    def _operands(self, equation: Any, given: Flags) -> Flags:
        name, params, count = equation.primitive.name, equation.params, len(equation.invars)
        if name in _STILL:
            return (False,) * count
        if name in _CALLS:
            return self._backward(self._open(body_of(params)), given)
        # What JAX transposes of these gets zeros for the other results.
        if name == "cond":
            branches = [self._backward(self._open(branch), (True,) * len(given)) for branch in params["branches"]]
            return (False, *map(any, zip(*branches, strict=True)))
        if name == "scan":
            return self._backward(self._open(params["jaxpr"]), (True,) * len(given))
        if name == "while":
            body = self._backward(self._open(params["body_jaxpr"]), (True,) * len(given))
            return (*[False] * params["cond_nconsts"], *body)
        for function, _ in _differentiated(equation, (True,) * count):
            self._backward(self._open(function), (True,) * len(function.out_avals))
        return (True,) * count


class LazyActivity:
    """The activity of a jaxpr, found when it is asked for: few programs have rules that depend on it.

    Parameters
    ----------
    jaxpr : OpenJaxpr
    still : frozenset of int
        The inputs along which it is never differentiated.
    tangents : frozenset of int
        The inputs that are tangents, if it is a JVP rule.
    """

    def __init__(
        self, jaxpr: OpenJaxpr, still: frozenset[int] = frozenset(), tangents: frozenset[int] = frozenset()
    ) -> None:
        self.jaxpr = jaxpr
        self.tangents = tangents
        self._still = still

    @functools.cached_property
    def activity(self) -> Activity:
        """What can be perturbed, and be asked for."""
        return Activity(self.jaxpr, [place not in self._still for place in range(len(self.jaxpr.invars))])

    @functools.cached_property
    def linear(self) -> Activity:
        """What comes from tangents."""
        return Activity(self.jaxpr, [place in self.tangents for place in range(len(self.jaxpr.invars))])


class Roots:
    """What is differentiated by itself while it is lowered: the outermost jaxpr and, in it, derivative rules.

    Parameters
    ----------
    *roots : LazyActivity
        From the outermost one.
    """

    def __init__(self, *roots: LazyActivity) -> None:
        self._open = roots

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, root: LazyActivity) -> Roots:
        """Return these with another root, the innermost one."""
        return Roots(*self._open, root)

    def activity(self, equation: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return the operands that can have a tangent and the results that can have a cotangent; None if unknown."""
        met = (root.activity.of(equation) for root in reversed(self._open))
        return next((found for found in met if found is not None), None)

    def linear_operands(self, equation: Any) -> tuple[int, ...]:
        """Return the operands of an equation of a JVP rule that come from tangents, in which the rule is linear."""
        root = self._open[-1]
        found = root.linear.of(equation) if root.tangents else None
        return () if found is None else found[0]


def _differentiated(equation: Any, given: Flags) -> Iterator[tuple[Any, Flags]]:
    """Yield the functions of an equation that JAX can differentiate beside its rule, and which inputs then move.

    That of a ``custom_jvp`` is transposed as it is. Of a linear solve, JAX differentiates the product with the matrix,
    and that with its transpose once the solve was transposed.
    """
    if equation.primitive.name == "custom_jvp_call":
        yield equation.params["call_jaxpr"], given
    elif equation.primitive.name == "custom_linear_solve":
        jaxprs, lengths = equation.params["jaxprs"], equation.params["const_lengths"]
        vector, first = (True,) * (len(given) - sum(lengths)), 0
        for function, length in zip(jaxprs, lengths, strict=True):
            if function is not None:
                yield function, (*given[first : first + length], *vector)
            first += length


def _flags(atoms: Sequence[Any], chosen: set[Any]) -> Flags:
    return tuple([not isinstance(atom, jax_compat.Literal) and atom in chosen for atom in atoms])


def _places(flags: Flags) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]
