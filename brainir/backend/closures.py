"""Backend expressions as Python closures over JAX."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.ad_checkpoint
import jax.experimental
import jax.extend
from jax import lax
from jax import numpy as jnp

from ..ir.errors import EmissionError
from ..ir.ops import MeshShape
from .bindings import Bindings
from .expressions import (
    Apply,
    Attribute,
    BatchingRuleOf,
    CallableOf,
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
    walk,
)
from .prelude import prelude
from .rules.parallel import spec_expression
from .values import literal_array

__all__ = ["Closures", "Environment", "constant", "is_constant", "resolve", "split_at"]

Environment = dict[str, Any]
Compiled = Callable[[Environment], Any]

_MODULES: dict[str, Any] = {
    "ad_checkpoint": jax.ad_checkpoint,
    "builtins": builtins,
    "experimental": jax.experimental,
    "jax": jax,
    "jnp": jnp,
    "lax": lax,
    "prelude": prelude,
    "primitives": jax.extend.core.primitives,
}


class Closures:
    """Turns expressions into functions of an environment, which holds values by their names.

    Parameters
    ----------
    bindings : Bindings
        Externals and primitives by name.
    callables : callable
        Gives the Python function that an expression stands for.
    """

    def __init__(self, bindings: Bindings, callables: Callable[[CallableOf], Callable[..., Any]]) -> None:
        self._bindings = bindings
        self._callables = callables

    def of(self, expression: Expression) -> Compiled:
        """Turn an expression into a function of the environment."""
        match expression:
            case Operand(name, as_array=True):
                array = literal_array(name)
                return lambda env: array
            case Operand(name):
                return lambda env: env[name]
            case Variable(name):
                key = _variable(name)
                return lambda env: env[key]
            case Literal(value):
                return lambda env: value
            case Name(dotted):
                found = resolve(dotted)
                return lambda env: found
            case FunctionOf() | JitOf() | CustomJvpOf() | CustomVjpOf():
                # Looked up on use: a derivative rule may call the function that it belongs to.
                return lambda env: self._callables(expression)
            case ExternalOf(name, text):
                external = self._bindings.external(name, text)
                return lambda env: external
            case BatchingRuleOf(name):
                rule = self._bindings.batching_rule(name)
                return lambda env: rule
            case MeshOf(shape, is_abstract):
                return lambda env: _mesh(shape, is_abstract)
            case ShardingOf(sharding, is_abstract):
                spec = constant(spec_expression(sharding))
                options = {} if sharding.memory is None else {"memory_kind": sharding.memory}
                return lambda env: jax.sharding.NamedSharding(_mesh(sharding.mesh, is_abstract), spec, **options)
            case PrimitiveOf(name):
                primitive = self._bindings.primitive(name)
                return lambda env: primitive
            case ListOf(items):
                parts = self._tuple(items)
                return lambda env: list(parts(env))
            case DictOf(keys, items):
                values, names = self._tuple(items), keys
                return lambda env: dict(zip(names, values(env), strict=True))
            case Apply(function, arguments, keywords):
                return self._call(function, arguments, keywords)
            case Tuple(items):
                return self._tuple(items)
            case SplitAt(value, index):
                whole = self.of(value)
                return lambda env: split_at(whole(env), index)
            case Join(value):
                pair = self.of(value)
                return lambda env: _join(pair(env))
            case Item(value, index):
                sequence = self.of(value)
                return lambda env: sequence(env)[index]
            case Attribute(value, name):
                owner = self.of(value)
                return lambda env: getattr(owner(env), name)
            case Lambda(parameters, body):
                result = self.of(body)
                variables = tuple(map(_variable, parameters))
                read = [part for part in walk(body) if isinstance(part, Operand | Variable)]
                needed = {part.name if isinstance(part, Operand) else _variable(part.name) for part in read}
                return functools.partial(_closure, result, variables, needed)
            case Splat():
                raise TypeError("a Splat stands only among arguments or items")

    def _call(
        self, function: Expression, arguments: Sequence[Expression], keywords: Mapping[str, Expression]
    ) -> Compiled:
        called = self.of(function)
        positional = self._tuple(arguments)
        named = {name: self.of(value) for name, value in keywords.items()}
        if all(isinstance(value, Operand) and not value.as_array for value in arguments) and all(
            map(is_constant, keywords.values())
        ):
            fixed = {name: constant(value) for name, value in keywords.items()}
            names = [value.name for value in arguments if isinstance(value, Operand)]
            return lambda env: called(env)(*[env[name] for name in names], **fixed)
        return lambda env: called(env)(*positional(env), **{name: value(env) for name, value in named.items()})

    def _tuple(self, items: Sequence[Expression]) -> Compiled:
        parts = [(self.of(item.value), True) if isinstance(item, Splat) else (self.of(item), False) for item in items]

        def build(env: Environment) -> tuple[Any, ...]:
            values: list[Any] = []
            for part, several in parts:
                values.extend(part(env)) if several else values.append(part(env))
            return tuple(values)

        return build


def _mesh(shape: MeshShape, is_abstract: bool) -> Any:
    """Return a mesh of the devices that there are when it is asked for."""
    made = prelude.abstract_mesh if is_abstract else prelude.mesh
    return made(shape.names, shape.sizes, shape.types)


def _variable(name: str) -> str:
    """Return the key of a lambda's parameter, which no value of a program can have."""
    return f"*{name}"


def _closure(result: Compiled, variables: tuple[str, ...], needed: set[str], env: Environment) -> Callable[..., Any]:
    """Return a function that keeps only what it needs: JAX keeps the function, and it would keep what is traced."""
    held = {name: env[name] for name in needed if name in env}
    return lambda *values: result({**held, **dict(zip(variables, values, strict=True))})


def is_constant(expression: Expression) -> bool:
    """Whether an expression is a name, a literal, or a call or tuple of these, and so depends on no value."""
    match expression:
        case Literal() | Name():
            return True
        case Tuple(items):
            return all(map(is_constant, items))
        case Apply(function, arguments, keywords):
            return all(map(is_constant, (function, *arguments, *keywords.values())))
    return False


def constant(expression: Expression) -> Any:
    """Return what such an expression stands for."""
    match expression:
        case Literal(value):
            return value
        case Name(dotted):
            return resolve(dotted)
        case Tuple(items):
            return tuple(map(constant, items))
        case Apply(function, arguments, keywords):
            named = {name: constant(value) for name, value in keywords.items()}
            return constant(function)(*map(constant, arguments), **named)
    raise TypeError(f"{expression!r} depends on values")


@functools.cache
def resolve(dotted: str) -> Any:
    """Return what a dotted name stands for.

    Raises
    ------
    EmissionError
        If this JAX does not have it.
    """
    module, *path = dotted.split(".")
    try:
        return functools.reduce(getattr, path, _MODULES[module])
    except AttributeError:
        raise EmissionError(
            f"JAX {jax.__version__} has no {dotted}; correct the attribute of the node, or use the JAX that has it"
        ) from None


def split_at(values: Sequence[Any], index: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the values before a place, and the others."""
    return tuple(values[:index]), tuple(values[index:])


def _join(pair: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    first, second = pair
    return (*first, *second)
