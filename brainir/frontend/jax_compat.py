"""Every name that JAX may move or rename, but those of rules, implementations, references, scans, tracing and keys.

Those are in `derivatives/jax_*.py`, `foreign/primitive_rules`, `foreign/implementations`, `jax_references`,
`jax_scans`, `tracing` and `keys/wrapped`.

A jaxpr is read through :func:`open_jaxpr` only, because ``ClosedJaxpr`` and ``Jaxpr`` became one class in JAX 0.12.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend import core as jex_core

from ..ir.types import KEY_DTYPES, TensorType, literal_text
from .discharge import makes_references, without_references
from .rules import UnsupportedError
from .rules.shardings import is_explicit

__all__ = [
    "ABSTRACT",
    "Literal",
    "OpenJaxpr",
    "as_closed",
    "batching_rule",
    "bind",
    "callback_parts",
    "constant_array",
    "equation_traceback",
    "function_name",
    "is_mapped",
    "is_ordered",
    "is_sequential",
    "is_unspecified",
    "jit_inlines",
    "kept_jaxpr",
    "literal_operand",
    "marks",
    "mesh_around",
    "moves",
    "moving_places",
    "name_stack",
    "open_jaxpr",
    "spec_of",
    "tensor_type",
    "threefry_partitionable",
    "traceback_frames",
    "type_text",
    "type_texts",
    "unusual_jit_params",
    "varying",
    "without_scopes",
]

Equation = Any

ABSTRACT = (jax.ShapeDtypeStruct, jax.core.ShapedArray)
"""What says of an array only its type."""


Literal = jex_core.Literal
"""An operand of an equation that is a number rather than a variable."""


class OpenJaxpr(NamedTuple):
    """What lowering reads of a jaxpr: variables, equations, constants, and the Python function it was traced from."""

    invars: Sequence[Any]
    outvars: Sequence[Any]
    constvars: Sequence[Any]
    consts: Sequence[Any]
    equations: Sequence[Equation]
    function_name: str
    function_file: str


def open_jaxpr(closed: Any) -> OpenJaxpr:
    """Read a closed jaxpr; references that live in it have become values."""
    info = closed.jaxpr.debug_info
    if makes_references(closed.jaxpr):
        closed = without_references(closed)
    jaxpr = closed.jaxpr
    return OpenJaxpr(
        jaxpr.invars,
        jaxpr.outvars,
        jaxpr.constvars,
        closed.consts,
        jaxpr.eqns,
        function_name(closed),
        (info.func_filename or "") if info is not None else "",
    )


def function_name(closed: Any) -> str:
    """Return the name of the Python function that a closed jaxpr was traced from."""
    info = closed.jaxpr.debug_info
    return (info.func_name or "") if info is not None else ""


def as_closed(jaxpr: Any, consts: Sequence[Any] = ()) -> Any:
    """Return a jaxpr with the values of its constants; a closed one as it is."""
    if not consts and hasattr(jaxpr, "consts") and hasattr(jaxpr, "jaxpr"):
        return jaxpr
    return jex_core.ClosedJaxpr(jaxpr, tuple(consts))


def kept_jaxpr(closed: Any) -> Any:
    """Return what JAX keeps of a closed jaxpr, the same object wherever it hands out that jaxpr again."""
    return closed if closed.consts else closed.jaxpr


def literal_operand(atom: Any) -> str:
    """Write a jaxpr literal as an IR operand."""
    value, aval = np.asarray(atom.val), atom.aval
    return _literal(value.tobytes(), value.dtype, np.dtype(aval.dtype), bool(getattr(aval, "weak_type", False)))


@functools.lru_cache(maxsize=1 << 14)
def _literal(octets: bytes, held: np.dtype[Any], dtype: np.dtype[Any], weak_type: bool) -> str:
    return literal_text(np.frombuffer(octets, held).reshape(()).astype(dtype), weak_type)


def tensor_type(aval: Any) -> TensorType:
    """Return the IR type of an abstract value.

    Raises
    ------
    UnsupportedError
        If that is a token, one of hijax, which stands for several arrays, or has an element type of another package.
    """
    if not hasattr(aval, "dtype"):
        raise UnsupportedError(f"a value of the type {aval}, a token or of the experimental hijax; give its arrays")
    return _tensor_type(aval.dtype, aval.shape, bool(getattr(aval, "weak_type", False)))


def type_text(aval: Any) -> str:
    """Return the IR type of an abstract value as text."""
    try:
        return _type_text(aval.dtype, aval.shape, aval.weak_type)
    except AttributeError:
        return "float0[]"  # a token, or a type of hijax: the equation that gives it is refused


def type_texts(variables: Sequence[Any]) -> tuple[str, ...]:
    """Return the IR types of variables of a jaxpr as texts."""
    try:
        avals = [var.aval for var in variables]
        return tuple([_type_text(aval.dtype, aval.shape, aval.weak_type) for aval in avals])
    except AttributeError:
        return tuple([type_text(var.aval) for var in variables])


@functools.lru_cache(maxsize=1 << 14)
def _tensor_type(dtype: Any, shape: tuple[Any, ...], weak_type: bool) -> TensorType:
    extended = jnp.issubdtype(dtype, jax.dtypes.extended)
    if extended and str(dtype) not in KEY_DTYPES:
        raise UnsupportedError(f"a value of the element type {dtype}, which is none of JAX's; give the arrays in it")
    name = "float0" if dtype == jax.dtypes.float0 else str(dtype) if extended else np.dtype(dtype).name
    return TensorType(name, tuple(int(dim) for dim in shape), weak_type)


@functools.lru_cache(maxsize=1 << 14)
def _type_text(dtype: Any, shape: tuple[Any, ...], weak_type: bool) -> str:
    return str(_tensor_type(dtype, shape, weak_type))


def moves(aval: Any) -> bool:
    """Whether a value of this type can have a tangent."""
    return hasattr(aval, "dtype") and bool(jnp.issubdtype(aval.dtype, np.inexact))


def moving_places(kinds: Sequence[Any]) -> tuple[int, ...]:
    """Return which values of these types can have tangents."""
    return tuple([place for place, kind in enumerate(kinds) if moves(kind)])


_VARYING = next(
    name for name in ("manual_axis_type", "vma") if name in inspect.signature(jax.ShapeDtypeStruct).parameters
)
"""What this JAX calls the axes of a ``shard_map`` along which a value differs between devices."""


def varying(aval: Any) -> Any:
    """Return along which axes of a ``shard_map`` a value differs between devices; hashable."""
    return getattr(aval, _VARYING, None)


def spec_of(aval: Any) -> jax.ShapeDtypeStruct:
    """Return what is traced for a value of this type."""
    axes, mesh = varying(aval), aval.sharding.mesh
    within = {_VARYING: axes, "sharding": aval.sharding} if getattr(axes, "varying", axes) or is_explicit(mesh) else {}
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False), **within)


def mesh_around(equation: Equation) -> Any:
    """Return the abstract mesh that an equation was traced under; an empty one if there was none."""
    return equation.ctx.cur_abstract_mesh


def marks(equation: Equation) -> tuple[str, ...]:
    """Return what the context of an equation tells the compiler about it, in words."""
    context = equation.ctx
    place, metadata = getattr(context, "compute_type", None), getattr(context, "xla_metadata", None)
    if not place and not metadata:
        return ()
    found = {"jax.experimental.compute_on": place, "jax.experimental.xla_metadata": metadata}
    return tuple([f"{where}: {value!r}" for where, value in found.items() if value])


def threefry_partitionable(equation: Equation) -> bool:
    """Whether an equation was traced under ``jax_threefry_partitionable``."""
    return bool(getattr(equation.ctx, "threefry_partitionable", True))


def name_stack(equation: Equation) -> str:
    """Return the name scopes around an equation, separated by ``/``; transformations such as ``jvp`` are no scopes."""
    stack = equation.source_info.name_stack.stack
    return "/".join(_shown(part.name) for part in stack if type(part).__name__ == "Scope") if stack else ""


def without_scopes(equation: Equation) -> Equation:
    """Return an equation outside of all name scopes."""
    info = equation.source_info
    return equation.replace(source_info=info.replace(name_stack=type(info.name_stack)()))


def is_mapped(equation: Equation) -> bool:
    """Whether an equation was traced under ``jax.vmap``."""
    return any(part.name == "vmap" for part in equation.source_info.name_stack.stack)


def _shown(name: str) -> str:
    """Return a name as one line of text, with escapes for what cannot be shown."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def numpy_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the array of numpy that is a constant or literal of a jaxpr, if it is one."""
    held = getattr(value, "val", value)
    return held if isinstance(held, np.ndarray) else None


