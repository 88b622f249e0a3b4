"""What the doors of the frontend share: arguments by name, one trace, and the program of what was traced."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from types import FunctionType, MethodType
from typing import Any, TypeVar

import jax
import numpy as np
from jax import numpy as jnp

from ..ir.errors import LoweringError, StateError
from ..ir.interface import Argument, Interface, State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Function, Program
from ..ir.trees import leaf_paths
from ..ir.verifier import ensure_verified
from . import jax_compat, jaxprs
from .jax_compat import OpenJaxpr
from .lowering import lower_jaxpr
from .naming import value_names
from .table import identifier
from .tracing import trace
from .trees import TreeReader

__all__ = [
    "bind_arguments",
    "build_program",
    "check_state_types",
    "function_name",
    "input_names",
    "read_arguments",
    "strong",
    "trace_entry",
]

Result = TypeVar("Result")

_SHOWN = 80  # letters of what is no array


def bind_arguments(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], list[tuple[str, Any, bool]]]:
    """Return the arguments with as many as possible positional, as the signature of `fn` has them, and a list of all.

    The list holds name, value and whether it is passed by keyword; keywords are sorted as JAX does.
    """
    names = None if kwargs else _plain_names(fn, len(args))
    if names is not None:
        return args, {}, [(name, value, False) for name, value in zip(names, args, strict=True)]
    parameters: Sequence[inspect.Parameter] = ()
    try:
        signature = inspect.signature(fn)
        bound = signature.bind(*args, **kwargs)
        args, kwargs, parameters = bound.args, bound.kwargs, [*signature.parameters.values()]
    except ValueError:
        pass  # a callable that does not tell its signature
    except TypeError as error:
        if not callable(fn):
            raise LoweringError(
                f"a function comes first, then its example arguments; {type(fn).__name__} is none"
            ) from error
        raise LoweringError(f"{function_name(fn)} cannot be called with the example arguments: {error}") from error
    plain = [part.name for part in parameters if part.kind in (part.POSITIONAL_ONLY, part.POSITIONAL_OR_KEYWORD)]
    rest = next((part.name for part in parameters if part.kind is part.VAR_POSITIONAL), "arg")
    names = [*plain[: len(args)], *(f"{rest}_{index}" for index in range(len(args) - len(plain)))]
    listed = [(name, value, False) for name, value in zip(names, args, strict=True)]
    return args, kwargs, listed + [(name, kwargs[name], True) for name in sorted(kwargs)]


def read_arguments(listed: Iterable[tuple[str, Any, bool]], reader: TreeReader) -> tuple[Argument, ...]:
    """Return what an interface says of arguments as :func:`bind_arguments` lists them."""
    return tuple(
        [Argument(name=name, tree=reader.read(value, name), keyword=keyword) for name, value, keyword in listed]
    )


def _plain_names(fn: Callable[..., Any], count: int) -> list[str] | None:
    """Return the names of so many positional arguments of a function that takes no others; None if it is not that."""
    if isinstance(fn, MethodType):
        names = _plain_names(fn.__func__, count + 1)
        return names[1:] if names and fn.__func__.__code__.co_argcount else None
    if not isinstance(fn, FunctionType) or vars(fn) or fn.__code__.co_kwonlyargcount:
        return None
    code = fn.__code__
    plain, takes_more = code.co_argcount, bool(code.co_flags & inspect.CO_VARARGS)
    if count < plain or (count > plain and not takes_more):
        return None
    rest = code.co_varnames[plain] if takes_more else ""
    return [*code.co_varnames[:plain], *(f"{rest}_{index}" for index in range(count - plain))]


def function_name(fn: Callable[..., Any]) -> str:
    """Return an identifier for a callable."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return identifier(getattr(fn, "__name__", type(fn).__name__))


def strong(leaf: Any) -> Any:
    """Return an array or Python number as JAX takes it, without weak type; anything else as it is."""
    if isinstance(leaf, np.ndarray):
        return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    if not isinstance(leaf, bool | int | float | complex) and not getattr(leaf, "weak_type", False):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer):
        # The same data: to convert an array, JAX compiles a program for its shape.
        parts = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)
    return jax.lax.convert_element_type(leaf, jnp.result_type(leaf))


