"""Which sources are lowered to the program that they were written from, and what the others have instead."""

import functools
from typing import Any

import jax
import pytest

import brainir
from tests.programs import PROGRAMS, PROGRAMS_HERE

_ORDER = "lax.scan leaves out constants that its body does not need, and puts the others into an order of its own"
_BACKWARD = "jax.checkpoint cannot say that it stands in a backward pass; the barrier that JAX puts there is written"
_PRODUCT = "lax.custom_linear_solve transposes the product itself"
OTHERS = {
    "decompositions without derivatives": "the module defines the namedtuple of a result that no argument has",
    "gradient of remat": _BACKWARD,
    "gradient of remat that saves a name": _BACKWARD,
    "gradient of remat that saves products": _BACKWARD,
    "loop until, in a batch": "lax.while_loop takes no condition of a batch, which is written out",
    "loop with what it does not need": _ORDER,
    "places of elements in two words": "no public function of JAX gives these numbers, which are computed",
    "remat in a loop": _BACKWARD,
    "solve by an inverse": _PRODUCT,
    "tangent of a loop": _ORDER,
}
"""Programs whose source is lowered to another one that computes the same, and why."""


@functools.cache
def lowered(name: str) -> brainir.Program:
    return brainir.lower(PROGRAMS[name].fn, *PROGRAMS[name].args)


def generated(name: str) -> Any:
    module: dict[str, Any] = {}
    exec(brainir.to_source(lowered(name)), module)
    return module[lowered(name).entry]


@pytest.mark.parametrize("name", PROGRAMS_HERE)
def test_source_is_lowered_to_the_same_program_unless_a_public_function_of_jax_changes_it(name: str) -> None:
    again = brainir.lower(generated(name), *PROGRAMS[name].args)
    assert (brainir.fingerprint(again) == brainir.fingerprint(lowered(name))) == (name not in OTHERS)


@pytest.mark.parametrize("name", sorted(name for name, why in OTHERS.items() if why == _BACKWARD))
def test_what_a_backward_pass_computes_again_is_kept_apart_from_the_forward_pass_as_jax_does(name: str) -> None:
    fn, args = PROGRAMS[name][:2]
    ours = generated(name)
    found, wanted = (jax.jit(f).lower(*args).as_text().count("optimization_barrier") for f in (ours, fn))
    assert found == wanted
    nodes = [node for function in lowered(name).functions for node in function.nodes if node.op == "checkpoint"]
    assert (wanted > 0) == any(node.prevent_cse and node.differentiated for node in nodes)
