"""brainstate modules to programs, and the values of their states."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import brainstate
import jax

from ..ir.collector import collector_paused
from ..ir.errors import LoweringError, StateError
from ..ir.interface import Argument, Interface, Role, State, leaf_paths
from ..ir.model import StatePath
from ..ir.printer import format_path, format_tree
from ..ir.program import Program, Value, require_program
from .entry import bind_arguments, build_program, check_state_types, strong
from .jax_compat import OpenJaxpr, open_jaxpr, tensor_type
from .jaxprs import has_unused, maps
from .state_paths import module_states
from .trees import ResultReader, TreeReader

__all__ = ["lower_module", "read_states", "write_states"]

_DEFAULT_RANDOM: StatePath = ("brainstate", "random", "DEFAULT")


@collector_paused()
def lower_module(module: Any, *inputs: Any, **kwargs: Any) -> Program:
    """Turn one step of a brainstate module into a program.

    Parameters
    ----------
    module : brainstate.nn.Module
        With its states initialised.
    *inputs, **kwargs : pytree
        Example arguments of ``module.update``.

    Returns
    -------
    Program
        With ``to_callable`` it becomes ``fn(states, *inputs, **kwargs) -> (new_states, out)``, where `states` is what
        :func:`read_states` returns.

    Raises
    ------
    StateError
        If states are not initialised, if the step writes a parameter, or changes the structure, unit, shape or dtype of
        a state; the message names the path.
    LoweringError
        If the step uses operations or containers that cannot be stored; every place is listed.

    Notes
    -----
    States come in the order in which the step first reads or writes them. They are taken as strongly typed: initial
    values are often weakly typed and lose that in the first step, and a model must not change its program by being run.
    """
    if not isinstance(module, brainstate.nn.Module):
        given = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise LoweringError(
            f"lower_module takes a brainstate.nn.Module, not {given}; "
            "use brainir.lower for a function, brainir.lower_step for a pure step"
        )
    positional, keywords, listed = bind_arguments(module.update, inputs, kwargs)
    present = module_states(module)
    traced = _traced(module, present, positional, keywords)
    key = traced.get_arg_cache_key(*positional, **keywords)
    closed = traced.get_jaxpr_by_cache(key)
    if maps(closed) and has_unused(closed):
        # What brainstate maps for the first time, it also runs once as it is, to see which states that reads.
        traced = _traced(module, present, positional, keywords)
        closed = traced.get_jaxpr_by_cache(key)
    accessed = traced.get_states_by_cache(key)
    result, new_values = traced.get_out_shapes_by_cache(key)

    reader = TreeReader()
    paths = {id(state): path for path, state in present.items()}
    states = _state_records(accessed, new_values, paths, reader)
    arguments = tuple(
        Argument(name=name, tree=reader.read(value, name), keyword=keyword) for name, value, keyword in listed
    )
    result_tree = ResultReader(reader).read(result, "result")

    jaxpr = _states_first(open_jaxpr(closed), states, len(jax.tree.leaves((positional, keywords))))
    used = {id(state) for state in accessed}
    unused = tuple(path for key, path in paths.items() if key not in used)
    interface = Interface(
        kind="module", states=states, arguments=arguments, result=result_tree, units=reader.units, unused=unused
    )
    return build_program(jaxpr, type(module).__name__, interface)


def _traced(
    module: Any, states: Mapping[StatePath, Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> Any:
    """Return the step of a module with these states as brainstate traces it for these inputs."""
    traced = brainstate.transform.StatefulFunction(lambda *args, **kw: module(*args, **kw), return_only_write=False)
    with _strong_types(states) as before:
        try:
            traced.make_jaxpr(*positional, **keywords)
        except AttributeError as error:
            raise _uninitialised(module, error) from error
        except ValueError as error:
            # brainstate puts the old values back after a trace and stops at one that does not fit, without naming it.
            for path, (state, value) in before.items():
                _check_structure(path, state, value, state.value, error)
            raise
    return traced


@contextlib.contextmanager
def _strong_types(states: Mapping[StatePath, Any]) -> Iterator[dict[StatePath, tuple[Any, Any]]]:
    """Give states strongly typed values for the time of a trace; yield each with its own value."""
    before = {path: (state, state.value) for path, state in states.items()}
    try:
        for state, value in before.values():
            if any(strong(leaf) is not leaf for leaf in jax.tree.leaves(value)):
                state.value = jax.tree.map(strong, value)
        yield before
    finally:
        for state, value in before.values():
            if state.value is not value:
                state.value = value


def _state_records(
    accessed: Sequence[Any], new_values: Sequence[Any], paths: Mapping[int, StatePath], reader: TreeReader
) -> tuple[State, ...]:
    """Return what an interface says of the states that a step reads or writes; check that their structure stays."""
    records = []
    strangers = 0
    for state, new in zip(accessed, new_values, strict=True):
        path = paths.get(id(state))
        reachable = path is not None
        if state is brainstate.random.DEFAULT:
            path = _DEFAULT_RANDOM
        elif path is None:
            path = ("_unreachable", strangers)
            strangers += 1
        value = state.value
        if not jax.tree.leaves(value):
            raise StateError(f"state {format_path(path)} holds no array; initialise it before lowering")
        _check_structure(path, state, value, new)
        role = _role(state)
        records.append(
            State(
                path=path,
                role=role,
                type=type(state).__name__,
                tree=reader.read(value, format_path(path)),
                num_state=int(state.num_state) if isinstance(state, brainstate.HiddenGroupState) else 1,
                returned=role != "param",
                reachable=reachable,
            )
        )
    return tuple(records)


def _role(state: Any) -> Role:
    if isinstance(state, brainstate.HiddenState):
        return "hidden"
    return "param" if isinstance(state, brainstate.ParamState) else "other"


def _check_structure(path: StatePath, state: Any, old: Any, new: Any, cause: Exception | None = None) -> None:
    """Check that a state keeps the pytree structure and the units of its value."""
    if change := _structure_change(path, old, new):
        raise StateError(
            f"state {format_path(path)} ({type(state).__name__}) changes {change} in the step; "
            "give the new value the unit and structure of the old one, or initialise the state with those of the new"
        ) from cause


def _structure_change(path: StatePath, old: Any, new: Any) -> str | None:
    """Return what differs between two values of a state in pytree structure or unit, if anything does."""
    kept: Any = jax.tree.structure(old)
    if kept == jax.tree.structure(new):
        return None
    reader = TreeReader()
    before, after = (reader.read(value, format_path(path)) for value in (old, new))
    if reader.is_same(before, after):
        return None
    units = [[leaf.unit or "none" for _, leaf in leaf_paths(tree)] for tree in (before, after)]
    if len(units[0]) == len(units[1]) and units[0] != units[1]:
        return f"its unit from {', '.join(units[0])} to {', '.join(units[1])}"
    return f"its structure from {format_tree(before)} to {format_tree(after)}"


def _states_first(jaxpr: OpenJaxpr, states: Sequence[State], num_inputs: int) -> OpenJaxpr:
    """Reorder a stateful jaxpr to states, inputs -> states, result; parameters are not returned.

    Raises
    ------
    StateError
        If a parameter is written, or a state leaf changes shape or dtype.
    """
    inputs, state_inputs = jaxpr.invars[:num_inputs], jaxpr.invars[num_inputs:]
    num_results = len(jaxpr.outvars) - len(state_inputs)
    results, state_outputs = jaxpr.outvars[:num_results], jaxpr.outvars[num_results:]
    outputs: list[Any] = []
    position = 0
    for state in states:
        paths = [(*state.path, *keys) for keys, _ in leaf_paths(state.tree)]
        old = state_inputs[position : position + len(paths)]
        new = state_outputs[position : position + len(paths)]
        position += len(paths)
        if state.returned:
            check_state_types(paths, [var.aval for var in old], [var.aval for var in new])
            outputs.extend(new)
        elif any(before is not after for before, after in zip(old, new, strict=True)):
            raise StateError(
                f"the step writes the parameter {format_path(state.path)}; a parameter stays fixed during a step "
                "(make it a HiddenState or ShortTermState if it is part of the dynamics; lower a step that trains "
                "as a function of its states: brainstate.transform.StatefulFunction(step).jaxpr_call)"
            )
    return jaxpr._replace(invars=[*state_inputs, *inputs], outvars=[*outputs, *results])


def _uninitialised(module: Any, error: AttributeError) -> Exception:
    """Turn the error that a missing state gives into one that says so; other errors stay as they are."""
    owner = getattr(error, "obj", None)
    if not isinstance(owner, brainstate.nn.Module) or type(owner).init_state is brainstate.nn.Module.init_state:
        return error
    nodes = {id(node): path for path, node in module.nodes().items()}
    path = nodes.get(id(owner), ())
    where = f" at {format_path(path)}" if path else ""
    return StateError(
        f"{type(owner).__name__}{where} has no state {error.name!r}: its states are not initialised; "
        "call brainstate.nn.init_all_states(module) before lowering"
    )


def read_states(module: Any, program: Program) -> dict[StatePath, Any]:
    """Return the values of a module's states as the program of its step takes them.

    Parameters
    ----------
    module : brainstate.nn.Module
    program : Program
        From :func:`lower_module`.

    Returns
    -------
    dict
        From path to value as the module holds it, quantities and pytrees included.

    Raises
    ------
    StateError
        If the module has no state under a path of the program.
    """
    require_program(program)
    states = _matched(module, program)
    return {path: state.value for path, state in states.items()}


def write_states(module: Any, program: Program, states: Mapping[StatePath, Any]) -> None:
    """Put new values into a module's states.

    Parameters
    ----------
    module : brainstate.nn.Module
    program : Program
        From :func:`lower_module`.
    states : mapping
        As :func:`read_states` returns it. Parameters may be left out.

    Raises
    ------
    StateError
        If a path is not a state of the program, a state that the step writes is missing, or a value has another
        structure, unit, shape or dtype than the program was lowered for. Nothing is written then.
    """
    require_program(program)
    if not isinstance(states, Mapping):
        raise StateError(f"states is a dict from path to value, as read_states gives it, not {type(states).__name__}")
    matched = _matched(module, program)
    unknown = [path for path in states if path not in matched]
    if unknown:
        known = ", ".join(map(repr, matched))
        raise StateError(
            f"{format_path(unknown[0])} is not a state of program {program.entry!r}; its states are {known}"
        )
    missing = [state.path for state in program.interface.states if state.returned and state.path not in states]
    if missing:
        raise StateError(f"no value is given for state {format_path(missing[0])}")
    for state, leaves in program.state_inputs():
        if state.path in states:
            _check_value(state, states[state.path], leaves, matched[state.path].value)
    for path, value in states.items():
        matched[path].value = value


def _check_value(state: State, value: Any, leaves: Sequence[Value], held: Any) -> None:
    """Refuse a value that the program does not take, which would otherwise be found in a later step."""
    found = [str(tensor_type(leaf)).lstrip("~") for leaf in jax.tree.leaves(jax.eval_shape(lambda: value))]
    wanted = [leaf.type.lstrip("~") for leaf in leaves]
    if found != wanted:
        raise StateError(
            f"the value for state {format_path(state.path)} is {', '.join(found) or 'empty'}, but the program was "
            f"lowered for {', '.join(wanted) or 'an empty one'}; convert it, or lower the module again"
        )
    if change := _structure_change(state.path, held, value):
        raise StateError(
            f"the value for state {format_path(state.path)} would change {change}; give it as read_states does"
        )


def _matched(module: Any, program: Program) -> dict[StatePath, Any]:
    if program.interface.kind != "module":
        raise StateError(f"program {program.entry!r} is a {program.interface.kind}, it has no module states")
    present = module_states(module)
    present[_DEFAULT_RANDOM] = brainstate.random.DEFAULT
    matched = {}
    for state in program.interface.states:
        if not state.reachable and state.path not in present:
            raise StateError(
                f"the step uses a {state.type} that the module graph does not lead to, so its value cannot be found; "
                "make it an attribute of the module"
            )
        if state.path not in present:
            listed = ", ".join(format_path(path) for path in present)
            raise StateError(f"the module has no state {format_path(state.path)}; it has {listed}")
        matched[state.path] = present[state.path]
    return matched
