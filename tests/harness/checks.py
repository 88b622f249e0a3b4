"""What is checked of one case, and how it came out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import brainir
from tests.compare import bits, lowered, optimized_hlo, stablehlo

__all__ = ["CHECKS", "Outcome", "check"]

Function = Callable[..., Any]

CHECKS = ("forward", "again", "hlo", "source", "vjp", "jvp", "vmap", "vjp program")
"""``forward``: through JSON and back. ``again``: lowering what came back gives the same fingerprint. ``hlo``: it
compiles to the same optimized HLO. ``source``: executing the generated source. ``vjp``, ``jvp``, ``vmap``: of the
function that came back. ``vjp program``: the function's ``vjp``, itself lowered, through JSON and back."""

# What JAX raises for what it cannot do.
_REFUSALS = (
    NotImplementedError, TypeError, ValueError, AssertionError, KeyError, IndexError, AttributeError,
    jax.errors.JaxRuntimeError,
)  # fmt: skip


class Outcome(NamedTuple):
    """How a check came out: ``absent`` where JAX itself cannot run the original."""

    verdict: Literal["same", "wrong", "refused", "absent"]
    detail: str = ""


class _AbsentError(Exception):
    """JAX cannot run the original."""


def check(fn: Function, args: Sequence[Any], checks: Sequence[str] = CHECKS) -> dict[str, Outcome]:
    """Take a function through brainir and compare, to the bit, what comes back with it.

    Both sides run under ``jax.jit`` on the CPU. If both lower to the same StableHLO text, they are the same
    executable, and neither is run, but for the original once.
    """
    original = _Original(fn, args)
    try:
        original.results()
    except _AbsentError as absent:
        return dict.fromkeys(checks, Outcome("absent", str(absent)))
    try:
        loaded = brainir.loads(brainir.dumps(brainir.lower(fn, *args)))
        back = brainir.to_callable(loaded)
    except brainir.BrainIRError as error:
        return dict.fromkeys(checks, Outcome("refused", _line(error)))

    @functools.cache
    def pulled() -> _Original:
        return _Original(*_vjp(fn, args))

    def again() -> Outcome:
        prints = [brainir.fingerprint(each) for each in (loaded, brainir.lower(back, *args))]
        return Outcome("same") if prints[0] == prints[1] else Outcome("wrong", "another fingerprint")

    def vjp_program() -> Outcome:
        pulled().lowered  # noqa: B018  # whether JAX can comes first
        program = brainir.loads(brainir.dumps(brainir.lower(pulled().fn, *pulled().args)))
        return _compare(brainir.to_callable(program), pulled())

    ways: dict[str, Callable[[], Outcome]] = {
        "forward": lambda: _compare(back, original),
        "again": again,
        "hlo": lambda: _compare_compiled(loaded, back, original),
        "source": lambda: _compare(_executed(loaded), original),
        "vjp": lambda: _compare(_vjp(back, args)[0], pulled()),
        "jvp": lambda: _compare(_jvp(back, args)[0], _Original(*_jvp(fn, args))),
        "vmap": lambda: _compare(_vmap(back, args)[0], _Original(*_vmap(fn, args))),
        "vjp program": vjp_program,
    }
    return {name: _outcome(ways[name]) for name in checks}


def _outcome(way: Callable[[], Outcome]) -> Outcome:
    try:
        return way()
    except _AbsentError as absent:
        return Outcome("absent", str(absent))
    except (brainir.BrainIRError, *_REFUSALS) as error:
        return Outcome("refused", f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class _Original:
    """A function that JAX itself traces, with its arguments.

    Raises
    ------
    _AbsentError
        If JAX cannot do what is asked for.
    """

    def __init__(self, fn: Function, args: Sequence[Any]) -> None:
        self.fn, self.args = fn, args

    @functools.cached_property
    def lowered(self) -> Any:
        try:
            return lowered(self.fn, *self.args)
        except _REFUSALS as error:
            raise _AbsentError(f"{type(error).__name__}: {_line(error)}") from error

    @functools.cached_property
    def text(self) -> str:
        return stablehlo(self.lowered)

    def results(self) -> Any:
        """Run it."""
        try:
            return self.lowered.compile()(*self.args)
        except _REFUSALS as error:
            raise _AbsentError(f"{type(error).__name__}: {_line(error)}") from error


def _compare(back: Function, original: _Original) -> Outcome:
    original.lowered  # noqa: B018  # whether JAX can comes first
    ours = lowered(back, *original.args)
    if stablehlo(ours) == original.text:
        return Outcome("same")
    expected = original.results()
    got = ours.compile()(*original.args)
    if jax.tree.structure(got) != jax.tree.structure(expected):
        return Outcome("wrong", "another structure")
    for index, (leaf, wanted) in enumerate(zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)):
        if bits(leaf) != bits(wanted):
            return Outcome("wrong", f"result {index}: {leaf.dtype}{leaf.shape} for {wanted.dtype}{wanted.shape}")
    return Outcome("same")


