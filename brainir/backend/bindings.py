"""What programs only name, bound at emission: externals that the caller gives, and registered primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from ..ir.errors import EmissionError, NotStoredError
from ..ir.kept import kept
from ..ir.node import Node
from ..ir.ops import Callback, CustomCall, CustomVmap
from ..ir.program import Program

__all__ = ["Bindings", "batching_rule_names", "custom_call_names", "external_names", "register_primitive"]

_REGISTERED: dict[str, Callable[..., Any]] = {}


def register_primitive(name: str, function: Any) -> None:
    """Say what a primitive computes that a program holds by name only (a ``custom_call``).

    Parameters
    ----------
    name : str
        Name of the primitive, as it was given to ``lower(..., keep=[name])``.
    function : Primitive or callable
        Called with the operands in order and the attributes as keywords: numbers, text, bools and tuples of them
        (dtypes, types and members of enums as text; a primitive that takes types needs a function around it). A
        primitive is bound; a function returns one array, or a tuple of them. It must be traceable, and brings its own
        derivatives.

    Raises
    ------
    EmissionError
        If `function` is neither, or `name` is no text.
    """
    if not isinstance(name, str):
        given = type(name).__name__  # type: ignore[unreachable]  # for callers that are not typed
        raise EmissionError(f"the name of a primitive is a text, not {given}; write primitive.name")
    if not callable(getattr(function, "bind", function)):
        raise EmissionError(f"{name!r} needs a primitive or a function that says what it computes, not {function!r}")
    _REGISTERED[name] = getattr(function, "bind", function)


def external_names(program: Program) -> tuple[str, ...]:
    """Return the names of the host functions that a program calls."""
    return _names(program, Callback)


def batching_rule_names(program: Program) -> tuple[str, ...]:
    """Return the names of the batching rules that a program does not hold; an empty one for those without a name."""
    rules = {node.rule for node in _naming(program) if isinstance(node, CustomVmap) and not node.sequential}
    return tuple(sorted(rules))


def custom_call_names(program: Program) -> tuple[str, ...]:
    """Return the names of the primitives that a program leaves to their owners."""
    return _names(program, CustomCall)


def _names(program: Program, schema: type[Callback] | type[CustomCall]) -> tuple[str, ...]:
    return tuple(sorted({node.name for node in _naming(program) if isinstance(node, schema)}))


def _naming(program: Program) -> tuple[Node, ...]:
    """Return the nodes that name what a program does not hold."""

    def find() -> tuple[Node, ...]:
        nodes = [node for function in program.functions for node in function.nodes]
        return tuple([node for node in nodes if isinstance(node, (Callback, CustomCall, CustomVmap))])

    return kept(program, "_naming", find)


class Bindings:
    """The functions behind the names of one program.

    Parameters
    ----------
    program : Program
    externals : mapping of str to callable

    Raises
    ------
    EmissionError
        If `externals` is no mapping, or a name has no function, or something that is none; all are listed.
    """

    def __init__(self, program: Program, externals: Mapping[str, Callable[..., Any]]) -> None:
        if not isinstance(externals, Mapping):
            given = type(externals).__name__  # type: ignore[unreachable]  # for callers that are not typed
            raise EmissionError(f"externals is a dict of functions by name, {{name: function}}, not {given}")
        wanted, primitives = external_names(program), custom_call_names(program)
        rules = [name for name in batching_rule_names(program) if name in externals]
        problems = []
        missing = [name for name in wanted if name not in externals]
        unusable = [name for name in (*wanted, *rules) if name in externals and not callable(externals[name])]
        unknown = [name for name in externals if name not in (*wanted, *rules)]
        unregistered = [name for name in primitives if name not in _REGISTERED]
        if missing:
            problems.append(
                f"it calls {_listed(missing)} on the host; give the functions: externals={{name: function}}; "
                "run_passes(program) removes calls that never happen"
            )
        if unusable:
            problems.append(f"the externals {_listed(unusable)} are no functions")
        if unregistered:
            problems.append(
                f"it leaves {_listed(unregistered)} to other packages; "
                "say what that computes: brainir.register_primitive(name, function)"
            )
        # Functions that are not needed do no harm: one table can serve many programs. Beside a missing name, they tell.
        if missing and unknown:
            problems.append(f"it has no externals {_listed(unknown)}; it has {_listed(list(wanted))}")
        if problems:
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise EmissionError(f"program {program.entry!r} cannot be emitted:{lines}")
        self._externals = {name: externals[name] for name in (*wanted, *rules)}

    def external(self, name: str, text: str) -> Callable[..., tuple[Any, ...]]:
        """Return the function of an external; it is lowered again under the same name."""
        function = self._externals[name]

        def external(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return tuple(jax.tree.leaves(function(*args, **kwargs)))

        external.__name__ = external.__qualname__ = name
        external.brainir_external = function  # type: ignore[attr-defined]  # lowering reads both
        external.brainir_text = text  # type: ignore[attr-defined]
        return external

    def batching_rule(self, name: str) -> Callable[..., tuple[Any, Any]]:
        """Return a batching rule that gives its results as a tuple; it is lowered again under the same name."""
        function = self._externals.get(name)

        def rule(size: int, batched: Any, *operands: Any) -> tuple[Any, Any]:
            if function is None:
                remedy = f"give it as externals={{{name!r}: rule}}, or " if name else ""
                raise NotStoredError(
                    f"the program does not hold the batching rule {name!r} of this custom_vmap function; "
                    f"{remedy}vmap the original and lower that"
                )
            results, are_batched = function(size, batched, *operands)
            return tuple(jax.tree.leaves(results)), tuple(jax.tree.leaves(are_batched))

        rule.__name__ = rule.__qualname__ = name
        rule.brainir_external = rule if function is None else function  # type: ignore[attr-defined]  # lowering reads it
        return rule

    @staticmethod
    def primitive(name: str) -> Callable[..., tuple[Any, ...]]:
        """Return what a primitive computes, as a tuple of results."""
        function = _REGISTERED[name]

        def primitive(*operands: Any, **attributes: Any) -> tuple[Any, ...]:
            results = function(*operands, **attributes)
            return tuple(results) if isinstance(results, tuple | list) else (results,)

        return primitive


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
