"""Every operation has a rule in each layer and a program here, and every program comes back as the function it was."""

import functools
import json
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import jsonschema
import pytest

import brainir
from brainir.backend import rules as backend
from brainir.backend.rules import KEY_IMPLEMENTATIONS
from brainir.backend.values import abstract
from brainir.frontend.lowering import lowered_ops
from brainir.ir import type_rules
from brainir.ir.errors import EmissionError
from brainir.ir.node import Node
from brainir.ir.ops import SCHEMAS, AnyNode, Callback, CustomCall
from brainir.ir.program import SCHEMA_VERSION, Program
from brainir.ir.schema import json_schema, schema_change, schema_text
from tests.alone import along, is_inexact
from tests.compare import JAX, assert_same_bits, assert_same_function, optimized_hlo, stablehlo
from tests.compare import lowered as lowered_by_jax
from tests.programs import PROGRAMS, PROGRAMS_HERE, SINCE
from tests.versions import DIFFERENCES, HASHES, WRITTEN_UNDER, differs, digest, without_lines

ROOT = Path(__file__).parents[1]
PARALLEL = [schema for schema in SCHEMAS if schema.__module__ == "brainir.ir.ops.parallel"]
OPS = [op for schema in SCHEMAS for op in schema.ops()]
programs = pytest.mark.parametrize("name", PROGRAMS_HERE)


@functools.cache
def lowered(name: str) -> Program:
    case = PROGRAMS[name]
    return brainir.lower(case.fn, *case.args)


@functools.cache
def regenerated(name: str) -> Callable[..., Any]:
    """Return the function that comes back from the JSON of a program."""
    program = brainir.loads(brainir.dumps(lowered(name)))
    assert program == lowered(name)
    return brainir.to_callable(program)


def ops_of(name: str) -> set[str]:
    return {node.op for function in lowered(name).functions for node in function.nodes}


def descendants(cls: type[Node]) -> Iterator[type[Node]]:
    for each in cls.__subclasses__():
        yield each
        yield from descendants(each)


def missing() -> dict[str, list[str]]:
    """Return what each operation lacks to be one that brainir takes from JAX, stores, checks and gives back."""
    parts = {
        "type rule in brainir/ir/type_rules/": set(type_rules.RULES),
        "frontend rule in brainir/frontend/rules/": lowered_ops(),
        "backend rule in brainir/backend/rules/": set(backend.RULES),
        "program in tests/programs.py": {
            *functools.reduce(operator.or_, map(ops_of, PROGRAMS_HERE)),
            *(op for op, since in SINCE.items() if since > JAX),
            # In tests/test_parallel.py: they need several devices.
            *(op for schema in PARALLEL for op in schema.ops()),
            # In tests/test_externals.py: they run only with what the caller gives.
            *(op for schema in (Callback, CustomCall) for op in schema.ops()),
        },
    }
    lacking = {op: [part for part, having in parts.items() if op not in having] for op in OPS}
    return {op: names for op, names in lacking.items() if names}


def test_every_operation_has_a_rule_in_each_layer_and_a_program() -> None:
    assert missing() == {}, "CONTRIBUTING.md, Adding an operation, says what goes there"


def test_every_class_of_an_operation_is_in_the_union_of_schemas() -> None:
    classes = {each for each in descendants(Node) if each.__module__.startswith("brainir.ir.ops.")}
    assert classes - {*SCHEMAS} == set(), "name it in _AnySchema, and in __all__, of brainir/ir/ops/__init__.py"


