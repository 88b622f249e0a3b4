"""Units of a file reach brainunit by their numbers, whatever their text."""

import brainunit as u
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
