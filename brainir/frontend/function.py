"""Plain functions and pure step functions to programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax

from ..ir.collector import collector_paused
from ..ir.errors import LoweringError, StateError
from ..ir.interface import Interface, Role, State
from ..ir.printer import format_tree
from ..ir.program import Program
from ..ir.trees import LeafTree, Tree, leaf_paths
from ..jax_switches import established_primitives
from .entry import (
    bind_arguments,
    build_program,
    check_state_types,
    function_name,
    input_names,
    read_arguments,
    strong,
    trace_entry,
)
from .jax_compat import open_jaxpr
from .keys.wrapped import jitted
from .trees import ResultReader, TreeReader

__all__ = ["lower", "lower_step"]


@collector_paused()
@established_primitives()
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
    arguments = read_arguments(listed, reader)

    def read(result: Any) -> Tree:
        return ResultReader(reader).read(result, "result")

    try:
        closed, result = trace_entry(fn, positional, keywords, input_names((), arguments), read)
    except Exception as error:
        if _is_module(fn):
            error.add_note("To lower a brainstate module together with its states, use brainir.lower_module.")
        if _has_static_arguments(fn):
            error.add_note("To give a jitted function its static arguments, fix them with functools.partial.")
        raise
    interface = Interface(kind="function", arguments=arguments, result=result, units=reader.units)
    return build_program(open_jaxpr(closed), function_name(fn), interface, kept)


@collector_paused()
@established_primitives()
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
    arguments = read_arguments(listed[2:], reader)
    states = _leaf_states(param_tree, hidden_tree)

    def read(result: Any) -> tuple[Tree, Tree]:
        if not (isinstance(result, tuple) and len(result) == 2):
            given = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
            raise StateError(f"the step must return (hidden, out), not {given}")
        results = ResultReader(reader)
        return results.read(result[0], "new hidden"), results.read(result[1], "out")

    closed, (new_tree, out_tree) = trace_entry(fn, positional, {}, input_names(states, arguments), read)
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
