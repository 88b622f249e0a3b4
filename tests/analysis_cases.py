"""Small pure steps for the tests of the analyses, and ways to run what the analyses cut out of them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import brainir
from brainir.analysis import inline_calls
from brainir.analysis.slicing import extract
from brainir.analysis.weights.scan import WeightScan
from brainir.ir.interface import State
from brainir.ir.program import Program
from brainir.ir.trees import DictTree, LeafTree

N_IN = 3
N = 4


def array(*shape: int, seed: int = 0) -> jax.Array:
    """Return numbers without pattern, the same for the same shape and seed."""
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), dtype=jnp.float32)


def step(fn: Callable[..., Any], params: dict[str, Any], hidden: dict[str, Any], *inputs: Any) -> Program:
    """Lower a step ``fn(params, hidden, *inputs) -> hidden``; its result is a sum over the new states."""

    def run(params: dict[str, Any], hidden: dict[str, Any], *inputs: Any) -> Any:
        new = fn(params, hidden, *inputs)
        return new, sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(new))

    run.__name__ = "step"
    program = brainir.lower_step(run, params, hidden, *inputs)
    brainir.verify(program)
    return program


def with_parameter_states(program: Program) -> Program:
    """Turn a step into a module in which the parameters under one first key are the leaves of one state."""
    interface = program.interface
    groups: dict[Any, list[State]] = {}
    for state in interface.states:
        groups.setdefault(state.path[:1] if state.role == "param" else state.path, []).append(state)
    states = [
        several[0].replace(
            path=path,
            tree=_dict([state.path[1:] for state in several]) if several[0].path != path else LeafTree(),
        )
        for path, several in groups.items()
    ]
    changed = program.replace(
        interface=interface.replace(kind="module", states=tuple(states), params=None, hidden=None)
    )
    brainir.verify(changed)
    return changed


def _dict(paths: Sequence[tuple[Any, ...]]) -> DictTree:
    keys = tuple(path[0] for path in paths)
    return DictTree(kind="dict", keys=keys, children=(LeafTree(),) * len(keys))


def values_of(program: Program, names: Sequence[str], *inputs: Any) -> list[Any]:
    """Compute values of the flat entry, as the analyses of weights see it, from the leaves of its inputs."""
    scan = WeightScan.of(program)
    probe, _ = extract("probe", scan.function, scan.program, scan.function.inputs, names)
    return list(brainir.to_callable(probe)(*inputs))


def jacobian_of(program: Program, names: Sequence[str], argument: int, *inputs: Any) -> list[np.ndarray]:
    """Return the Jacobian of values of the flat entry by one of its inputs, the value's axes first."""
    flat = inline_calls(program.entry_function, program)
    probe, _ = extract("probe", flat, program, flat.inputs, names)
    fn = brainir.to_callable(probe)
    return [np.asarray(each) for each in jax.jacfwd(fn, argnums=argument)(*inputs)]


def leaves(*trees: Any) -> list[Any]:
    """Return the leaves of the arguments of a step, in the order of the entry's inputs."""
    return jax.tree.leaves(trees)
