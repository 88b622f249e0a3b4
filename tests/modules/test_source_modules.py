"""Source generated from the corpus of models: the same step as the callable, with and without brainunit."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir
from brainir.ir.types import TensorType
from tests.compare import assert_same_bits
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
    ours, reference = jax.jit(generated(program)), jax.jit(brainir.to_callable(program))
    states = expected = brainir.read_states(module, program)
    for t in range(5):
        states, out = ours(states, *case.inputs(t))
        expected, wanted = reference(expected, *case.inputs(t))
        assert list(states) == list(expected)
        assert_same_bits(out, wanted, f"out of step {t}")
        assert_same_bits(states, expected, f"states after step {t}")


@cases
def test_source_takes_and_returns_plain_numbers_in_the_recorded_units(case: ModelCase) -> None:
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    new, out = generated(program)(mantissas(states), *mantissas(case.inputs(0)))
    expected, wanted = brainir.to_callable(program)(states, *case.inputs(0))
    assert_same_bits(out, mantissas(wanted))
    assert_same_bits(new, mantissas(expected))


@cases
def test_source_has_the_gradients_of_the_callable(case: ModelCase) -> None:
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    leaves, structure = jax.tree.flatten((states, case.inputs(0)))
    moving = [index for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def gradients(step: Callable[..., Any]) -> Any:
        def loss(*values: Any) -> jax.Array:
            given = list(leaves)
            for index, value in zip(moving, values, strict=True):
                given[index] = value
            states, inputs = jax.tree.unflatten(structure, given)
            found = [leaf for leaf in jax.tree.leaves(step(states, *inputs)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
            return sum((jnp.sum(jnp.abs(leaf) ** 2) for leaf in found), jnp.float32(0))

        return jax.jit(jax.grad(loss, tuple(range(len(moving)))))(*(leaves[index] for index in moving))

    assert_same_bits(gradients(generated(program)), gradients(brainir.to_callable(program)))


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


ALONE = """
import ast, json, pathlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("brainir", "brainstate", "brainpy", "brainunit", "saiunit"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import jax, jax.numpy as jnp, numpy as np

def decode(item):
    kind, dtype, shape, data = item
    array = jnp.asarray(np.frombuffer(bytes.fromhex(data), jnp.dtype(dtype)).reshape(shape))
    return jax.random.wrap_key_data(array) if kind == "key" else array

def encode(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return ["key" if is_key else "array", array.dtype.name, list(array.shape), array.tobytes().hex()]

results = {}
for name, case in json.loads(pathlib.Path(sys.argv[1]).read_text()).items():
    namespace = {}
    exec(compile(case["source"], name, "exec"), namespace)
    positions = ast.literal_eval(case["arguments"])
    arguments = jax.tree.map(lambda k: decode(case["leaves"][k]), list(positions[0].values())), positions[1]
    states = dict(zip(positions[0], arguments[0]))
    inputs = jax.tree.map(lambda k: decode(case["leaves"][k]), arguments[1])
    new, out = namespace[case["entry"]](states, *inputs)
    results[name] = [encode(leaf) for leaf in jax.tree.leaves((list(new.values()), out))]
json.dump(results, sys.stdout)
"""


def encode(leaf: Any) -> list[Any]:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return ["key" if is_key else "array", array.dtype.name, list(array.shape), array.tobytes().hex()]


def test_source_of_every_model_runs_where_the_frameworks_cannot_be_imported(tmp_path: Path) -> None:
    written, expected = {}, {}
    for case in STORABLE:
        module = case.build()
        program = brainir.lower_module(module, *case.inputs(0))
        states = brainir.read_states(module, program)
        plain, inputs = mantissas(states), mantissas(case.inputs(0))
        leaves, structure = jax.tree.flatten((list(plain.values()), inputs))
        values, places = jax.tree.unflatten(structure, range(len(leaves)))
        written[case.name] = {
            "source": brainir.to_source(program),
            "entry": program.entry,
            "arguments": repr((dict(zip(plain, values, strict=True)), places)),
            "leaves": [encode(leaf) for leaf in leaves],
        }
        new, out = brainir.to_callable(program)(states, *case.inputs(0))
        expected[case.name] = [encode(leaf) for leaf in jax.tree.leaves((list(new.values()), out))]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(written))
    command = [sys.executable, "-W", "error", "-c", ALONE, str(path)]
    environment = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == expected
