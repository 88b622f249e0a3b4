"""Every primitive that JAX defines has a rule, or a reason why it has none."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.frontend.rules import RULES, UnsupportedError, operation_of
from tests.harness import primitives as harness

ROOT = Path(__file__).parent.parent


def test_every_primitive_has_a_rule_or_a_reason_and_only_one() -> None:
    names = harness.primitives()
    assert len(names) > 250
    doubtful = {name: found for name in names if len(found := harness.classes(name)) != 1}
    assert doubtful == {}, (
        "what nothing is known of gets a rule (CONTRIBUTING.md, Adding an operation), a reason in"
        " brainir/frontend/refused.py, or, where public JAX puts it into no program, one in tests/harness/primitives.py"
    )


def test_a_primitive_that_nothing_is_known_of_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.lax, "new_p", jax.extend.core.Primitive("new"), raising=False)
    assert "new" in harness.primitives()
    assert harness.classes("new") == []


def test_a_parameter_that_no_rule_names_is_refused_rather_than_dropped() -> None:
    for name in RULES:
        with pytest.raises(UnsupportedError, match="do not fit the rule"):
            operation_of(name, {"added": 1})
    params = {"dimension": 0, "is_stable": True, "num_keys": 1}
    assert operation_of("sort", params).attributes == params
    for changed in ({**params, "added": 1}, {"dimension": 0, "is_stable": True}):
        with pytest.raises(UnsupportedError, match="it takes dimension, is_stable, num_keys"):
            operation_of("sort", changed)


def test_the_page_is_what_the_tables_say() -> None:
    written = (ROOT / "docs/primitives.md").read_text()
    assert written == harness.page(), "python -m tests.harness --primitives --write docs/primitives.md writes it anew"


def test_a_refusal_says_why_and_what_to_do_at_every_place() -> None:
    def fn(x: jax.Array) -> jax.Array:
        first = jax.ffi.ffi_call("first", jax.ShapeDtypeStruct((3,), jnp.float32))(x)
        return jax.ffi.ffi_call("second", jax.ShapeDtypeStruct((3,), jnp.float32))(first)

    with pytest.raises(brainir.BrainIRError, match=r"(?s)1\. ffi_call: .*register_primitive.*2\. ffi_call") as raised:
        brainir.lower(fn, jnp.ones(3))
    assert raised.value.args[0].count("test_primitives.py") == 2
    kept = brainir.lower(fn, jnp.ones(3), keep=("ffi_call",))
    assert [dict(node.params)["target_name"] for node in kept.entry_function.nodes] == ["first", "second"]


def test_what_a_context_tells_the_compiler_is_refused_rather_than_dropped() -> None:
    from jax.experimental.xla_metadata import set_xla_metadata

    def fn(x: jax.Array) -> jax.Array:
        with set_xla_metadata(kind="kernel"):
            y = jnp.sin(x)
        return y * 2.0

    with pytest.raises(
        brainir.BrainIRError, match=r"1\. sin: within jax\.experimental\.xla_metadata: .*kernel"
    ) as raised:
        brainir.lower(fn, jnp.ones(3))
    assert "2. " not in raised.value.args[0]


@pytest.mark.filterwarnings(r"ignore:jax\.lax\.p(send|recv) is deprecated:DeprecationWarning")
def test_a_token_is_refused_with_what_makes_it() -> None:
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("x")

    def sent(x: jax.Array) -> jax.Array:
        token = jax.lax.psend(x, "x", [(0, 0)])
        return jax.lax.precv(token, jax.ShapeDtypeStruct(x.shape, x.dtype), "x", [(0, 0)])

    with pytest.raises(brainir.BrainIRError, match=r"(?s)1\. psend: .*jax\.lax\.ppermute.*2\. precv: "):
        brainir.lower(jax.shard_map(sent, mesh=mesh, in_specs=spec, out_specs=spec), jnp.ones(3))