def constant_array(value: Any, kind: TensorType) -> np.ndarray[Any, Any]:
    """Return a constant's elements as they are stored; for keys, their words.

    Raises
    ------
    UnsupportedError
        If it is a value of a function around, which only exists while that is traced, a reference, or an array that
        was deleted.
    """
    if isinstance(value, jax.core.Tracer):
        raise UnsupportedError(
            "it closes over a value of a function around it, which only exists while that is traced; "
            "give it the value as an argument"
        )
    if isinstance(value, jax.Ref):
        raise UnsupportedError(
            "it closes over a reference; give the function the value that it holds and return the new one"
        )
    if isinstance(value, jax.Array) and value.is_deleted():
        raise UnsupportedError(
            f"it closes over an array {kind} that was deleted, as happens to one that a jit is given with "
            "donate_argnums; give it one that is still there as an argument"
        )
    if kind.is_key:
        with jax.ensure_compile_time_eval():
            value = jax.random.key_data(value)
    array = np.asarray(value)
    return array.astype(kind.storage[0], copy=False)


def jit_inlines(inline: Any) -> bool:
    """Read the ``inline`` parameter of a nested jit: a bool before JAX 0.12, an enum since."""
    return inline if isinstance(inline, bool) else inline.name == "JAX_LATE"


