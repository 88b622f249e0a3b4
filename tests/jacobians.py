"""Brute force for the structure of per-position derivatives: the Jacobians that JAX computes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import brainir
from brainir.analysis import HiddenGroup, HiddenParamOpRelation, JacobianStructure
from brainir.ir.program import Program
from tests.analysis_cases import values_of
from tests.quick_compile import quick_options


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with as little work as XLA can do; it runs a few times only."""
    return jax.jit(fn, compiler_options=quick_options())


def jacobian_of_transition(group: HiddenGroup) -> Callable[..., Any]:
    """Return the function that computes the Jacobian of the transition by the members of a group."""
    # A custom_vjp has no forward mode, a while loop no reverse mode.
    ops = {node.op for function in group.transition.functions for node in function.nodes}
    way = jax.jacrev if "custom_vjp" in ops else jax.jacfwd
    return compiled(way(brainir.to_callable(group.transition), argnums=tuple(range(len(group.hidden_paths)))))


def blocks(group: HiddenGroup, jacobian: Any) -> np.ndarray:
    """Return ``D[k, a, b]`` out of the Jacobian of a group, and check that the transition does not mix positions."""
    size = int(np.prod(group.varshape))
    rows = []
    for row, state in zip(jacobian, group.hidden_states, strict=True):
        cells = []
        for cell, other in zip(row, group.hidden_states, strict=True):
            full = np.asarray(cell, np.float64).reshape(size, state.num_state, size, other.num_state)
            cells.append(np.einsum("kakb->kab", full))
            off = full - np.einsum("kab,kl->kalb", cells[-1], np.eye(size))
            np.testing.assert_array_equal(off, 0.0)
        rows.append(np.concatenate(cells, axis=2))
    return np.concatenate(rows, axis=1)


def tangents_of_tail(relation: HiddenParamOpRelation) -> Callable[..., Any]:
    """Return the function that computes the sum over y of the derivatives of each new value."""
    run = brainir.to_callable(relation.y_to_hidden)

    def tangents(y: Any, *others: Any) -> Any:
        return jax.jvp(lambda y: run(y, *others), (y,), (jax.numpy.ones_like(y),))[1]

    return compiled(tangents)


def tail(relation: HiddenParamOpRelation, tangents: Any) -> np.ndarray:
    """Return ``F[k, a]``, the sum over y of the derivatives of each new value."""
    states = {state.path: state for group in relation.hidden_groups for state in group.hidden_states}
    parts = [
        np.asarray(tangent, np.float64).reshape(-1, states[path].num_state)
        for path, tangent in zip(relation.connected_hidden_paths, tangents, strict=True)
    ]
    return np.concatenate(parts, axis=1)[:, :, None]


def check_blocks(structure: JacobianStructure, found: Sequence[np.ndarray]) -> None:
    """Compare the structure with Jacobian blocks of several steps with the same parameters.

    Zero entries must be zero, constant ones the same at each step, uniform ones equal at all positions.
    """
    first = found[0]
    for row in range(first.shape[1]):
        for column in range(first.shape[2]):
            entry = structure.at(row, column)
            cells = [each[:, row, column] for each in found]
            for cell in cells:
                if entry is None:
                    np.testing.assert_array_equal(cell, 0.0)
                    continue
                if entry.constant:
                    np.testing.assert_allclose(cell, cells[0], rtol=1e-5)
                if entry.uniform:
                    np.testing.assert_allclose(cell, np.full_like(cell, cell[0]), rtol=1e-5)
                if entry.value is not None:
                    np.testing.assert_allclose(cell, entry.value, rtol=1e-5)


def check_structures(program: Program, several: Sequence[Sequence[Any]]) -> None:
    """Check the structures of all groups and relations of a step on several inputs with the same parameters."""
    groups, relations = brainir.find_hidden_groups(program), brainir.find_hidden_param_op_relations(program)
    needed = [value.name for group in groups for value in group.transition_invars]
    needed += [value.name for relation in relations for value in relation.y_to_hidden_invars]
    names = list(dict.fromkeys(needed))
    probe = compiled(lambda *inputs: values_of(program, names, *inputs))
    known = [dict(zip(names, probe(*inputs), strict=True)) for inputs in several]
    for group in groups:
        take = jacobian_of_transition(group)
        found = [take(*(values[value.name] for value in group.transition_invars)) for values in known]
        check_blocks(group.jacobian_structure, [blocks(group, each) for each in found])
    for relation in relations:
        if relation.elementwise_tail:
            take = tangents_of_tail(relation)
            found = [take(*(values[value.name] for value in relation.y_to_hidden_invars)) for values in known]
            check_blocks(relation.tail_structure, [tail(relation, each) for each in found])