def _compare_compiled(program: brainir.Program, back: Function, original: _Original) -> Outcome:
    """Compare optimized HLO, which equal StableHLO implies.

    What JAX calls for a function with derivative rules depends on the primitive that has them, so it may differ there.
    """
    ours = lowered(back, *original.args)
    if stablehlo(ours) == original.text or optimized_hlo(ours) == optimized_hlo(original.lowered):
        return Outcome("same")
    rules = any(node.op in ("custom_jvp", "custom_vjp") for function in program.functions for node in function.nodes)
    return Outcome("absent", "derivative rules") if rules else Outcome("wrong", "other optimized HLO")


def _executed(program: brainir.Program) -> Function:
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(compile(brainir.to_source(program), "generated.py", "exec"), namespace)
    function: Function = namespace[program.entry]
    return function


def _is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def _moving(fn: Function, args: Sequence[Any]) -> tuple[Function, list[Any]]:
    """Return the inexact results as a function of the inexact arguments, and these.

    Raises
    ------
    _AbsentError
        If there are none.
    """
    flat, tree = jax.tree.flatten(list(args))
    places = [index for index, leaf in enumerate(flat) if not _is_key(leaf) and _is_inexact(leaf)]
    if not places:
        raise _AbsentError("no inexact argument")

    def moved(*operands: Any) -> list[Any]:
        full = list(flat)
        for place, operand in zip(places, operands, strict=True):
            full[place] = operand
        results = jax.tree.leaves(fn(*jax.tree.unflatten(tree, full)))
        return [leaf for leaf in results if not _is_key(leaf) and _is_inexact(leaf)]

    return moved, [jnp.asarray(flat[place]) for place in places]


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.extended))


def _directions(shapes: Sequence[Any]) -> list[Any]:
    return [np.cos(3.0 * np.arange(leaf.size) + 1).reshape(leaf.shape).astype(leaf.dtype) for leaf in shapes]


def _vjp(fn: Function, args: Sequence[Any]) -> tuple[Function, list[Any]]:
    moved, primals = _moving(fn, args)
    results = _shapes(moved, tuple(primals))
    if not results:
        raise _AbsentError("no inexact result")

    def pulled(primals: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        return jax.vjp(moved, *primals)[1](list(cotangents))

    return pulled, [primals, _directions(results)]


def _jvp(fn: Function, args: Sequence[Any]) -> tuple[Function, list[Any]]:
    moved, primals = _moving(fn, args)
    if not _shapes(moved, tuple(primals)):
        raise _AbsentError("no inexact result")

    def pushed(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        return jax.jvp(moved, list(primals), list(tangents))

    return pushed, [primals, _directions(primals)]


def _vmap(fn: Function, args: Sequence[Any]) -> tuple[Function, list[Any]]:
    if not jax.tree.leaves(list(args)):
        raise _AbsentError("no arguments")
    return jax.vmap(fn), [jax.tree.map(_pair, arg) for arg in args]


def _pair(leaf: Any) -> Any:
    """Return a batch of two: an argument, and the same with its elements in reverse order."""
    if _is_key(leaf):
        return jnp.stack([leaf, leaf])
    array = np.asarray(leaf)
    return np.stack([array, np.flip(array)])


def _shapes(moved: Function, primals: tuple[Any, ...]) -> Any:
    try:
        return jax.eval_shape(moved, *primals)
    except _REFUSALS as error:
        raise _AbsentError(f"{type(error).__name__}: {_line(error)}") from error
