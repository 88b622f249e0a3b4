"""Jaxprs to functions of a program: which rule lowers which equation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..ir.errors import LoweringError
from ..ir.node import Node
from ..ir.ops import schema_of
from ..ir.program import Function
from . import control, equations, jax_compat, mesh_regions, parallel
from .body import Body
from .derivatives import custom
from .derivatives.activity import LazyActivity, Roots
from .derivatives.refusals import NoRuleError
from .derivatives.rule_lowering import RuleBody, RuleLowering
from .externals import CALLBACKS, ExternalNames, callback, custom_call
from .foreign import equinox
from .foreign.primitives import ForeignPrimitives
from .jax_compat import OpenJaxpr
from .keys.function_keys import FunctionKeys
from .keys.lowering_keys import LoweringKeys
from .memory.functions import known_function
from .memory.nested import NestedFunctions
from .memory.remembering import Remembering
from .memory.rules import NodeByRules
from .refused import refusal
from .rules import OTHER_OPS, RULES, Attributes, Operation, UnsupportedError, operation_of
from .table import Table, identifier

__all__ = ["Lowering", "lowered_ops", "lowered_primitives"]


class Lowering:
    """Lowers one program, and gathers everything that cannot be lowered.

    Parameters
    ----------
    keep : collection of str
        Names of primitives that are left as they are.
    only_rules : bool
        Whether this lowers nothing but rules, apart from a program.

    Attributes
    ----------
    table : Table
        The functions so far.
    problems : list of str
        What cannot be lowered.
    externals : ExternalNames
        What is called on the host.
    memory : Remembering
        What was lowered in other programs.
    nested : NestedFunctions
        The functions by the jaxprs that they come from.
    rules : RuleLowering
        What equations run by rules.
    foreign : ForeignPrimitives
        Primitives of other packages.
    roots : Roots
        What is differentiated by itself, and open.
    in_region : bool
        Whether what is lowered runs under a mesh with axes of other kinds than the program around it.
    """

    def __init__(self, keep: Collection[str] = (), only_rules: bool = False) -> None:
        self.keep = frozenset(keep)
        self.only_rules = only_rules
        self.table = Table()
        self.problems: list[str] = []
        lasting, within = FunctionKeys(), LoweringKeys()
        self.externals = ExternalNames(lasting, within)
        self.memory = Remembering(self.keep, lasting)
        self.nested = NestedFunctions(self.table, self.memory, self.keep)
        self.rules = RuleLowering(self.memory, within)
        self.foreign = ForeignPrimitives(self.rules)
        self.in_region = False
        self.roots = Roots()
        self._open_sources: list[str] = []
        self._octets: dict[int, tuple[Any, bytes]] = {}

    def apart(self) -> Lowering:
        """Return what lowers rules apart from this program."""
        inner = Lowering(self.keep, only_rules=True)
        inner.in_region = self.in_region
        inner._open_sources = [*self._open_sources]
        inner.roots = Roots(self.roots)
        inner._octets = self._octets
        return inner

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
        name = self.table.new_name(name)
        try:
            with self.roots.opened(LazyActivity(jaxpr)):
                self.table.functions[name] = known_function(self.function(jaxpr, name, inputs, outputs))
        except UnsupportedError as error:
            self.problems.append(f"{name}: {error}")
        if self.problems:
            listed = "\n".join(f"  {index}. {text}" for index, text in enumerate(dict.fromkeys(self.problems), 1))
            raise LoweringError(f"the program has parts that brainir cannot lower:\n{listed}")
        return self.nested.finished(name)

    def store_rules(self, bodies: Mapping[str, RuleBody]) -> None:
        """Lower derivative rules, and store each under its name, whatever equals it."""
        for name, body in bodies.items():
            root = LazyActivity(jax_compat.open_jaxpr(body.closed), body.still, body.tangents)
            with self.roots.opened(root):
                self.table.functions[name] = self.function(root.jaxpr, name)

    def own(self, closed: Any, name: str, still: Collection[int] = ()) -> str:
        """Lower a jaxpr apart from the rule that it is met in, as one that is not a rule, and store the function.

        Some of its inputs may never be perturbed.
        """
        with self.roots.opened(LazyActivity(jax_compat.open_jaxpr(closed), frozenset(still))):
            return self.shared(closed, name)

    def function(
        self, jaxpr: OpenJaxpr, name: str, inputs: Sequence[str] = (), outputs: dict[int, str] | None = None
    ) -> Function:
        """Lower a jaxpr, without storing the function."""
        return Body(self, jaxpr, inputs, outputs or {}).function(name)

    def tried(self, jaxpr: OpenJaxpr, name: str) -> Function | None:
        """Lower a jaxpr that is not part of the program; None, as if it had not been tried, if that cannot be done."""
        noted: tuple[dict[Any, Any], ...] = (
            self.nested.met,
            self.nested.kept,
            self.rules.known,
            self.foreign.functions,
        )
        before, problems = [each.copy() for each in noted], len(self.problems)
        whole = False
        try:
            function = self.function(jaxpr, name)
            whole = len(self.problems) == problems
        finally:
            if not whole:
                # Where the program holds a part of it, too, that is still to be said.
                del self.problems[problems:]
                for each, held in zip(noted, before, strict=True):
                    each.clear()
                    each.update(held)
        return function if whole else None

    def shared(self, closed: Any, name: str | None = None) -> str:
        """Lower a nested jaxpr, or find the equal function lowered before.

        It is named after the Python function that was traced, where no name is given.
        """
        return self._shared(closed, jax_compat.function_name(closed) if name is None else name, False)

    def jitted(self, closed: Any, name: str) -> str:
        """Lower the function of a nested jit, which JAX traces once for all programs, or find it as above."""
        return self._shared(closed, name, True)

    def region(self, jaxpr: OpenJaxpr, mesh: Any) -> str:
        """Lower a part of a jaxpr that runs under another mesh, or find the equal function; return its name."""
        outer, self.in_region = self.in_region, True
        try:
            with jax.sharding.use_abstract_mesh(mesh):
                return self.table.stored(self.function(jaxpr, "on_mesh"))
        finally:
            self.in_region = outer

    def _shared(self, closed: Any, name: str, is_kept: bool) -> str:
        wanted = identifier(name)
        if len(self.roots) == 1 and not self.only_rules:
            self.nested.recall(closed, wanted, is_kept)
        return self.nested.lowered(closed, wanted, lambda: self.function(jax_compat.open_jaxpr(closed), wanted))

    def by_rule(self, equation: Any, name: str, made_of: Any, lower: Callable[[Lowering], NodeByRules]) -> Attributes:
        """Return attributes of what an equation runs by a rule: lowered apart from the program, or remembered."""
        return self.rules.lowered(self, self.rules.key(equation, name, made_of), lower).node.attributes

    def external(self, function: Any) -> str:
        """Return the name by which a Python function that a file cannot hold is given at emission."""
        return self.externals.of(function)

    def octets(self, value: Any, array: np.ndarray[Any, Any]) -> bytes:
        """Return the bytes of an array that is a value of JAX, the same object wherever it is the same value."""
        known = self._octets.get(id(value))
        if known is None:
            # The value is kept alive, because its id is the key. One of numpy can change while rules are traced.
            known = value, np.ascontiguousarray(array).tobytes()
            if isinstance(value, jax.Array):
                self._octets[id(value)] = known
        return known[1]

    def lower_equation(self, equation: Any, source: str) -> Node:
        """Lower an equation to a node without operands; note it and return a stand-in if that cannot be done."""
        name = equation.primitive.name
        if name in _PLAIN and name not in self.keep and not jax_compat.marks(equation):
            try:
                return _plain_node(name, equation.params)
            except UnsupportedError:
                pass  # said below
        self._open_sources.append(source)
        try:
            return _node(self._operation(equation, name))
        except NoRuleError as error:
            self.nested.tie()
            return _node(Operation("no_derivative", {"function": error.function, "reason": str(error)}))
        except UnsupportedError as error:
            # Inside a function of a framework, the line is that of the call.
            where = next(filter(None, reversed(self._open_sources)), "")
            self.problems.append(f"{name}: {error}" + (f", at {where}" if where else ""))
            return _node(Operation("stop_gradient", {}))
        finally:
            self._open_sources.pop()

    def _operation(self, equation: Any, name: str) -> Operation:
        marks = jax_compat.marks(equation)
        if marks:
            raise UnsupportedError(f"within {', '.join(marks)}, which tells the compiler something; leave it out")
        if name not in _ALONE:
            self.nested.tie()
        if name in self.keep:
            return custom_call(equation)
        if name in _PLAIN:
            return operation_of(name, equation.params)
        if name in CALLBACKS:
            return callback(equation, self.externals)
        if name in _HARD:
            op, rule = _HARD[name]
            return Operation.of(op, rule(self, equation))
        reason = refusal(name)
        if reason is not None:
            raise UnsupportedError(reason)
        return self.foreign.lower(self, equation)


_HARD: dict[str, tuple[str, Callable[[Lowering, Any], Attributes | Operation]]] = {
    **control.RULES,
    **parallel.RULES,
    **mesh_regions.RULES,
    **equinox.RULES,
    **equations.RULES,
    **custom.RULES,
}
"""Primitives whose rules see the whole equation, most because they run other functions, with operation and rule."""

_PLAIN = frozenset(RULES) - {*CALLBACKS, *_HARD}
"""Primitives whose parameters alone say what they are: most of a program."""

_ALONE = frozenset(_HARD) - {
    *parallel.RULES,
    *mesh_regions.RULES,
    "custom_vmap_call",
    "linear_call",
    "noinline",
}
"""Primitives that nothing around them matters to, but for what their derivative rules depend on."""


def _node(made: Operation) -> Node:
    blank = dict(op=made.op, inputs=(), outputs=(), types=(), scope="", source="")
    return schema_of(made.op).checked({**blank, **made.attributes})


def _plain_node(primitive: str, params: dict[str, Any]) -> Node:
    try:
        return _remembered_node(primitive, tuple(params.items()))
    except TypeError:  # a parameter cannot be hashed
        return _node(operation_of(primitive, params))


@functools.lru_cache(maxsize=1 << 12)
def _remembered_node(primitive: str, params: tuple[tuple[str, Any], ...]) -> Node:
    return _node(operation_of(primitive, dict(params)))


def lowered_ops() -> frozenset[str]:
    """Return the operations that JAX primitives are lowered to."""
    named = (*CALLBACKS.values(), "custom_call", "no_derivative", "scatter_apply", *OTHER_OPS)
    return frozenset((*named, *(op for op, _ in (*RULES.values(), *_HARD.values()))))


def lowered_primitives() -> frozenset[str]:
    """Return the primitives that have a rule."""
    return frozenset((*RULES, *_HARD, *CALLBACKS)) - mesh_regions.RULES.keys()
