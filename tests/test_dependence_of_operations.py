"""What operations depend on, element by element: brute force by JAX has zeros where the analysis says so.

And no more zeros than that, where the operation tells beforehand which elements it sees.
"""

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import brainir
from brainir.analysis.dependence.flow import DependenceFlow
from brainir.analysis.dependence.lattice import NOTHING, Dependence, Source
from brainir.analysis.weights.scan import WeightScan
from brainir.ir.program import Function
from tests.analysis_cases import array, leaves
from tests.brute_force import Mask, seen
from tests.dependence import check_every_value, wrong_zeros
from tests.programs import PROGRAMS_HERE
from tests.random_programs import FORWARD_ONLY, OPERATIONS, REVERSE_ONLY, Choices, evaluate, fitted

EXAMPLES = int(os.environ.get("BRAINIR_EXAMPLES", "12"))

# Which elements these see is known from data only: an index, a condition, an order, the place of an extreme. Or each
# element depends on one other in the given program only: a seed, a window of one element.
BY_DATA = {
    "approx_top_k", "argmax", "argmin", "cond", "cummax", "cummin", "dynamic_slice", "dynamic_update_slice", "gather",
    "linear_call", "lu", "ragged_dot_general", "random_bits", "reduce", "reduce_max", "reduce_min", "reduce_or",
    "reduce_window_min", "rng_bit_generator", "scatter_apply", "scatter_max", "scatter_min", "sort", "threefry2x32",
    "unvmap_all", "unvmap_any", "unvmap_max", "while",
}  # fmt: skip
"""Operations that mix, as far as can be told beforehand."""


def coarse_operations(
    function: Function, known: dict[str, Dependence], names: Sequence[str], found: list[list[Mask]]
) -> set[str]:
    """Return the operations that first mix a source of which no element of their results sees more than one element."""
    mixed = set()
    for name, row in zip(names, found, strict=True):
        node = function.producers.get(name)
        for source, mask in enumerate(row):
            if node is None or mask.shape[1] < 2 or known.get(name, NOTHING).verdict(source) != "mixing":
                continue
            before = any(known.get(operand, NOTHING).verdict(source) == "mixing" for operand in node.inputs)
            if not before and (mask.sum(axis=1) <= 1).all():
                mixed.add(node.op)
    return mixed


CASES = [name for name, case in PROGRAMS_HERE.items() if jax.tree.leaves(case.args)]


@pytest.mark.parametrize("name", CASES)
def test_operations_depend_on_what_the_analysis_says_and_on_nothing_else(name: str) -> None:
    case = PROGRAMS_HERE[name]
    args, tree = jax.tree.flatten(case.args)
    program = brainir.lower(case.fn, *case.args)
    scan = WeightScan(program, opening=False)
    function = scan.function
    found = seen(
        lambda *operands: jax.tree.leaves(case.fn(*jax.tree.unflatten(tree, operands))),
        args,
        forward=case.derivatives != "reverse",
        reverse=case.derivatives == "reverse",
    )
    sources = [Source(np.shape(each)) for each in args]
    for through, pattern in ((False, found.slopes), (True, found.either)):
        flow = DependenceFlow(scan.program, sources, through_stop_gradient=through)
        known = flow.run(function, {each: flow.start(number) for number, each in enumerate(function.inputs)})
        assert wrong_zeros(function, flow, known, function.outputs, pattern) == []
    coarse = coarse_operations(function, known, function.outputs, found.either) - BY_DATA
    assert coarse == set(), "say in brainir/analysis/rearrange.py how it moves elements, or name it in BY_DATA"


@st.composite
def choices(draw: st.DrawFn) -> tuple[Choices, int, list[str]]:
    """Draw a random program: the choices in it, the number of its operations, and those that it may have."""
    left_out = draw(st.sampled_from([REVERSE_ONLY, REVERSE_ONLY, REVERSE_ONLY, FORWARD_ONLY]))
    return Choices(draw), draw(st.integers(1, 4)), [name for name in OPERATIONS if name not in left_out]


# The suite draws the same programs each time. Shrinking takes minutes: it is for the long search.
SEARCH = EXAMPLES > 100
PHASES = [Phase.generate, Phase.shrink] if SEARCH else [Phase.generate]


@settings(max_examples=EXAMPLES, derandomize=not SEARCH, database=None, phases=PHASES)
@given(choices())
def test_values_of_random_programs_depend_on_what_the_analysis_says_and_on_nothing_else(
    drawn: tuple[Choices, int, list[str]],
) -> None:
    pick, count, names = drawn
    hidden = {"a": array(6, seed=1), "b": array(2, 3, seed=2)}
    x, data = array(6, seed=3), jnp.array([1, 0, 2], jnp.int32)

    def run(params: dict[str, Any], hidden: dict[str, Any], x: Any, data: Any) -> Any:
        pool = evaluate(pick.again(), [x, hidden["b"], hidden["a"]], data, count, names)
        return {"a": fitted(pool[-1], (6,)), "b": fitted(pool[-2], (2, 3))}, 0.0

    program = brainir.lower_step(run, {}, hidden, x, data)
    check_every_value(program, leaves({}, hidden, x, data))
