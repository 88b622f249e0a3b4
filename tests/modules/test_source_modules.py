"""Source generated from the corpus of models: the same step as the callable, with and without brainunit."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import pytest
from jax import lax

import brainir
from brainir.ir.types import TensorType
from tests import alone
from tests.alone_cases import model_cases
from tests.compare import assert_same_bits, assert_same_function
from tests.models import MODELS, ModelCase

# brainstate's dropout checks its rate through a host callback, which cannot be stored.
STORABLE = [case for name, case in MODELS.items() if name != "dropout_RNN"]
cases = pytest.mark.parametrize("case", STORABLE, ids=lambda case: case.name)


def execute(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source, "generated.py", "exec"), namespace)
    return namespace


def generated(program: brainir.Program) -> Callable[..., Any]:
    return execute(brainir.to_source(program))[program.entry]


def mantissas(tree: Any) -> Any:
    """Return a pytree with plain arrays in place of quantities."""
    return jax.tree.map(
        lambda leaf: leaf.mantissa if isinstance(leaf, u.Quantity) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, u.Quantity),
    )


@cases
def test_source_equals_the_callable_on_the_states_of_the_module(case: ModelCase) -> None:
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    orders: list[list[Any]] = []

    def ordered(step: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            new, out = step(*args)
            orders.append(list(new))
            return new, out

        return noted

    assert_same_function(ordered(generated(program)), ordered(brainir.to_callable(program)), states, *case.inputs(0))
    assert orders == [list(states)] * 2


def with_weak_type(leaf: jax.Array, weak_type: bool) -> jax.Array:
    """Return an array with the weak type that the program was lowered with."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    convert = lax.convert_element_type_p.bind
    return convert(jnp.asarray(leaf), new_dtype=leaf.dtype, weak_type=weak_type, sharding=None)


@cases
def test_source_traces_to_the_program_that_the_callable_traces_to(case: ModelCase) -> None:
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    leaves, structure = jax.tree.flatten((list(states.values()), case.inputs(0)))
    kinds = [TensorType.parse(kind) for kind in program.entry_function.types]
    leaves = [with_weak_type(leaf, kind.weak_type) for leaf, kind in zip(leaves, kinds, strict=True)]
    values, inputs = jax.tree.unflatten(structure, leaves)

    def trace(step: Callable[..., Any]) -> brainir.Program:
        def flat(values: Any, *inputs: Any) -> Any:
            new, out = step(dict(zip(states, values, strict=True)), *inputs)
            return list(new.values()), out

        return brainir.lower(flat, values, *inputs)

    ours, reference = trace(generated(program)), trace(brainir.to_callable(program))
    assert brainir.fingerprint(ours) == brainir.fingerprint(reference)


@cases
def test_lines_are_at_most_100_columns_long(case: ModelCase) -> None:
    source = brainir.to_source(brainir.lower_module(case.build(), *case.inputs(0)))
    assert max(map(len, source.splitlines())) <= 100
    assert ast.parse(source)


def lif() -> tuple[brainir.Program, dict[Any, Any], tuple[Any, ...]]:
    case = MODELS["LIF_ExpCu"]
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    return program, brainir.read_states(module, program), case.inputs(0)


def test_quantity_in_another_unit_of_the_dimension_is_converted() -> None:
    program, states, inputs = lif()
    path = ("neu", "V")
    other = {**states, path: u.Quantity(states[path].to_decimal(u.volt), unit=u.volt)}
    new, _ = generated(program)(other, *inputs)
    expected, _ = brainir.to_callable(program)(other, *inputs)
    assert new[path].unit == u.mV
    assert_same_bits(new, expected)


def test_quantity_of_another_dimension_is_refused() -> None:
    program, states, inputs = lif()
    with pytest.raises(u.UnitMismatchError):
        generated(program)({**states, ("neu", "V"): jnp.ones(4) * u.ms}, *inputs)


def test_mixture_of_quantities_and_plain_numbers_is_refused() -> None:
    program, states, inputs = lif()
    path = ("syn", "comm", "weight")
    ours = generated(program)
    with pytest.raises(TypeError, match="expected a quantity in mS"):
        ours({**states, path: mantissas(states[path])}, *inputs)
    with pytest.raises(TypeError, match="got a quantity"):
        ours({**mantissas(states), path: states[path]}, *inputs)


def test_missing_or_unknown_states_are_refused() -> None:
    program, states, inputs = lif()
    with pytest.raises(TypeError, match="items"):
        generated(program)({**states, ("more",): jnp.ones(4)}, *inputs)
    with pytest.raises(TypeError, match="items"):
        generated(program)({path: states[path] for path in states if path != ("neu", "V")}, *inputs)


def test_result_is_a_quantity_where_only_the_result_has_a_unit_and_brainunit_is_loaded() -> None:
    program = brainir.lower(lambda x: x * u.mV, jnp.ones(2))
    result = generated(program)(jnp.ones(2))
    assert isinstance(result, u.Quantity)
    assert result.unit == u.mV


def test_source_of_every_model_has_values_and_derivatives_of_the_module_where_no_framework_can_be_imported(
    tmp_path: Path,
) -> None:
    cases = [*model_cases()]
    alone.write(tmp_path, cases)
    assert alone.run(tmp_path).startswith(f"{len(STORABLE)} modules")
    assert [*alone.differences(tmp_path, cases)] == []
