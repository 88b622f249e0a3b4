"""The Jacobian of operations that JAX computes has zeros where the analysis says so, and no more where it can tell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis.flow import NOTHING, DependenceFlow, Source
from brainir.ir.program import Program
from brainir.ir.types import is_literal
from tests.programs import PROGRAMS_HERE

MOVING = (
    "copies", "powers and rounding", "arithmetic", "choices", "shapes", "cutting and joining", "new axes", "tiles",
    "gathers", "scatters", "moving windows", "contractions", "windows", "order", "reductions", "running combinations",
    "barrier", "choice of two",
)  # fmt: skip
CASES = {name: PROGRAMS_HERE[name] for name in MOVING if name in PROGRAMS_HERE}

# Which position an element sees is known from data only: indices, the order of a sort, the place of an extreme.
COARSE = {"gathers", "scatters", "moving windows", "windows", "order", "reductions", "running combinations"}


def jacobians(name: str, program: Program) -> Any:
    """Return the float32 operands by number, and for each of them the Jacobians of all results."""
    case = CASES[name]
    numbers = tuple(number for number, each in enumerate(case.args) if jnp.result_type(each) == jnp.float32)
    take = jax.jacfwd if case.derivatives == "forward" else jax.jacrev
    flat = lambda *args: [  # noqa: E731
        leaf for leaf in jax.tree.leaves(case.fn(*args)) if leaf.dtype == jnp.float32
    ]
    return numbers, take(flat, argnums=numbers)(*case.args)


def compared(name: str) -> tuple[list[str], bool]:
    """Return where the analysis claims a zero that is none, and whether it says ``mixing`` where no element mixes."""
    case = CASES[name]
    program = brainir.lower(case.fn, *case.args)
    function = program.entry_function
    numbers, found = jacobians(name, program)
    sources = [Source(np.shape(case.args[number])) for number in numbers]
    flow = DependenceFlow(program, sources, through_stop_gradient=False)
    known = flow.run(function, {function.inputs[number]: flow.start(place) for place, number in enumerate(numbers)})
    outputs = [output for output in function.outputs if function.type_of(output).dtype == "float32"]
    wrong: list[str] = []
    coarse = False
    for output, row in zip(outputs, found, strict=True):
        dependence = NOTHING if is_literal(output) else known.get(output, NOTHING)
        for place, source in enumerate(sources):
            size = function.type_of(output).size
            seen = np.asarray(row[place]).reshape(size, source.size) != 0
            verdict = dependence.verdict(place)
            if verdict == "mixing":
                coarse |= bool((seen.sum(axis=1) <= 1).all())
                continue
            allowed = np.zeros_like(seen)
            if verdict == "elementwise":
                (where,) = flow.maps(dependence, place, function.type_of(output).shape)
                where = where.reshape(-1)
                allowed[np.flatnonzero(where >= 0), where[where >= 0]] = True
            if (seen & ~allowed).any():
                wrong.append(f"{output} by input {numbers[place]}: {verdict}")
    return wrong, coarse


@pytest.mark.parametrize("name", CASES)
def test_jacobian_is_zero_where_the_analysis_says_so(name: str) -> None:
    wrong, coarse = compared(name)
    assert wrong == []
    assert coarse == (name in COARSE)
