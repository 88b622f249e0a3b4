"""``brainir.lower_step``: roles, paths, calling convention, gradients through time, errors; a GRU in plain JAX."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir
from brainir.analysis import relation_diagnostics
from brainir.ir.errors import EmissionError, StateError
from brainir.ir.program import Program
from tests.compare import assert_same_bits

N_IN, N = 3, 5


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng((3, *shape)).normal(size=shape), jnp.float32)


def gru_params() -> dict[str, Any]:
    return {
        gate: {"w": normal(N_IN, N) * scale, "u": normal(N, N) * scale, "b": normal(N) * scale}
        for gate, scale in (("reset", 0.5), ("update", 0.6), ("new", 0.7))
    }


def gru(params: Any, hidden: Any, x: Any) -> Any:
    """Take one step of a GRU."""

    def into(gate: str, h: Any) -> Any:
        part = params[gate]
        return x @ part["w"] + h @ part["u"] + part["b"]

    h = hidden["h"]
    reset, update = jax.nn.sigmoid(into("reset", h)), jax.nn.sigmoid(into("update", h))
    new = jnp.tanh(into("new", reset * h))
    h = update * h + (1 - update) * new
    return {"h": h}, {"out": h * 2.0, "gate": update}


HIDDEN = {"h": normal(N)}
XS = normal(10, N_IN)
GRU_PATHS = {(gate, part) for gate in ("reset", "update", "new") for part in ("w", "u", "b")}


def lowered() -> Program:
    program = brainir.lower_step(gru, gru_params(), HIDDEN, XS[0])
    assert brainir.loads(brainir.dumps(program)) == program
    return program


# Roles and calling convention


def test_a_dict_by_path_gives_its_states_these_paths() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        new, out = gru({gate: {part: params[gate, part] for part in "wub"} for gate in gru_params()}, hidden, x)
        return new, out

    params = {path: gru_params()[path[0]][path[1]] for path in GRU_PATHS}
    program = brainir.loads(brainir.dumps(brainir.lower_step(step, params, HIDDEN, XS[0])))
    assert [state.path for state in program.interface.states] == [*sorted(GRU_PATHS), ("h",)]
    namespace: dict[str, Any] = {}
    exec(brainir.to_source(program), namespace)
    for ours in (brainir.to_callable(program), namespace[program.entry]):
        assert_same_bits(jax.jit(ours)(params, HIDDEN, XS[0]), jax.jit(step)(params, HIDDEN, XS[0]))


def test_roles_follow_the_position_of_the_argument() -> None:
    info = brainir.module_info(lowered())
    states = lowered().interface.states
    assert {state.path for state in states if state.role == "param"} == GRU_PATHS
    assert [state.path for state in states if state.role == "hidden"] == [("h",)]
    assert list(info.hidden_path_to_outvar) == [("h",)]
    assert [argument.name for argument in lowered().interface.arguments] == ["x"]


def test_paths_hold_dict_keys_fields_and_indices() -> None:
    class Weights(NamedTuple):
        w: Any
        layers: Any

    def step(params: Any, hidden: Any, x: Any) -> Any:
        h, (c,) = hidden
        return [h * params.w + x, (c + params.layers[1]["b"],)], c

    params = Weights(normal(N), [{"b": normal(2)}, {"b": normal(N)}])
    program = brainir.lower_step(step, params, [HIDDEN["h"], (normal(N),)], 1.0)
    assert [(state.role, state.path) for state in program.interface.states] == [
        ("param", ("w",)),
        ("param", ("layers", 0, "b")),
        ("param", ("layers", 1, "b")),
        ("hidden", (0,)),
        ("hidden", (1, 0)),
    ]
    args = (params, [HIDDEN["h"], (normal(N),)], 1.0)
    assert_same_bits(jax.jit(brainir.to_callable(program))(*args), jax.jit(step)(*args))


@pytest.mark.parametrize("kind", [list, tuple])
def test_parameters_can_be_in_sequences(kind: Any) -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        for w, b in params:
            x = jnp.tanh(x @ w + b)
        return hidden + x, x

    args = (kind([kind([normal(N_IN, N), normal(N)]), kind([normal(N, N), normal(N)])]), HIDDEN["h"], XS[0])
    program = brainir.lower_step(step, *args)
    assert_same_bits(jax.jit(brainir.to_callable(program))(*args), jax.jit(step)(*args))


def test_regenerated_step_equals_the_original_over_10_steps() -> None:
    ours, theirs = jax.jit(brainir.to_callable(lowered())), jax.jit(gru)
    params, hidden, expected = gru_params(), HIDDEN, HIDDEN
    for x in XS:
        hidden, out = ours(params, hidden, x)
        expected, wanted = theirs(params, expected, x)
        assert_same_bits((hidden, out), (expected, wanted))


def test_gradients_of_params_through_10_steps_equal_the_original_ones() -> None:
    def loss(step: Any) -> Any:
        def run(params: Any, hidden: Any) -> Any:
            hidden, outs = lax.scan(lambda hidden, x: step(params, hidden, x), hidden, XS)
            return jnp.sum(jnp.cos(outs["out"])) + jnp.sum(outs["gate"] ** 2) + jnp.sum(hidden["h"])

        return jax.jit(jax.value_and_grad(run, argnums=(0, 1)))

    got = loss(brainir.to_callable(lowered()))(gru_params(), HIDDEN)
    assert_same_bits(got, loss(gru)(gru_params(), HIDDEN))
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(got[1]))


def test_lowering_the_regenerated_step_gives_the_same_program() -> None:
    program = lowered()
    again = brainir.lower_step(brainir.to_callable(program), gru_params(), HIDDEN, XS[0])
    assert brainir.fingerprint(again) == brainir.fingerprint(program)


def test_nothing_is_compiled_to_take_weakly_typed_states_as_strong_ones(caplog: pytest.LogCaptureFixture) -> None:
    weak = lax.broadcast(jnp.asarray(1.0), (3, 41))
    assert weak.weak_type
    with jax.log_compiles():
        program = brainir.lower_step(lambda params, hidden, x: (hidden * x, hidden), {}, weak, np.float32(2.0))
    assert program.entry_function.types == ("f32[3,41]", "f32[]")
    assert not [record.message for record in caplog.records if "ompil" in record.message]


def test_python_numbers_as_states_are_strong_arrays() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        return {"v": hidden["v"] * params["decay"] + x}, hidden["v"]

    program = brainir.lower_step(step, {"decay": 0.9}, {"v": 0.0}, jnp.float32(1.0))
    assert program.entry_function.types == ("f32[]", "f32[]", "f32[]")
    new, _ = brainir.to_callable(program)({"decay": 0.9}, {"v": 2.0}, 1.0)
    assert_same_bits(new["v"], jnp.float32(2.0) * jnp.float32(0.9) + 1)


def test_arrays_of_numpy_as_states_have_the_type_that_jax_gives_them() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        return {"h": 0.5 * hidden["h"] + params * x, "count": hidden["count"] + 1}, x

    plain = brainir.lower_step(step, np.ones(3), {"h": np.zeros(3), "count": np.zeros(3, int)}, np.ones(3))
    made = brainir.lower_step(step, jnp.ones(3), {"h": jnp.zeros(3), "count": jnp.zeros(3, int)}, jnp.ones(3))
    assert plain == made


def test_steps_without_inputs_or_params_are_programs() -> None:
    program = brainir.lower_step(lambda params, hidden: ({"v": hidden["v"] * 0.5}, None), {}, {"v": normal(N)})
    new, out = brainir.to_callable(program)({}, {"v": normal(N)})
    assert_same_bits(new, {"v": normal(N) * 0.5})
    assert out is None


# Errors


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda h: h, r"must return \(hidden, out\), not dict"),
        (lambda h: (h, 1, 2), r"must return \(hidden, out\), not a tuple of 3"),
        (lambda h: [h, 1], r"must return \(hidden, out\), not list"),
        (lambda h: ({"a": h["a"]}, 1), "hidden with the structure"),
        (lambda h: ((h["a"], h["b"]), 1), r"in:  \{a: \*, b: \[\*\]\}\n  out: \(\*, \[\*\]\)"),
        (lambda h: ({**h, "b": [h["b"][0][:2]]}, 1), r"b\.0 changes its type .*, from f32\[5\] to f32\[2\]"),
        (lambda h: ({**h, "a": h["a"].astype(int)}, 1), r"a changes its type .*, from f32\[5\] to i32\[5\]"),
        (lambda h: ({**h, "a": h["a"][None]}, 1), r"a changes its type .*, from f32\[5\] to f32\[1,5\]"),
    ],
)
def test_a_step_that_does_not_return_hidden_as_it_was_is_refused(result: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        brainir.lower_step(lambda params, hidden: result(hidden), {}, {"a": normal(N), "b": [normal(N)]})


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, {}, r"params must be a dict with keys \['new', 'reset', 'update'\]"),
        (1, {"h": normal(N - 1)}, r"hidden\['h'\] is f32\[4\], .*f32\[5\]"),
        (1, normal(N), "hidden must be a dict"),
        (2, normal(N), r"argument x is f32\[5\], .*f32\[3\]"),
    ],
)
def test_arguments_that_do_not_fit_the_step_are_named(index: int, value: Any, message: str) -> None:
    args = [gru_params(), HIDDEN, XS[0]]
    args[index] = value
    with pytest.raises(EmissionError, match=message):
        brainir.to_callable(lowered())(*args)


@pytest.mark.parametrize(
    ("params", "hidden", "paths"),
    [
        ([normal(N)], [normal(N)], [("params", 0), ("hidden", 0)]),
        (normal(N), normal(N), [("params",), ("hidden",)]),
        ({"v": normal(N)}, {"v": normal(N)}, [("params", "v"), ("hidden", "v")]),
        ([normal(N)], {"v": normal(N)}, [(0,), ("v",)]),
    ],
)
def test_paths_that_params_and_hidden_share_begin_with_their_role(params: Any, hidden: Any, paths: list[Any]) -> None:
    def step(params: Any, hidden: Any) -> Any:
        return jax.tree.map(jnp.add, hidden, jax.tree.unflatten(jax.tree.structure(hidden), jax.tree.leaves(params))), 0

    program = brainir.lower_step(step, params, hidden)
    assert [state.path for state in program.interface.states] == paths
    new, _ = brainir.to_callable(program)(params, hidden)
    jax.tree.map(np.testing.assert_array_equal, new, step(params, hidden)[0])


# Analyses of a cell in plain JAX


def test_a_hidden_state_without_a_path_is_called_hidden() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        hidden = 0.5 * hidden + x @ params["w"]
        return hidden, x

    program = brainir.lower_step(step, {"w": jnp.ones((3, 4))}, jnp.zeros(4), jnp.ones(3))
    assert [state.path for state in program.interface.states] == [("w",), ()]
    assert program.entry_function.inputs == ("w", "hidden", "x")
    assert program.entry_function.outputs == ("hidden_new", "x")
    assert brainir.why(program, "()").name == "hidden_group"


def test_hidden_state_of_a_gru_is_one_group() -> None:
    (group,) = brainir.find_hidden_groups(lowered())
    assert group.hidden_paths == (("h",),)


def test_weights_of_a_gru_in_plain_products_are_related_to_its_hidden_state() -> None:
    relations = brainir.find_hidden_param_op_relations(lowered())
    kinds = {relation.path: relation.kind for relation in relations}
    assert kinds == {path: "bias" if path[1] == "b" else "dense" for path in GRU_PATHS if path[0] != "reset"}
    assert {relation.how for relation in relations} == {((("h",), "direct"),)}


def test_weights_of_the_reset_gate_are_said_to_act_through_other_weights() -> None:
    codes = {each.path: each.name for each in relation_diagnostics(lowered())}
    assert codes == {path: "only_through_another_weight" for path in GRU_PATHS if path[0] == "reset"}
