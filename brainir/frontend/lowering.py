"""Jaxprs to functions of a program: which rule lowers which equation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from ..ir.errors import LoweringError
from ..ir.node import Node
from ..ir.ops import schema_of
from ..ir.program import Function
from . import control, equations, jax_compat, mesh_regions, parallel
from .body import Body
from .derivatives import custom
from .derivatives.activity import LazyActivity, Roots
from .derivatives.refusals import NoRuleError
from .derivatives.rule_lowering import RuleBody
from .externals import CALLBACKS, callback, custom_call
from .foreign import equinox
from .jax_compat import OpenJaxpr
from .memory.dependencies import Dependencies
from .memory.functions import known_function
from .memory.rules import NodeByRules
from .refused import refusal
from .rules import OTHER_OPS, RULES, Attributes, Operation, UnsupportedError, operation_of
from .session import Session
from .table import identifier

__all__ = ["Lowering", "lower_jaxpr", "lowered_ops", "lowered_primitives"]


def lower_jaxpr(
    jaxpr: OpenJaxpr, name: str, inputs: Sequence[str], outputs: dict[int, str], keep: Collection[str] = ()
) -> tuple[Function, ...]:
    """Lower the jaxpr of a program and everything in it.

    Parameters
    ----------
    jaxpr : OpenJaxpr
    name : str
        Name of the entry function.
    inputs : sequence of str
        Names of its inputs.
    outputs : dict of int to str
        Names for results by position, where a node defines them.
    keep : collection of str
        Names of primitives that are left as they are.

    Returns
    -------
    tuple of Function
        The entry first; then the functions that it needs in order of first reference, equal ones once.

    Raises
    ------
    LoweringError
        Listing everything that cannot be lowered.
    """
    session = Session(keep)
    table, problems = session.table, session.problems
    name = table.new_name(name)
    lowering = Lowering(session, Roots(LazyActivity(jaxpr)), Dependencies())
    try:
        table.define(name, known_function(lowering.function(jaxpr, name, inputs, outputs)))
    except UnsupportedError as error:
        problems.append(f"{name}: {error}")
    if problems:
        listed = "\n".join(f"  {index}. {text}" for index, text in enumerate(dict.fromkeys(problems), 1))
        raise LoweringError(f"the program has parts that brainir cannot lower:\n{listed}")
    return session.nested.finished(name)


@dataclass(frozen=True, slots=True)
class Lowering:
    """Lowers what is at one place of a program; it does not change, and what is further in is lowered by another one.

    Parameters
    ----------
    session : Session
        What is the same all over the program.
    roots : Roots
        What is differentiated by itself, and open here.
    dependencies : Dependencies
        What the function around depends on.
    in_region : bool
        Whether the place is under a mesh with axes of other kinds than the program around it.
    source : str
        The innermost line of the model around: inside a function of a framework, that of the call.
    """

    session: Session
    roots: Roots
    dependencies: Dependencies
    in_region: bool = False
    source: str = ""

    def apart(self) -> Lowering:
        """Return what lowers rules that are met here apart from this program."""
        return self._with(session=Session(self.session.keep, around=self.session), dependencies=Dependencies())

    def _with(self, **changes: Any) -> Lowering:
        return dataclasses.replace(self, **changes)

    def store_rules(self, bodies: Mapping[str, RuleBody]) -> None:
        """Lower derivative rules, and store each under its name, whatever equals it."""
        for name, body in bodies.items():
            root = LazyActivity(jax_compat.open_jaxpr(body.closed), body.still, body.tangents)
            inner = self._with(roots=self.roots.opened(root))
            self.session.table.define(name, inner.function(root.jaxpr, name))

    def own(self, closed: Any, name: str, still: Collection[int] = ()) -> str:
        """Lower a jaxpr apart from the rule that it is met in, as one that is not a rule, and store the function.

        Some of its inputs may never be perturbed.
        """
        root = LazyActivity(jax_compat.open_jaxpr(closed), frozenset(still))
        return self._with(roots=self.roots.opened(root)).shared(closed, name)

    def function(
        self, jaxpr: OpenJaxpr, name: str, inputs: Sequence[str] = (), outputs: dict[int, str] | None = None
    ) -> Function:
        """Lower a jaxpr, without storing the function."""
        return Body(self, jaxpr, inputs, outputs or {}).function(name)

    def tried(self, jaxpr: OpenJaxpr, name: str) -> Function | None:
        """Lower a jaxpr that is not part of the program; None, as if it had not been tried, if that cannot be done."""
        return self.session.tried(lambda: self.function(jaxpr, name))

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
        with jax.sharding.use_abstract_mesh(mesh):
            return self.session.table.stored(self._with(in_region=True).function(jaxpr, "on_mesh"))

    def _shared(self, closed: Any, name: str, is_kept: bool) -> str:
        nested, wanted = self.session.nested, identifier(name)
        if len(self.roots) == 1 and not self.session.is_apart:
            nested.recall(closed, wanted, is_kept)

        def lower(depends: Dependencies) -> Function:
            return self._with(dependencies=depends).function(jax_compat.open_jaxpr(closed), wanted)

        return nested.lowered(closed, wanted, self.dependencies, lower)

    def by_rule(self, equation: Any, name: str, made_of: Any, lower: Callable[[Lowering], NodeByRules]) -> Attributes:
        """Return attributes of what an equation runs by a rule: lowered apart from the program, or remembered."""
        rules = self.session.rules
        return rules.lowered(self, rules.key(equation, name, made_of), lower).node.attributes

    def external(self, function: Any) -> str:
        """Return the name by which a Python function that a file cannot hold is given at emission."""
        return self.session.externals.of(function)

    def equation(self, equation: Any, source: str) -> Node:
        """Lower an equation to a node without operands; note it and return a stand-in if that cannot be done."""
        name = equation.primitive.name
        if name in _PLAIN and name not in self.session.keep and not jax_compat.marks(equation):
            try:
                return _plain_node(name, equation.params)
            except UnsupportedError:
                pass  # said below
        here = self._with(source=source) if source else self
        try:
            return _node(here._operation(equation, name))
        except NoRuleError as error:
            self.dependencies.tie()
            return _node(Operation("no_derivative", {"function": error.function, "reason": str(error)}))
        except UnsupportedError as error:
            where = f", at {here.source}" if here.source else ""
            self.session.problems.append(f"{name}: {error}{where}")
            return _node(Operation("stop_gradient", {}))

    def _operation(self, equation: Any, name: str) -> Operation:
        marks = jax_compat.marks(equation)
        if marks:
            raise UnsupportedError(f"within {', '.join(marks)}, which tells the compiler something; leave it out")
        if name not in _ALONE:
            self.dependencies.tie()
        if name in self.session.keep:
            return custom_call(equation)
        if name in _PLAIN:
            return operation_of(name, equation.params)
        if name in CALLBACKS:
            return callback(equation, self.session.externals)
        if name in _HARD:
            op, rule = _HARD[name]
            return Operation.of(op, rule(self, equation))
        reason = refusal(name)
        if reason is not None:
            raise UnsupportedError(reason)
        return self.session.foreign.lower(self, equation)


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
