"""brainstate modules to programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import brainstate
import jax

from ..ir.collector import collector_paused
from ..ir.errors import LoweringError, StateError
from ..ir.interface import Interface, Role, State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program
from ..ir.trees import leaf_paths
from ..jax_switches import established_primitives
from .attributes import array_attributes, refuse_written
from .entry import bind_arguments, build_program, check_state_types, read_arguments, strong
from .jax_compat import OpenJaxpr, open_jaxpr
from .jaxprs import has_unused, maps
from .states import DEFAULT_RANDOM, module_states, structure_change
from .trees import ResultReader, TreeReader

__all__ = ["lower_module"]


@collector_paused()
@established_primitives()
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
        :func:`~brainir.read_states` returns.

    Raises
    ------
    StateError
        If states are not initialised, if the step writes a parameter, or changes the structure, unit, shape or dtype of
        a state, or keeps what lasts from step to step in a plain attribute; the message names the path.
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
    leaves = [*brainstate.graph.iter_leaf(module)]
    present, attributes = module_states(module, leaves), array_attributes(module, leaves)
    traced = _traced(module, present, positional, keywords)
    key = traced.get_arg_cache_key(*positional, **keywords)
    closed = traced.get_jaxpr_by_cache(key)
    refuse_written(attributes, closed.consts)
    if maps(closed) and has_unused(closed):
        # What brainstate maps for the first time, it also runs once as it is, to see which states that reads.
        traced = _traced(module, present, positional, keywords)
        closed = traced.get_jaxpr_by_cache(key)
    accessed = traced.get_states_by_cache(key)
    result, new_values = traced.get_out_shapes_by_cache(key)

    reader = TreeReader()
    paths = {id(state): path for path, state in present.items()}
    states = _state_records(accessed, new_values, paths, reader)
    arguments = read_arguments(listed, reader)
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
            path = DEFAULT_RANDOM
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
    if change := structure_change(path, old, new):
        raise StateError(
            f"state {format_path(path)} ({type(state).__name__}) changes {change} in the step; "
            "give the new value the unit and structure of the old one, or initialise the state with those of the new"
        ) from cause


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
