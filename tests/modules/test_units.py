"""Units of a file reach brainunit by their numbers, whatever their text."""

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import pytest
from pydantic import ValidationError

import brainir
from brainir.ir.interface import Unit


@pytest.mark.parametrize("text", ["mV", "a unit of ours", "3/", "mS"])
def test_the_numbers_of_a_unit_decide_not_its_text(text: str) -> None:
    program = brainir.lower(lambda v: v * 2.0, jnp.ones(3) * u.mV)
    (unit,) = program.interface.units
    old, new = f'"unit": "{unit.text}"', f'"unit": "{text}"'
    stored = brainir.dumps(program).replace(old, new).replace(f'"text": "{unit.text}"', f'"text": "{text}"')
    assert stored.count(text) == 3
    renamed = brainir.loads(stored)
    namespace: dict[str, object] = {}
    exec(compile(brainir.to_source(renamed), "source", "exec"), namespace)
    for double in (brainir.to_callable(renamed), namespace[renamed.entry]):
        assert u.math.allclose(double(jnp.ones(3) * u.mV), 2.0 * jnp.ones(3) * u.mV)  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [{"factor": 0.0}, {"scale": float("inf")}, {"base": -1.0}])
def test_a_unit_has_finite_positive_numbers(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Unit(**{"text": "mV", "dimension": (2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), "scale": -3.0, **wrong})


# What brainunit can do with a voltage, a current and a number.
FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sum": lambda v, i, n: u.math.sum(v, axis=0),
    "prod": lambda v, i, n: u.math.prod(v, axis=0),
    "cumsum": lambda v, i, n: u.math.cumsum(v, axis=0),
    "cumprod": lambda v, i, n: u.math.cumprod(v / v),
    "max": lambda v, i, n: u.math.max(v, axis=1),
    "mul": lambda v, i, n: v * i,
    "div": lambda v, i, n: v / i,
    "matmul": lambda v, i, n: v @ i,
    "einsum": lambda v, i, n: u.math.einsum("ij,jk->ik", v, i),
    "outer": lambda v, i, n: u.math.outer(v[0], i[0]),
    "kron": lambda v, i, n: u.math.kron(v, i),
    "convolve": lambda v, i, n: u.math.convolve(v[0], i[0]),
    "sqrt": lambda v, i, n: u.math.sqrt(v),
    "cbrt": lambda v, i, n: u.math.cbrt(v),
    "square": lambda v, i, n: u.math.square(v),
    "power": lambda v, i, n: v**3 / v**0.5,
    "sort": lambda v, i, n: u.math.sort(v),
    "where": lambda v, i, n: u.math.where(n > 0, v, v),
    "clip": lambda v, i, n: u.math.clip(v, 0.1 * u.mV, 1.0 * u.mV),
    "concatenate": lambda v, i, n: u.math.concatenate([v, v]),
    "exp": lambda v, i, n: u.math.exp(v / (1.0 * u.mV)),
    "set": lambda v, i, n: v.at[0].set(v[1]),
    "add in place": lambda v, i, n: v.at[0].add(v[1]),
    "take": lambda v, i, n: u.math.take(v, jnp.array([0, 2]), axis=0),
    "trace": lambda v, i, n: u.math.trace(v),
    "remainder": lambda v, i, n: v % (v + v),
    "inverse": lambda v, i, n: u.linalg.inv(v),
    "norm": lambda v, i, n: u.linalg.norm(v),
    "Fourier": lambda v, i, n: u.math.abs(u.fft.fft(v)),
    "scan": lambda v, i, n: jax.lax.scan(lambda carry, row: (carry + row, carry), v[0], v)[1],
    "cond": lambda v, i, n: jax.lax.cond(n[0, 0] > 0, lambda: v, lambda: v + v),
}
NOT_KNOWN = {"inverse", "Fourier"}


def test_units_of_results_are_those_that_brainunit_gives() -> None:
    x = jnp.linspace(0.5, 1.5, 9).reshape(3, 3)
    for name, fn in FUNCTIONS.items():
        program = brainir.lower(fn, x * u.mV, x.T * u.mA, x)
        report = brainir.check_units(program)
        assert report.ok, name
        (given,) = [leaf.unit for _, _, leaf in program.interface.output_leaves()]
        (found,) = [report.unit_of(output) for output in program.entry_function.outputs]
        assert found == (None if name in NOT_KNOWN else given), name