def unusual_jit_params(params: Any) -> list[str]:
    """Name the parameters of a nested jit that cannot be stored."""
    layouts = [name for name in ("in_layouts", "out_layouts") if any(layout is not None for layout in params[name])]
    unusual = [f"{name}={params[name]!r}" for name in layouts]
    if params["compiler_options_kvs"]:
        unusual.append(f"compiler_options={dict(params['compiler_options_kvs'])!r}")
    return unusual


def is_unspecified(sharding: Any) -> bool:
    """Whether a sharding of a nested jit leaves the choice to the compiler."""
    return type(sharding).__name__ == "UnspecifiedValue"


def is_sequential(rule: Any) -> bool:
    """Whether a batching rule is that of ``jax.custom_batching.sequential_vmap``, or of a derivative of such a one.

    The derivative of a loop over examples is a loop over their derivatives.
    """
    where, name = getattr(rule, "__module__", None) or "", getattr(rule, "__qualname__", "")
    if where.startswith("jax.") and name == "custom_vmap_jvp.<locals>.jvp_of_rule_rule":
        return is_sequential(inspect.getclosurevars(rule).nonlocals["rule"])
    return where.startswith("jax.") and name == "sequential_vmap.<locals>.rule"


def batching_rule(rule: Any) -> Any:
    """Return the function that ``def_vmap`` was given; None if JAX made the rule, or the backend without having one."""
    given = getattr(rule, "rule", rule)
    where, name = getattr(given, "__module__", None) or "", getattr(given, "__name__", "rule")
    return None if where.startswith("jax.") or not name else given


def equation_traceback(equation: Equation) -> Any:
    """Return where an equation was traced, for :func:`traceback_frames`; equal for equal places, and hashable."""
    return equation.source_info.traceback


def traceback_frames(traceback: Any) -> tuple[Sequence[CodeType], Sequence[int], Callable[[CodeType, int], int]]:
    """Return code objects and instruction offsets of the frames of a traceback, innermost first.

    The third result turns a code object and an offset into a line number.
    """
    if traceback is None:
        return (), (), lambda code, offset: 0
    codes, offsets = traceback.raw_frames()
    return codes, offsets, type(traceback).code_addr2line


def bind(equation: Equation, *operands: Any) -> list[Any]:
    """Return what the primitive of an equation gives for these operands."""
    given = equation.primitive.get_bind_params(equation.params)
    # Before JAX 0.10, functions come apart from the parameters.
    functions, params = ((), given) if isinstance(given, dict) else given
    found = equation.primitive.bind(*functions, *operands, **params)
    return list(found) if equation.primitive.multiple_results else [found]


def callback_parts(equation: Equation) -> tuple[Any, Any, str]:
    """Return the function of a host callback, the pytree of its arguments and keywords, and a format to print with.

    Raises
    ------
    UnsupportedError
        If an argument is no array.
    """
    params = equation.params
    if equation.primitive.name == "debug_print":
        if params["static_args"]:
            raise UnsupportedError("jax.debug.print of something that is no array")
        return _named_print(params["fmt"]), params["in_tree"], params["fmt"]
    function = params["callback"]
    if hasattr(function, "callback_func"):
        function, tree = function.callback_func, function.in_tree
    else:
        held = inspect.getclosurevars(function).nonlocals
        if held.get("static_args"):
            raise UnsupportedError("a callback with an argument that is no array")
        function, tree = held["callback"], held["in_tree"]
    return function, tree, getattr(function, "brainir_text", "")


@functools.lru_cache(maxsize=1 << 10)
def _named_print(text: str) -> Any:
    def debug_print(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(text)

    return debug_print


def is_ordered(equation: Equation) -> bool:
    """Whether the effect of a callback is ordered among others."""
    if "ordered" in equation.params:
        return bool(equation.params["ordered"])
    return "Ordered" in type(equation.params.get("effect")).__name__
