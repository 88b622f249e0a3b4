"""Evaluation of backend expressions: programs as Python closures over JAX."""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.ad_checkpoint
import jax.experimental
import jax.extend
import numpy as np
from jax import lax
from jax import numpy as jnp

from ..ir.encoding import dump_bare_node
from ..ir.errors import EmissionError, NotStoredError
from ..ir.node import Node
from ..ir.program import Constant, Function, Program
from ..ir.types import TensorType, is_literal, literal_array, literal_type
from . import symbolic_zeros, unnamed, unvmap, wrapping
from .bindings import Bindings
from .exact import bind, is_bound
from .expressions import (
    Apply,
    Attribute,
    CustomJvpOf,
    CustomVjpOf,
    DictOf,
    Expression,
    ExternalOf,
    FunctionOf,
    Item,
    JitOf,
    Join,
    Lambda,
    ListOf,
    Literal,
    MeshOf,
    Name,
    Operand,
    PrimitiveOf,
    ShardingOf,
    Splat,
    SplitAt,
    Tuple,
    Variable,
    reads,
)
from .meshes import mesh_of, placed, sharding_of
from .rules import KEY_IMPLEMENTATIONS, expression_of, gives_tuple

__all__ = ["Evaluator"]

Environment = dict[str, Any]
Compiled = Callable[[Environment], Any]

_MODULES: dict[str, Any] = {
    "ad_checkpoint": jax.ad_checkpoint,
    "builtins": builtins,
    "experimental": jax.experimental,
    "jax": jax,
    "jnp": jnp,
    "lax": lax,
    "primitives": jax.extend.core.primitives,
    "symbolic_zeros": symbolic_zeros,
    "unnamed": unnamed,
    "unvmap": unvmap,
    "wrapping": wrapping,
}
_NO_SCOPE = contextlib.nullcontext()
_WIDE = frozenset(("float64", "int64", "uint64", "complex128"))


