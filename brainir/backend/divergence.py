"""Two programs in lockstep, and the first node at which their values part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from ..ir.diff import FunctionMatching, ProgramMatching, largest_difference
from ..ir.node import Node
from ..ir.ops import Cond, Scan, While
from ..ir.printer import format_node
from ..ir.program import Function, Program, require_program
from ..ir.types import is_literal
from .callable import entry_operands
from .evaluate import Evaluator

__all__ = ["Divergence", "first_divergence"]

_Externals = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which two programs have different values.

    Parameters
    ----------
    first, second : str
        The node in each program, as it prints; for a value that is returned as it came, the output.
    first_source, second_source : str
        The model's lines.
    trail : tuple of str
        What leads from the entry to the function that holds the node: names of functions, and iterations of loops.
    first_value, second_value : ndarray
        The result that differs; keys as their words.
    max_abs_difference : float or None
        None if the shapes differ or the difference is not a number.
    """

    first: str
    second: str
    first_source: str
    second_source: str
    trail: tuple[str, ...]
    first_value: np.ndarray[Any, Any]
    second_value: np.ndarray[Any, Any]
    max_abs_difference: float | None

    def __str__(self) -> str:
        lines = [f"the values part in {' > '.join(self.trail)}"]
        if self.max_abs_difference is not None:
            lines[0] += f", by at most {self.max_abs_difference:.3g}"
        for title, text, source, value in (
            ("first: ", self.first, self.first_source, self.first_value),
            ("second:", self.second, self.second_source, self.second_value),
        ):
            lines.append(f"  {title} {text}" + (f"  # {source}" if source else ""))
            lines.append(f"    = {np.array2string(value, threshold=8, edgeitems=3, prefix='    = ')}")
        return "\n".join(lines)


def first_divergence(
    first: Program,
    second: Program,
    *args: Any,
    rtol: float = 0.0,
    atol: float = 0.0,
    externals: _Externals | None = None,
    **kwargs: Any,
) -> Divergence | None:
    """Run two programs on the same arguments, and find the first node whose values differ.

    Nodes are matched as :func:`~brainir.diff` matches them, and run one by one, without fusion. Nodes without a
    counterpart are passed over. The search goes into calls, derivative rules' primal functions, the branch of a
    ``cond`` that is taken, and the iterations of ``scan`` and ``while``.

    Parameters
    ----------
    first, second : Program
    *args, **kwargs
        Arguments that both programs take; see :func:`~brainir.to_callable`.
    rtol, atol : float
        Values differ if ``|a - b| > atol + rtol * |b|``; by default, if they are not equal. NaN equals NaN.
    externals : mapping, optional
        Functions for the named externals of the programs.

    Returns
    -------
    Divergence or None
        The first in the order of `first`; None if all values with a counterpart agree.

    Raises
    ------
    VerificationError
        If a program breaks an invariant.
    EmissionError
        If a program does not take the arguments.
    """
    require_program(first, second)
    return _Lockstep(first, second, rtol, atol, externals or {}).entry(args, kwargs)


