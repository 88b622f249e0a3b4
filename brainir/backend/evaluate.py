"""Evaluation of programs: a Python function over JAX for each of their functions."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..ir.encoding import dump_bare_node
from ..ir.errors import EmissionError, NotStoredError
from ..ir.node import Node
from ..ir.program import Function, Program
from ..ir.types import TensorType, is_literal
from .bindings import Bindings
from .bound_primitives import bind, is_bound
from .closures import Closures, Environment, constant, is_constant, resolve, split_at
from .expressions import Apply, CallableOf, CustomJvpOf, CustomVjpOf, FunctionOf, JitOf, Name, Operand
from .rules import expression_of, gives_tuple
from .values import abstract, constant_value, literal_value, placed

__all__ = ["Evaluator"]

_NO_SCOPE = contextlib.nullcontext()
_PLAIN = frozenset((type(None), bool, int, str))


class Evaluator:
    """Builds and keeps one Python function for each function of a program.

    Raises
    ------
    EmissionError
        If the program needs 64-bit types and JAX has them switched off, or keys that JAX does not know.
    """

    def __init__(self, program: Program, externals: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._program = program
        bindings = Bindings(program, externals or {})
        self._closures = Closures(bindings, self._callable)
        self._built: dict[Any, Callable[..., Any]] = {}
        self._steps: dict[Any, tuple[Callable[..., Any], bool]] = {}
        self._check_types()
        # Made now: within a shard_map, JAX makes no array outside of the mesh around.
        self._constants = {
            function.name: {constant.name: constant_value(constant) for constant in function.constants}
            for function in program.functions
        }

    def _check_types(self) -> None:
        narrow = not jax.config.jax_enable_x64  # type: ignore[attr-defined]  # set by name at run time
        for function in self._program.functions:
            for text in dict.fromkeys(function.value_types.values()):
                kind = TensorType.parse(text)
                if kind.is_key:
                    abstract(kind)
                elif narrow and kind.is_wide:
                    name = next(name for name, each in function.value_types.items() if each == text)
                    raise EmissionError(
                        f"value {name!r} of function {function.name!r} is {kind}, and JAX has 64-bit types off; "
                        "call jax.config.update('jax_enable_x64', True) first"
                    )

    def function(self, name: str) -> Callable[..., tuple[Any, ...]]:
        """Return a Python function from inputs to a tuple of outputs."""
        if name not in self._built:
            self._built[name] = self._build(self._program.function(name))
        return self._built[name]

    def _build(self, function: Function) -> Callable[..., tuple[Any, ...]]:
        fixed: Environment = {**self._constants[function.name]}
        for operand in {*function.outputs, *(name for node in function.nodes for name in node.inputs)}:
            if is_literal(operand):
                fixed[operand] = literal_value(operand)
        parts = [
            (scope, [(*self._step(node, function), node.inputs, node.outputs) for node in nodes])
            for scope, nodes in itertools.groupby(function.nodes, key=lambda node: node.scope)
        ]
        inputs, outputs = function.inputs, function.outputs

        def run(*operands: Any) -> tuple[Any, ...]:
            env = {**fixed, **dict(zip(inputs, operands, strict=True))}
            for scope, steps in parts:
                with jax.named_scope(scope) if scope else _NO_SCOPE:
                    for step, several, arguments, names in steps:
                        results = step(*[env[name] for name in arguments])
                        if not names:
                            continue
                        if several:
                            env.update(zip(names, results, strict=True))
                        else:
                            env[names[0]] = results
            return tuple([env[name] for name in outputs])

        run.__name__ = run.__qualname__ = function.name
        return run

    def _step(self, node: Node, function: Function) -> tuple[Callable[..., Any], bool]:
        """Return what computes a node from its operands, and whether that gives a tuple; one for all that are alike."""
        if is_bound(node):
            return lambda *operands: bind(node, operands, self._closed), gives_tuple(node)
        kinds = function.value_types
        key = (node.op, tuple([kinds.get(name, name) for name in node.inputs]), len(node.outputs), _attributes(node))
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = self._made_step(node, function), gives_tuple(node)
        return step

    def _made_step(self, node: Node, function: Function) -> Callable[..., Any]:
        # Places stand for names, so that the step serves nodes with other operands of the same types.
        places = tuple([name if is_literal(name) else f"{place}" for place, name in enumerate(node.inputs)])
        types = {place: function.type_of(name) for place, name in zip(places, node.inputs, strict=True)}
        expression = expression_of(node.model_copy(update={"inputs": places}), types.__getitem__)
        match expression:
            case Apply(Name(dotted), arguments, keywords) if arguments == tuple(map(Operand, places)) and all(
                map(is_constant, keywords.values())
            ):
                fixed = {name: constant(value) for name, value in keywords.items()}
                return functools.partial(resolve(dotted), **fixed) if fixed else resolve(dotted)
        compiled = self._closures.of(expression)
        return lambda *operands: compiled(dict(zip(places, operands, strict=True)))

    def _closed(self, name: str, operands: Sequence[Any]) -> Any:
        """Return the closed jaxpr of a function; JAX remembers what it has traced.

        Of the operands, or their types, only the place in a mesh is read; what is scanned has an axis more in front.
        """
        function = self._program.function(name)
        types = [abstract(TensorType.parse(kind)) for kind in function.types]
        specs = [placed(spec, operand) for spec, operand in zip(types, operands, strict=True)]
        jitted: Any = self._callable(JitOf(name))
        return jitted.trace(*specs).jaxpr

    def _callable(self, key: CallableOf) -> Callable[..., Any]:
        if key not in self._built:
            match key:
                case FunctionOf(name):
                    self._built[key] = self.function(name)
                case JitOf(name, inline, keep_unused, donated):
                    self._built[key] = jax.jit(
                        self.function(name), inline=inline, keep_unused=keep_unused, donate_argnums=donated
                    )
                case CustomJvpOf():
                    self._built[key] = self._custom_jvp(key)
                case CustomVjpOf():
                    self._built[key] = self._custom_vjp(key)
        return self._built[key]

    def _custom_jvp(self, key: CustomJvpOf) -> Callable[..., Any]:
        run = self.function(key.function)
        function = self._program.function(key.function)
        kinds, results = function.input_types, function.output_types
        wrapped = jax.custom_jvp(run)

        def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            if key.missing:
                raise NotStoredError(key.missing)
            moving = [tangent for tangent, kind in zip(tangents, kinds, strict=True) if kind.is_inexact]
            values = self.function(key.jvp)(*primals, *moving)
            given = iter(values[len(results) :])
            full = [next(given) if kind.is_inexact else np.zeros(kind.shape, jax.dtypes.float0) for kind in results]
            return values[: len(results)], tuple(full)

        wrapped.defjvp(rule)
        return wrapped

    def _custom_vjp(self, key: CustomVjpOf) -> Callable[..., Any]:
        run = self.function(key.function)
        function = self._program.function(key.function)
        kinds, results = function.input_types, function.output_types
        wrapped = jax.custom_vjp(run)

        def forward(*operands: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return split_at(self.function(key.fwd)(*operands), len(results))

        def backward(residuals: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
            moving = [cotangent for cotangent, kind in zip(cotangents, results, strict=True) if kind.is_inexact]
            given = iter(self.function(key.bwd)(*residuals, *moving))
            return tuple(next(given) if kind.is_inexact else None for kind in kinds)

        wrapped.defvjp(forward, backward)
        return wrapped


def _attributes(node: Node) -> tuple[object, ...]:
    """Return the attributes of a node as a key; 1, 1.0 and True are different in it."""
    names = node.attribute_names()
    if not names:
        return ()
    values = node.__dict__
    held = [values[name] for name in names]
    kinds = [*map(type, held)]
    if _PLAIN.issuperset(kinds):
        return *kinds, *held
    return dump_bare_node(node, (), ()), *(node.callees() if node.refers else ())