class Evaluator:
    """Builds and keeps one Python function for each function of a program.

    Raises
    ------
    EmissionError
        If the program needs 64-bit types and JAX has them switched off.
    """

    def __init__(self, program: Program, externals: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._program = program
        self._bindings = Bindings(program, externals or {})
        self._built: dict[Any, Callable[..., Any]] = {}
        self._steps: dict[Any, tuple[Callable[..., Any], bool]] = {}
        self._check_wide_types()

    def _check_wide_types(self) -> None:
        if jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # set by name at run time
            return
        for function in self._program.functions:
            for name, kind in function.value_types.items():
                if TensorType.parse(kind).dtype in _WIDE:
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
        fixed: Environment = {constant.name: _constant_value(constant) for constant in function.constants}
        for operand in {*function.outputs, *(name for node in function.nodes for name in node.inputs)}:
            if is_literal(operand):
                fixed[operand] = _literal_value(operand)
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
            return lambda *operands: bind(node, operands, self), gives_tuple(node)
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
            case Apply(Name(dotted), arguments, keywords) if arguments == tuple(map(Operand, places)) and not _varies(
                keywords.values()
            ):
                fixed = {name: self._compile(value)({}) for name, value in keywords.items()}
                return functools.partial(_resolve(dotted), **fixed) if fixed else _resolve(dotted)
        compiled = self._compile(expression)
        return lambda *operands: compiled(dict(zip(places, operands, strict=True)))

    def closed(self, name: str, operands: Sequence[Any], dropped: int = 0) -> Any:
        """See :class:`~brainir.backend.exact.Tracer`; JAX remembers what it has traced."""
        function = self._program.function(name)
        specs = [abstract(TensorType.parse(kind)) for kind in function.types]
        if not jax.sharding.get_abstract_mesh().empty:
            specs = [placed(spec, operand) for spec, operand in zip(specs, operands, strict=True)]
        return jax.make_jaxpr(self.function(name))(*specs)

    def _compile(self, expression: Expression) -> Compiled:
        """Turn an expression into a function of the environment."""
        match expression:
            case Operand(name, as_array=True):
                array = _literal_array(name)
                return lambda env: array
            case Operand(name):
                return lambda env: env[name]
            case Variable(name):
                key = _variable(name)
                return lambda env: env[key]
            case Literal(value):
                return lambda env: value
            case Name(dotted):
                found = _resolve(dotted)
                return lambda env: found
            case FunctionOf() | JitOf() | CustomJvpOf() | CustomVjpOf():
                # Looked up on use: a derivative rule may call the function that it belongs to.
                return lambda env: self._callable(expression)
            case ExternalOf(name, text):
                external = self._bindings.external(name, text)
                return lambda env: external
            case MeshOf(shape):
                return lambda env: mesh_of(shape)
            case ShardingOf(sharding):
                return lambda env: sharding_of(sharding)
            case PrimitiveOf(name):
                primitive = self._bindings.primitive(name)
                return lambda env: primitive
            case ListOf(items):
                parts = self._compile_tuple(items)
                return lambda env: list(parts(env))
            case DictOf(keys, items):
                values, names = self._compile_tuple(items), keys
                return lambda env: dict(zip(names, values(env), strict=True))
            case Apply(function, arguments, keywords):
                return self._compile_call(function, arguments, keywords)
            case Tuple(items):
                return self._compile_tuple(items)
            case SplitAt(value, index):
                whole = self._compile(value)
                return lambda env: _split_at(whole(env), index)
            case Join(value):
                pair = self._compile(value)
                return lambda env: _join(pair(env))
            case Item(value, index):
                sequence = self._compile(value)
                return lambda env: sequence(env)[index]
            case Attribute(value, name):
                owner = self._compile(value)
                return lambda env: getattr(owner(env), name)
            case Lambda(parameters, body):
                result = self._compile(body)
                variables = tuple(map(_variable, parameters))
                needed = {part.name if isinstance(part, Operand) else _variable(part.name) for part in reads(body)}
                return functools.partial(_closure, result, variables, needed)
            case Splat():
                raise TypeError("a Splat stands only among arguments or items")

    def _compile_call(
        self, function: Expression, arguments: Sequence[Expression], keywords: Mapping[str, Expression]
    ) -> Compiled:
        called = self._compile(function)
        positional = self._compile_tuple(arguments)
        named = {name: self._compile(value) for name, value in keywords.items()}
        if all(isinstance(value, Operand) and not value.as_array for value in arguments) and not _varies(
            keywords.values()
        ):
            fixed = {name: value({}) for name, value in named.items()}
            names = [value.name for value in arguments if isinstance(value, Operand)]
            return lambda env: called(env)(*[env[name] for name in names], **fixed)
        return lambda env: called(env)(*positional(env), **{name: value(env) for name, value in named.items()})

    def _compile_tuple(self, items: Sequence[Expression]) -> Compiled:
        parts = [
            (self._compile(item.value), True) if isinstance(item, Splat) else (self._compile(item), False)
            for item in items
        ]

        def build(env: Environment) -> tuple[Any, ...]:
            values: list[Any] = []
            for part, several in parts:
                values.extend(part(env)) if several else values.append(part(env))
            return tuple(values)

        return build

    def _callable(self, key: FunctionOf | JitOf | CustomJvpOf | CustomVjpOf) -> Callable[..., Any]:
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
        kinds, results = self._signature(key.function)
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
        kinds, results = self._signature(key.function)
        wrapped = jax.custom_vjp(run)

        def forward(*operands: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return _split_at(self.function(key.fwd)(*operands), len(results))

        def backward(residuals: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
            moving = [cotangent for cotangent, kind in zip(cotangents, results, strict=True) if kind.is_inexact]
            given = iter(self.function(key.bwd)(*residuals, *moving))
            return tuple(next(given) if kind.is_inexact else None for kind in kinds)

        wrapped.defvjp(forward, backward)
        return wrapped

    def _signature(self, name: str) -> tuple[list[TensorType], list[TensorType]]:
        function = self._program.function(name)
        return [TensorType.parse(kind) for kind in function.types], [
            function.type_of(name) for name in function.outputs
        ]


@functools.lru_cache(maxsize=1 << 12)
def abstract(kind: TensorType) -> jax.ShapeDtypeStruct:
    """Return a type as JAX has it."""
    if kind.is_key:
        keys = jax.eval_shape(functools.partial(jax.random.key, impl=KEY_IMPLEMENTATIONS[kind.dtype[4:-1]]), 0)
        return jax.ShapeDtypeStruct(kind.shape, keys.dtype)
    dtype = jax.dtypes.float0 if kind.dtype == "float0" else kind.storage[0]
    return jax.ShapeDtypeStruct(kind.shape, dtype, weak_type=kind.weak_type)


def _attributes(node: Node) -> tuple[str, ...]:
    """Return the attributes of a node as a key; 1, 1.0 and True are different in it."""
    if not node.attribute_names():
        return ()
    return dump_bare_node(node, (), ()), *(node.callees() if node.reference_names() else ())


def _variable(name: str) -> str:
    """Return the key of a lambda's parameter, which no value of a program can have."""
    return f"*{name}"


def _closure(result: Compiled, variables: tuple[str, ...], needed: set[str], env: Environment) -> Callable[..., Any]:
    """Return a function that keeps only what it needs: JAX keeps the function, and it would keep what is traced."""
    held = {name: env[name] for name in needed if name in env}
    return lambda *values: result({**held, **dict(zip(variables, values, strict=True))})


def _varies(expressions: Any) -> bool:
    """Whether any of the expressions depends on the environment."""
    for expression in expressions:
        match expression:
            case Literal() | Name():
                continue
            case Apply(function, arguments, keywords):
                if _varies((function, *arguments, *keywords.values())):
                    return True
            case Tuple(items):
                if _varies(items):
                    return True
            case _:
                return True
    return False


@functools.cache
def _resolve(dotted: str) -> Any:
    module, *path = dotted.split(".")
    try:
        return functools.reduce(getattr, path, _MODULES[module])
    except AttributeError:
        raise EmissionError(
            f"JAX {jax.__version__} has no {dotted}; correct the attribute of the node, or use the JAX that has it"
        ) from None


def _split_at(values: Sequence[Any], index: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return tuple(values[:index]), tuple(values[index:])


def _join(pair: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    first, second = pair
    return (*first, *second)


def _literal_value(operand: str) -> Any:
    value, kind = literal_array(operand)[()], literal_type(operand)
    if not kind.weak_type:
        return value
    plain = value.item()
    if jnp.result_type(plain) == kind.dtype:
        return plain
    return _literal_array(operand)


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Make arrays at once, whatever they hold: a program may have a constant of NaN that nothing runs into."""
    with jax.core.eval_context(), jax.debug_nans(False), jax.debug_infs(False):
        yield


def _literal_array(operand: str) -> Any:
    value, kind = literal_array(operand), literal_type(operand)
    with _unchecked():
        return lax.convert_element_type_p.bind(
            jnp.asarray(value), new_dtype=value.dtype, weak_type=kind.weak_type, sharding=None
        )


def _constant_value(constant: Constant) -> Any:
    kind = TensorType.parse(constant.type)
    if kind.dtype == "float0":
        return np.zeros(kind.shape, jax.dtypes.float0)
    with _unchecked():
        if kind.is_key:
            return jax.random.wrap_key_data(jnp.asarray(constant.array()), impl=KEY_IMPLEMENTATIONS[kind.dtype[4:-1]])
        array = jnp.asarray(constant.array())
        if not kind.weak_type:
            return array
        return lax.convert_element_type_p.bind(array, new_dtype=array.dtype, weak_type=True, sharding=None)