@pytest.mark.parametrize(
    ("table", "layer"), [(type_rules.RULES, "type rule"), (backend.RULES, "backend rule"), (PROGRAMS_HERE, "program")]
)
def test_a_missing_part_is_named_with_its_operation(
    table: dict[str, Any], layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(table, "moving windows" if layer == "program" else "dynamic_slice")
    (lacking,) = missing()["dynamic_slice"]
    assert lacking.startswith(layer)


def test_no_layer_has_a_rule_for_an_operation_without_schema() -> None:
    assert set(type_rules.RULES) | lowered_ops() | set(backend.RULES) <= set(OPS)


def test_no_operation_has_two_schemas() -> None:
    assert len(OPS) == len(set(OPS))


def test_a_function_can_hold_nodes_of_every_schema_and_no_others() -> None:
    union, *_ = get_args(AnyNode)
    assert get_args(union) == SCHEMAS


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = (ROOT / f"docs/schema/brainir-{SCHEMA_VERSION}.schema.json").read_text()
    if committed != schema_text():
        pytest.fail(schema_change(json.loads(committed), json_schema()).advice())


@functools.cache
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


@programs
def test_the_file_of_a_program_fits_the_schema(name: str) -> None:
    schema().validate(json.loads(brainir.dumps(lowered(name))))


# What JAX leaves out of a program is not in the StableHLO text of what comes back; XLA would have left it out too.
WITHOUT_A_CONVERSION = "a conversion that changes nothing"


def has_rules(name: str) -> bool:
    return bool(ops_of(name) & {"custom_jvp", "custom_vjp"})


@pytest.mark.parametrize("name", [name for name in PROGRAMS_HERE if name != WITHOUT_A_CONVERSION])
def test_regenerated_function_is_the_same_executable_or_with_rules_gives_the_same_bits(name: str) -> None:
    case = PROGRAMS[name]
    if has_rules(name):
        assert_same_function(regenerated(name), case.fn, *case.args)
    else:
        ours, original = (lowered_by_jax(fn, *case.args) for fn in (regenerated(name), case.fn))
        assert ours.out_tree == original.out_tree
        assert stablehlo(ours) == stablehlo(original)


def test_regenerated_function_without_a_conversion_that_changes_nothing_has_the_same_optimized_hlo() -> None:
    case = PROGRAMS[WITHOUT_A_CONVERSION]
    ours, original = (lowered_by_jax(fn, *case.args) for fn in (regenerated(WITHOUT_A_CONVERSION), case.fn))
    assert optimized_hlo(ours) == optimized_hlo(original)
    other = lowered_by_jax(lambda x: 2 * case.fn(x), *case.args)
    assert optimized_hlo(other) != optimized_hlo(original)


# A text of StableHLO holds every constant and attribute, so one program is run to show that texts stand for results.
def test_regenerated_function_gives_the_same_bits() -> None:
    case = PROGRAMS["loops in loops"]
    assert_same_bits(jax.jit(regenerated("loops in loops"))(*case.args), jax.jit(case.fn)(*case.args))


MOVING = [name for name, case in PROGRAMS_HERE.items() if any(map(is_inexact, case.args))]


@pytest.mark.parametrize("name", [name for name in MOVING if PROGRAMS[name].derivatives != "reverse"])
def test_regenerated_function_has_the_same_tangents_to_the_bit(name: str) -> None:
    case = PROGRAMS[name]

    def tangents(fn: Callable[..., Any]) -> Callable[..., Any]:
        moved, primals = along(fn, case.args)
        directions = [jnp.cos(3 * primal + 1) for primal in primals]
        return lambda: jax.jvp(moved, primals, directions)

    assert_same_function(tangents(regenerated(name)), tangents(case.fn))


@pytest.mark.parametrize("name", [name for name in MOVING if PROGRAMS[name].derivatives != "forward"])
def test_regenerated_function_has_the_same_gradients_to_the_bit(name: str) -> None:
    case = PROGRAMS[name]

    def cotangents(fn: Callable[..., Any]) -> Callable[..., Any]:
        moved, primals = along(fn, case.args)

        def pulled() -> Any:
            results, pull = jax.vjp(moved, *primals)
            return pull([jnp.cos(3 * result + 1) for result in results])

        return pulled

    assert_same_function(cotangents(regenerated(name)), cotangents(case.fn))


@programs
def test_regenerated_function_traces_to_the_same_program(name: str) -> None:
    again = brainir.lower(regenerated(name), *PROGRAMS[name].args)
    assert brainir.fingerprint(again) == brainir.fingerprint(lowered(name))


VERSIONS = json.loads(HASHES.read_text())


@pytest.mark.parametrize("name", sorted(VERSIONS.keys() & PROGRAMS_HERE.keys()))
def test_every_jax_version_writes_the_same_bytes_unless_it_traces_another_program(name: str) -> None:
    same = digest(without_lines(lowered(name))) == VERSIONS[name]
    assert same != bool(differs(name)), "python -m tests.versions, with the JAX of .venv, writes the file anew"


def test_every_program_has_a_hash_of_what_is_written_for_it() -> None:
    programs = {name for name, case in PROGRAMS.items() if case.since <= WRITTEN_UNDER}
    assert programs == VERSIONS.keys(), "python -m tests.versions, with the JAX of .venv, writes the file anew"


def test_the_programs_that_every_jax_version_writes_alike_are_many_enough() -> None:
    assert len(VERSIONS.keys() - DIFFERENCES.keys()) >= 60
    assert DIFFERENCES.keys() <= VERSIONS.keys()


def test_regenerated_function_has_the_same_name_scopes() -> None:
    again = brainir.lower(regenerated("named scopes"), *PROGRAMS["named scopes"].args)
    found, wanted = (
        [(node.op, node.scope) for function in program.functions for node in function.nodes]
        for program in (again, lowered("named scopes"))
    )
    assert found == wanted
    assert ("mul", "cell/gate") in found


def test_comparison_notices_that_one_operation_is_another() -> None:
    program = lowered("comparisons")
    entry = program.entry_function
    nodes = tuple(node.replace(op="ge") if node.op == "gt" else node for node in entry.nodes)
    changed = program.replace(functions=(entry.replace(nodes=nodes),))
    fn, args = PROGRAMS["comparisons"][:2]
    with pytest.raises(AssertionError):
        assert_same_bits(jax.jit(brainir.to_callable(changed))(*args), jax.jit(fn)(*args))
    assert brainir.fingerprint(changed) != brainir.fingerprint(program)


def test_an_attribute_that_names_what_this_jax_does_not_have_is_an_error_of_brainir() -> None:
    program = brainir.lower(lambda x: jnp.matmul(x, x, precision="highest"), jnp.ones((2, 2)))
    changed = brainir.loads(brainir.dumps(program).replace("HIGHEST", "HIGHER"))
    with pytest.raises(EmissionError, match=rf"JAX {jax.__version__} has no lax\.Precision\.HIGHER; correct"):
        jax.make_jaxpr(brainir.to_callable(changed))(jnp.ones((2, 2)))


def test_gradient_of_a_choice_is_differentiated_forwards() -> None:
    """What a branch leaves empty for the other is not mapped over the directions."""

    def fn(x: Any) -> Any:
        return jax.grad(lambda x: jax.lax.cond(x[0] > 0, lambda x: jnp.sum(jnp.sin(x)), jnp.prod, x))(x)

    x = jnp.array([0.5, -0.7, 1.2])
    ours = brainir.to_callable(brainir.lower(fn, x))
    assert_same_bits(jax.jit(jax.jacfwd(ours))(x), jax.jit(jax.jacfwd(fn))(x))


def test_what_a_branch_leaves_empty_is_not_mapped_under_any_jax() -> None:
    def choice(unset: Callable[[], Any]) -> Callable[[Any], Any]:
        def fn(x: Any) -> Any:
            kept = jax.lax.cond(x[0] > 0, lambda x: (jnp.sum(x), jnp.sin(x)), lambda x: (unset(), x), x)
            return jax.lax.cond(x[0] > 0, jnp.multiply, lambda total, x: x, *kept)

        return fn

    x = jnp.array([0.5, -0.7, 1.2])
    program = brainir.lower(choice(lambda: jax.lax.empty((), jnp.float32)), x)
    module: dict[str, Any] = {}
    exec(brainir.to_source(program), module)
    expected = jax.jit(jax.jacfwd(choice(lambda: jnp.float32(0))))(x)
    for ours in (brainir.to_callable(program), module[program.entry]):
        assert_same_bits(jax.jit(jax.jacfwd(ours))(x), expected)


def test_keys_that_jax_does_not_know_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = brainir.dumps(brainir.lower(lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")), 3))
    program = brainir.loads(text.replace('"fry"', '"phx4"').replace("key<fry>", "key<phx4>"))
    monkeypatch.setitem(KEY_IMPLEMENTATIONS, "phx4", "philox_of_tomorrow")
    abstract.cache_clear()
    with pytest.raises(EmissionError, match="has no keys of 'philox_of_tomorrow'"):
        brainir.to_callable(program)