def check_state_types(paths: Sequence[StatePath], old: Sequence[Any], new: Sequence[Any]) -> None:
    """Check that each state leaf keeps dtype and shape.

    Raises
    ------
    StateError
        Naming the path of the state that does not.
    """
    for path, before, after in zip(paths, old, new, strict=False):
        kept = jax_compat.tensor_type(jax.typeof(before) if not hasattr(before, "dtype") else before)
        kind = jax_compat.tensor_type(after)
        if (kept.dtype, kept.shape) != (kind.dtype, kind.shape):
            raise StateError(
                f"state {format_path(path)} changes its type in the step, from {kept} to {kind}; "
                "a state must keep dtype and shape (convert or reshape the new value before it is stored)"
            )


def trace_entry(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    names: Sequence[str],
    read: Callable[[Any], Result],
) -> tuple[Any, Result]:
    """Trace `fn`, whose inputs have `names`; return the closed jaxpr and what `read` finds in the result.

    It reads while `fn` is traced: a class that takes nothing but arrays is not made of anything else.
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    if not all(map(_is_array_like, leaves)):
        placed = [*jax.tree.leaves_with_path(args), *jax.tree.leaves_with_path(kwargs)]
        path, leaf = next((path, leaf) for path, leaf in placed if not _is_array_like(leaf))
        raise LoweringError(
            f"an example argument holds {leaf!r:.{_SHOWN}} at {jax.tree_util.keystr(path)}, which is not an array; fix "
            "such arguments with functools.partial, take what is no array out of a container (equinox.partition does), "
            "and register classes of arrays (jax.tree_util.register_dataclass does)"
        )
    for leaf in leaves:
        if not all(isinstance(size, int | np.integer) for size in getattr(leaf, "shape", ())):
            raise LoweringError(
                f"an example argument has the sizes {leaf.shape}, which are symbols; lower with numbers"
            )
    results: list[Result] = []

    def flat(*operands: Any) -> list[Any]:
        inner_args, inner_kwargs = jax.tree.unflatten(structure, operands)
        result = fn(*inner_args, **inner_kwargs)
        values = jax.tree.leaves(result)
        if odd := [value for value in values if not _is_array_like(value) or isinstance(value, jax_compat.ABSTRACT)]:
            said = f"the result holds {odd[0]!r:.{_SHOWN}}, which is not an array"
            raise LoweringError(f"{said}; return arrays and numbers only, in containers that JAX knows")
        results.append(read(result))
        return values

    closed = trace(flat, leaves, fn, names)
    return closed, results[-1]


def _is_array_like(leaf: Any) -> bool:
    if isinstance(leaf, jax.core.Tracer | jax.Array):
        return True
    if isinstance(leaf, np.ndarray | np.generic):
        is_record = leaf.dtype.names is not None and leaf.dtype != jax.dtypes.float0
        return leaf.dtype.kind not in "OSUMm" and not is_record  # objects, texts and times
    return isinstance(leaf, bool | int | float | complex) or (hasattr(leaf, "dtype") and hasattr(leaf, "shape"))


def input_names(states: Sequence[State], arguments: Sequence[Argument]) -> tuple[str, ...]:
    """Return the names of the inputs of an entry: the leaves of its states, then those of its arguments.

    A state without a path, as where all of `hidden` is one array, is called what it is.
    """
    of_states = [path or (state.role,) for state in states for path, _ in leaf_paths(state.tree, state.path)]
    of_arguments = [path for argument in arguments for path, _ in leaf_paths(argument.tree, (argument.name,))]
    return value_names((*of_states, *of_arguments))


def build_program(jaxpr: OpenJaxpr, name: str, interface: Interface, keep: Collection[str] = ()) -> Program:
    """Lower a traced entry whose inputs and outputs are the leaves of `interface`, and verify the result."""
    inputs = input_names(interface.states, interface.arguments)
    states = [state for state in interface.states for _ in leaf_paths(state.tree)]
    new_names = [f"{name}_new" for name, state in zip(inputs, states, strict=False) if state.returned]
    functions = _lowered(jaxpr, identifier(name), inputs, dict(enumerate(new_names)), keep)
    program = Program(entry=functions[0].name, interface=interface, functions=functions)
    ensure_verified(program)
    return program


def _lowered(jaxpr: OpenJaxpr, *given: Any) -> tuple[Function, ...]:
    with contextlib.suppress(LoweringError):
        return lower_jaxpr(jaxpr, *given)
    # What cannot be lowered matters only where something needs it.
    return lower_jaxpr(jaxprs.without_dead(jaxpr), *given)
