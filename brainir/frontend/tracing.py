"""Tracing as :func:`jax.make_jaxpr` does it, without the ``jit`` that this makes of the function first.

Making it costs more than tracing a function of a few equations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
from jax.api_util import debug_info, shaped_abstractify
from jax.extend import linear_util
from jax.interpreters import partial_eval

from .jax_compat import as_closed

__all__ = ["evaluated", "make_jaxpr", "manual_axes", "trace", "within_shard_map", "without_source"]

Result = TypeVar("Result")

_ANY_OPERANDS = inspect.Signature([inspect.Parameter("operands", inspect.Parameter.VAR_POSITIONAL)])


def trace(
    flat: Callable[..., Sequence[Any]],
    operands: Sequence[Any],
    fn: Callable[..., Any],
    names: Sequence[str] | None = None,
) -> Any:
    """Trace a function of arrays that returns a list of arrays; return the closed jaxpr.

    Parameters
    ----------
    flat : callable
    operands : sequence
        Arrays, Python numbers or what stands for them, such as ``jax.ShapeDtypeStruct``.
    fn : callable
        What JAX names when something goes wrong, with its line.
    names : sequence of str, optional
        What it calls the operands.
    """
    if jax.config.jax_debug_key_reuse or jax.config.jax_no_tracing:  # type: ignore[attr-defined]  # set by name
        return jax.make_jaxpr(flat)(*operands)  # it looks for what these settings forbid
    try:
        kinds = [shaped_abstractify(operand) for operand in operands]
    except OverflowError:
        return jax.make_jaxpr(flat)(*operands)  # it says which of them is too large
    if not all(type(kind) is jax.core.ShapedArray for kind in kinds):
        return jax.make_jaxpr(flat)(*operands)  # references, and types of packages: it does more for those
    info = debug_info("jit", fn, (), {}, signature=_ANY_OPERANDS)
    info = info._replace(arg_names=None if names is None else tuple(names))
    jaxpr, _, consts = partial_eval.trace_to_jaxpr_dynamic(linear_util.wrap_init(flat, debug_info=info), kinds)
    return as_closed(jaxpr, consts)


def make_jaxpr(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that traces `fn` for pytrees of arrays, given by position; the closed jaxpr has the leaves."""

    def traced(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)

        def flat(*operands: Any) -> list[Any]:
            return jax.tree.leaves(fn(*jax.tree.unflatten(structure, operands)))

        return trace(flat, leaves, fn)

    return traced


def manual_axes(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the axes of its mesh that a ``shard_map`` divides its operands over."""
    return frozenset(params["newly_manual_axes"] if "newly_manual_axes" in params else params["manual_axes"])


def evaluated(closed: Any, *operands: Any) -> list[Any]:
    """Return what a closed jaxpr computes, as part of what is being traced."""
    values: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *operands)
    return values


def within_shard_map(params: Mapping[str, Any], run: Callable[[], Result]) -> Result:
    """Call a function where JAX knows the axes of a ``shard_map``, as when it traces the function of that."""
    found: list[Result] = []

    def body() -> tuple[()]:
        found.append(run())
        return ()

    options = {"mesh": params["mesh"], "axis_names": manual_axes(params), "check_vma": params["check_vma"]}
    jax.eval_shape(jax.shard_map(body, in_specs=(), out_specs=(), **options))
    return found[0]


def without_source(jaxpr: Any) -> Any:
    """Return a jaxpr that does not say which Python function it was traced from."""
    return jaxpr.replace(debug_info=_UNKNOWN)


_UNKNOWN = debug_info("jit", lambda: (), (), {}, sourceinfo="<unknown>")._replace(arg_names=None, result_paths=None)