class _Lockstep:
    def __init__(self, first: Program, second: Program, rtol: float, atol: float, externals: _Externals) -> None:
        self._externals = externals
        self._programs = first, second
        self._matching = ProgramMatching(first, second)
        self._runs = _Runner(first, externals), _Runner(second, externals)
        self._rtol, self._atol = rtol, atol

    def entry(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Divergence | None:
        first, second = (entry_operands(program, args, kwargs, self._externals) for program in self._programs)
        return self._compare(self._matching.functions[0], first, second, (self._programs[0].entry,))

    def _compare(
        self, pair: FunctionMatching, first: list[Any], second: list[Any], trail: tuple[str, ...]
    ) -> Divergence | None:
        mine, other = self._runs[0].values(pair.old, first), self._runs[1].values(pair.new, second)
        for before, after in pair.matched_nodes():
            for name, partner in zip(before.outputs, after.outputs, strict=False):
                if self._differ(mine[name], other[partner]):
                    found = self._inside(before, after, mine, other, trail)
                    return found or self._divergence(before, after, mine[name], other[partner], trail)
        for position, partner_position in pair.outputs:
            name, partner = pair.old.outputs[position], pair.new.outputs[partner_position]
            if not (is_literal(name) or is_literal(partner)) and self._differ(mine[name], other[partner]):
                return self._divergence(f"return {name}", f"return {partner}", mine[name], other[partner], trail)
        return None

    def _inside(
        self, before: Node, after: Node, mine: dict[str, Any], other: dict[str, Any], trail: tuple[str, ...]
    ) -> Divergence | None:
        """Look for the first divergence in the functions that two nodes run."""
        first, second = [mine[name] for name in before.inputs], [other[name] for name in after.inputs]
        if isinstance(before, Scan) and isinstance(after, Scan):
            return self._inside_scan(before, after, first, second, trail)
        if isinstance(before, While) and isinstance(after, While):
            return self._inside_while(before, after, first, second, trail)
        if isinstance(before, Cond) and isinstance(after, Cond):
            taken = [
                node.branches[min(max(int(operands[0]), 0), len(node.branches) - 1)]
                for node, operands in ((before, first), (after, second))
            ]
            return self._inside_function(taken[0], taken[1], first[1:], second[1:], trail)
        names = getattr(before, "function", None), getattr(after, "function", None)
        if isinstance(names[0], str) and isinstance(names[1], str):
            return self._inside_function(names[0], names[1], first, second, trail)
        return None

    def _inside_function(
        self, old: str, new: str, first: list[Any], second: list[Any], trail: tuple[str, ...]
    ) -> Divergence | None:
        pair = self._matching.pair(old, new)
        return self._compare(pair, first, second, (*trail, old)) if pair is not None else None

    def _inside_scan(
        self, before: Scan, after: Scan, first: list[Any], second: list[Any], trail: tuple[str, ...]
    ) -> Divergence | None:
        steps = zip(self._runs[0].iterations(before, first), self._runs[1].iterations(after, second), strict=False)
        for (index, mine, my_results), (_, other, other_results) in steps:
            if any(map(self._differ, my_results, other_results)):
                inner = (*trail, f"iteration {index} of {before.length}")
                return self._inside_function(before.body, after.body, mine, other, inner)
        return None

    def _inside_while(
        self, before: While, after: While, first: list[Any], second: list[Any], trail: tuple[str, ...]
    ) -> Divergence | None:
        rounds = zip(self._runs[0].rounds(before, first), self._runs[1].rounds(after, second), strict=False)
        for count, (mine, other) in enumerate(rounds):
            inner = (*trail, f"iteration {count}")
            if mine.goes_on != other.goes_on:
                return self._inside_function(before.cond, after.cond, mine.tested, other.tested, inner)
            if any(map(self._differ, mine.carry, other.carry)):
                return self._inside_function(before.body, after.body, mine.given, other.given, inner)
        return None

    # Values

    def _differ(self, first: Any, second: Any) -> bool:
        mine, other = _numbers(first), _numbers(second)
        if mine.shape != other.shape or mine.dtype != other.dtype:
            return True
        if mine.dtype.names is not None or not mine.size:
            return False
        exact = mine.dtype.kind in "biu" or not (self._rtol or self._atol)
        if exact:
            return not bool(np.all((mine == other) | ((mine != mine) & (other != other))))
        wide = np.complex128 if mine.dtype.kind == "c" else np.float64
        close = np.allclose(mine.astype(wide), other.astype(wide), self._rtol, self._atol, equal_nan=True)
        return not close

    def _divergence(
        self, before: Node | str, after: Node | str, first: Any, second: Any, trail: tuple[str, ...]
    ) -> Divergence:
        mine, other = _numbers(first), _numbers(second)
        return Divergence(
            first=format_node(before) if isinstance(before, Node) else before,
            second=format_node(after) if isinstance(after, Node) else after,
            first_source=before.source if isinstance(before, Node) else "",
            second_source=after.source if isinstance(after, Node) else "",
            trail=trail,
            first_value=mine,
            second_value=other,
            max_abs_difference=largest_difference(mine, other),
        )


class _Round(NamedTuple):
    """A round of a ``while`` loop: the operands of its condition and of its body, and what is carried after it."""

    tested: list[Any]
    given: list[Any]
    carry: list[Any]
    goes_on: bool


class _Runner:
    """Runs the functions of a program and keeps what every node computes."""

    def __init__(self, program: Program, externals: _Externals) -> None:
        self._program = program
        self._externals = externals
        self._evaluator = Evaluator(program, externals)

    def run(self, name: str, operands: Sequence[Any]) -> list[Any]:
        """Return the outputs of a function."""
        return list(self._evaluator.function(name)(*operands))

    def values(self, function: Function, operands: Sequence[Any]) -> dict[str, Any]:
        """Return every value of a function, its literals included."""
        names = dict.fromkeys(function.value_types)
        names.update(dict.fromkeys(name for node in function.nodes for name in node.inputs))
        probe = function.replace(name=_free_name(self._program), outputs=tuple(names))
        probed = self._program.replace(functions=(*self._program.functions, probe))
        return dict(zip(names, Evaluator(probed, self._externals).function(probe.name)(*operands), strict=True))

    def iterations(self, node: Scan, operands: list[Any]) -> Iterator[tuple[int, list[Any], list[Any]]]:
        """Yield index, operands and results of the body of a scan, one iteration after the other."""
        split = node.num_consts + node.num_carry
        consts, carry, stacked = operands[: node.num_consts], operands[node.num_consts : split], operands[split:]
        order = range(node.length)
        for index in reversed(order) if node.reverse else order:
            given = [*consts, *carry, *(array[index] for array in stacked)]
            results = self.run(node.body, given)
            yield index, given, results
            carry = results[: node.num_carry]

    def rounds(self, node: While, operands: list[Any]) -> Iterator[_Round]:
        """Yield the rounds of a loop; the last is the one whose condition does not hold."""
        split = node.cond_nconsts + node.body_nconsts
        of_cond, of_body, carry = operands[: node.cond_nconsts], operands[node.cond_nconsts : split], operands[split:]
        while True:
            tested, given = [*of_cond, *carry], [*of_body, *carry]
            if not bool(self.run(node.cond, tested)[0]):
                yield _Round(tested, given, carry, goes_on=False)
                return
            carry = self.run(node.body, given)
            yield _Round(tested, given, carry, goes_on=True)


def _free_name(program: Program) -> str:
    name = "probe"
    while name in program.table:
        name += "_"
    return name


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    if jnp.issubdtype(getattr(value, "dtype", np.dtype(bool)), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value)
