"""Plain functions and pure step functions to programs."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from types import FunctionType, MethodType
from typing import Any, TypeVar

import jax
import numpy as np
from jax import numpy as jnp

from ..ir.collector import collector_paused
from ..ir.errors import LoweringError, StateError
from ..ir.interface import Argument, Interface, LeafTree, Role, State, Tree, leaf_paths
from ..ir.model import StatePath
from ..ir.printer import format_path, format_tree
from ..ir.program import Program
from ..ir.verifier import ensure_verified
from . import jax_compat
from .jax_compat import OpenJaxpr, open_jaxpr
from .keys.wrapped import jitted
from .lowering import Lowering
from .naming import value_names
from .table import identifier
from .tracing import trace
from .trees import ResultReader, TreeReader

__all__ = ["bind_arguments", "build_program", "lower", "lower_step", "strong"]

Result = TypeVar("Result")

_SHOWN = 80  # letters of what is no array


@collector_paused()
def lower(fn: Callable[..., Any], *args: Any, keep: str | Collection[str] = (), **kwargs: Any) -> Program:
    """Turn a JAX function into a program.

    Parameters
    ----------
    fn : callable
        Any function that JAX can trace.
    *args, **kwargs
        Example arguments: pytrees of arrays, Python numbers, quantities or ``jax.ShapeDtypeStruct``. Numbers and
        booleans are traced, too: what shall stay a Python value, such as a flag, is fixed with ``functools.partial``.
    keep : str or collection of str
        Names of primitives to leave as they are, as ``custom_call`` nodes. What they compute is bound again with
        :func:`~brainir.register_primitive`.

    Returns
    -------
    Program
        With ``to_callable`` it becomes a function of the same arguments and result.

    Raises
    ------
    LoweringError
        If `fn` uses operations or containers that cannot be stored; every place is listed.
    """
    kept = _names(keep)
    positional, keywords, listed = bind_arguments(fn, args, kwargs)
    reader = TreeReader()
    arguments = tuple(
        Argument(name=name, tree=reader.read(value, name), keyword=keyword) for name, value, keyword in listed
    )

    def read(result: Any) -> Tree:
        return ResultReader(reader).read(result, "result")

    try:
        closed, result = _trace(fn, positional, keywords, input_names((), arguments), read)
    except Exception as error:
        if _is_module(fn):
            error.add_note("To lower a brainstate module together with its states, use brainir.lower_module.")
        if _has_static_arguments(fn):
            error.add_note("To give a jitted function its static arguments, fix them with functools.partial.")
        raise
    interface = Interface(kind="function", arguments=arguments, result=result, units=reader.units)
    return build_program(open_jaxpr(closed), function_name(fn), interface, kept)


@collector_paused()
def lower_step(fn: Callable[..., Any], params: Any, hidden: Any, *inputs: Any) -> Program:
    """Turn a pure step of a recurrent network into a program that knows parameters and hidden states.

    Parameters
    ----------
    fn : callable
        ``fn(params, hidden, *inputs) -> (hidden, out)``.
    params, hidden : pytree
        Each leaf of `params` becomes a parameter and each leaf of `hidden` a hidden state, under its path and strongly
        typed. If a parameter and a hidden state have one path, all paths begin with ``"params"`` or ``"hidden"``.
    *inputs : pytree

    Returns
    -------
    Program

    Raises
    ------
    LoweringError
        If `fn` uses operations or containers that cannot be stored.
    StateError
        If `fn` does not return ``(hidden, out)`` with hidden as it came in: structure, shapes, dtypes, units.
    """
    params, hidden = jax.tree.map(strong, (params, hidden))
    reader = TreeReader()
    param_tree, hidden_tree = reader.read(params, "params"), reader.read(hidden, "hidden")
    positional, _, listed = bind_arguments(fn, (params, hidden, *inputs), {})
    arguments = tuple(Argument(name=name, tree=reader.read(value, name)) for name, value, _ in listed[2:])
    states = _leaf_states(param_tree, hidden_tree)

    def read(result: Any) -> tuple[Tree, Tree]:
        if not (isinstance(result, tuple) and len(result) == 2):
            given = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
            raise StateError(f"the step must return (hidden, out), not {given}")
        results = ResultReader(reader)
        return results.read(result[0], "new hidden"), results.read(result[1], "out")

    closed, (new_tree, out_tree) = _trace(fn, positional, {}, input_names(states, arguments), read)
    if not reader.is_same(new_tree, hidden_tree):
        raise StateError(
            "the step must return hidden with the structure and units that it takes\n"
            f"  in:  {format_tree(hidden_tree)}\n  out: {format_tree(new_tree)}"
        )
    check_state_types([state.path for state in states if state.returned], jax.tree.leaves(hidden), closed.out_avals)
    interface = Interface(
        kind="step",
        states=states,
        arguments=arguments,
        result=out_tree,
        units=reader.units,
        params=param_tree,
        hidden=hidden_tree,
    )
    return build_program(open_jaxpr(closed), function_name(fn), interface)


def _names(keep: object) -> frozenset[str]:
    names = [keep] if isinstance(keep, str) else [*keep] if isinstance(keep, Iterable) else [keep]
    if not all(isinstance(name, str) for name in names):
        raise LoweringError(f"keep must hold names of primitives, not {keep!r}")
    return frozenset(names)


def _is_module(fn: object) -> bool:
    brainstate = sys.modules.get("brainstate")
    return brainstate is not None and isinstance(fn, brainstate.nn.Module)


def _has_static_arguments(fn: object) -> bool:
    _, options = jitted(fn) or (None, {})
    return bool(options.get("static_argnums") or options.get("static_argnames"))


def _leaf_states(params: Tree, hidden: Tree) -> tuple[State, ...]:
    trees: tuple[tuple[Role, str, Tree], ...] = (("param", "params", params), ("hidden", "hidden", hidden))
    shared = {path for path, _ in leaf_paths(params)} & {path for path, _ in leaf_paths(hidden)}
    return tuple(
        State(path=path, role=role, type=role, tree=LeafTree(unit=leaf.unit), returned=role == "hidden")
        for role, root, tree in trees
        for path, leaf in leaf_paths(tree, (root,) if shared else ())
    )


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


def _trace(
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
    functions = Lowering(keep).program(jaxpr, identifier(name), inputs, dict(enumerate(new_names)))
    program = Program(entry=functions[0].name, interface=interface, functions=functions)
    ensure_verified(program)
    return program
