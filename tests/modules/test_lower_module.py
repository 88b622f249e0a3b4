"""What `lower_module` takes from a module, and how it refuses what it cannot represent."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.errors import StateError
from brainir.ir.trees import DictTree, LeafTree
from tests.compare import assert_same_bits
from tests.models import MODELS

X = jnp.ones(3)


class Cell(brainstate.nn.Module):
    """A leaky cell whose step does one more thing, given by the test."""

    def __init__(self, extra: Callable[["Cell"], None], hidden: Any = None) -> None:
        super().__init__()
        self.h = brainstate.HiddenState(jnp.zeros(3) if hidden is None else hidden)
        self.w = brainstate.ParamState(jnp.ones(3))
        self.count = brainstate.ShortTermState(jnp.int32(0))
        self.extra = extra

    def update(self, x: Any) -> Any:
        """Leak, drive, and do what the test asks for."""
        if u.math.get_unit(self.h.value).is_unitless:
            self.h.value = 0.9 * self.h.value + self.w.value * x
        self.extra(self)
        return self.h.value


def nothing(cell: Cell) -> None:
    """Leave the cell as it is."""


def lowering_error(module: Any, *inputs: Any) -> str:
    """Return the message with which lowering refuses a module."""
    with pytest.raises(brainir.BrainIRError) as caught:
        brainir.lower_module(module, *inputs)
    return str(caught.value)


def test_roles_come_from_the_state_types() -> None:
    states = {state.path: state for state in brainir.lower_module(Cell(nothing), X).interface.states}
    assert {path: state.role for path, state in states.items()} == {("h",): "hidden", ("w",): "param"}
    assert not states["w",].returned


def test_states_that_the_step_does_not_use_are_listed() -> None:
    assert brainir.lower_module(Cell(nothing), X).interface.unused == (("count",),)


def test_states_come_in_the_order_of_first_access() -> None:
    program = brainir.lower_module(MODELS["ALIF_STPExpCu_Dense"].build(), X)
    last = [state.path[-1] for state in program.interface.states]
    assert last == ["V", "a", "u", "x", "weight", "g"]


def test_units_of_states_inputs_and_results_are_stored() -> None:
    case = MODELS["observed_ALIF"]
    program = brainir.lower_module(case.build(), *case.inputs(0))
    assert {"mV", "mA"} <= {unit.text for unit in program.interface.units}


def test_uninitialised_states_are_named_with_the_remedy() -> None:
    message = lowering_error(brainstate.nn.GRUCell(3, 4), X)
    assert message.startswith("GRUCell has no state 'h'")
    assert "init_all_states" in message


def test_a_class_in_place_of_a_module_is_refused_by_its_name() -> None:
    with pytest.raises(brainir.BrainIRError, match="not the class GRUCell"):
        brainir.lower_module(brainstate.nn.GRUCell, X)


def test_a_module_that_is_lowered_as_a_function_is_told_what_lowers_its_states() -> None:
    cell = brainstate.nn.GRUCell(3, 4)
    cell.init_state()
    with pytest.raises(Exception, match="tracer") as caught:
        brainir.lower(cell, X)
    assert any("brainir.lower_module" in note for note in caught.value.__notes__)


def test_an_attribute_error_of_the_model_itself_stays_what_it_is() -> None:
    def wrong(cell: Cell) -> None:
        cell.h.value.no_such_method()

    with pytest.raises(AttributeError, match="no_such_method"):
        brainir.lower_module(Cell(wrong), X)


def test_a_parameter_that_the_step_writes_is_named() -> None:
    def learn(cell: Cell) -> None:
        cell.w.value = cell.w.value * 0.5

    message = lowering_error(Cell(learn), X)
    assert "writes the parameter w" in message


def test_a_step_that_trains_is_lowered_as_a_function_of_its_states() -> None:
    cell = Cell(nothing)

    def train(x: Any) -> Any:
        weights = {"w": cell.w}
        slopes, loss = brainstate.transform.grad(lambda: jnp.sum(cell(x) ** 2), weights, return_value=True)()
        cell.w.value = cell.w.value - 0.1 * slopes["w"]
        return loss

    step = brainstate.transform.StatefulFunction(train, return_only_write=False)
    states = step.make_jaxpr(X).get_states(X)
    values = [state.value for state in states]
    program = brainir.lower(step.jaxpr_call, values, X)
    new, loss = jax.jit(brainir.to_callable(program))(values, X)
    assert_same_bits(loss, brainstate.transform.jit(train)(X))
    assert_same_bits(list(new), [state.value for state in states])
    assert "StatefulFunction(step).jaxpr_call" in lowering_error(Cell(lambda cell: setattr(cell.w, "value", X)), X)


def test_a_parameter_that_is_written_back_unchanged_is_no_error() -> None:
    def touch(cell: Cell) -> None:
        cell.w.value = cell.w.value  # counts as a write

    assert brainir.lower_module(Cell(touch), X).interface.states


def test_a_state_whose_unit_changes_is_named_with_both_units() -> None:
    def change(cell: Cell) -> None:
        cell.h.value = u.get_mantissa(cell.h.value) * u.mS

    message = lowering_error(Cell(change, jnp.zeros(3) * u.mV), X)
    assert "state h" in message
    assert "mV" in message
    assert "mS" in message


def test_a_state_keeps_its_unit_where_the_step_writes_it_in_another_way() -> None:
    def halved(h: Any) -> Any:
        return 0.5 * u.get_mantissa(h) * (u.pA / u.ms)

    def halve(cell: Cell) -> None:
        cell.h.value = halved(cell.h.value)

    start = jnp.array([1.0, -2.0, 0.5]) * (u.nA / u.second)
    program = brainir.lower_module(Cell(halve, start), X)
    assert program.interface.states[0].tree == LeafTree(unit="nA / s")
    new, _ = brainir.to_callable(program)({("h",): start}, X)
    assert_same_bits(new, {("h",): halved(start)})

    step = brainir.lower_step(lambda params, hidden, x: ({"h": halved(hidden["h"])}, x), {}, {"h": start}, X)
    assert step.interface.hidden == DictTree(kind="dict", keys=("h",), children=(LeafTree(unit="nA / s"),))
    assert_same_bits(brainir.to_callable(step)({}, {"h": start}, X)[0], {"h": halved(start)})


def test_a_state_whose_structure_changes_is_named_with_both_structures() -> None:
    def pair(cell: Cell) -> None:
        cell.h.value = {"old": cell.h.value, "new": (cell.h.value,)}

    assert "state h (HiddenState) changes its structure from * to {new: (*,), old: *}" in lowering_error(Cell(pair), X)


@pytest.mark.parametrize(
    ("change", "shown"),
    [(lambda h: h[:2], "f32[2]"), (lambda h: h.astype(jnp.float16), "f16[3]"), (lambda h: h > 0, "bool[3]")],
)
def test_a_state_whose_type_changes_is_named_with_both_types(change: Callable[[Any], Any], shown: str) -> None:
    def apply(cell: Cell) -> None:
        cell.h.value = change(cell.h.value)

    message = lowering_error(Cell(apply), X)
    assert "state h" in message
    assert f"from f32[3] to {shown}" in message


def test_states_are_left_as_they_were_when_lowering_fails() -> None:
    def learn(cell: Cell) -> None:
        cell.w.value = cell.w.value * 0.5

    cell = Cell(learn)
    before = cell.w.value
    lowering_error(cell, X)
    assert cell.w.value is before


def test_an_input_of_the_wrong_shape_names_the_argument_and_both_types() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    step, states = brainir.to_callable(program), brainir.read_states(Cell(nothing), program)
    with pytest.raises(brainir.BrainIRError, match=r"argument x is f32\[4\].*f32\[3\]"):
        step(states, jnp.ones(4))


def test_a_wrong_number_of_inputs_shows_the_signature() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    with pytest.raises(brainir.BrainIRError, match=r"Cell\(states, /, x\)"):
        brainir.to_callable(program)(brainir.read_states(Cell(nothing), program))


def test_missing_and_unknown_states_are_named() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    step, states = brainir.to_callable(program), brainir.read_states(Cell(nothing), program)
    with pytest.raises(brainir.BrainIRError, match=r"no value for state.*'h'"):
        step({("w",): states["w",]}, X)
    with pytest.raises(brainir.BrainIRError, match=r"unknown state.*'other'"):
        step({**states, ("other",): X}, X)


def test_a_quantity_of_another_dimension_is_refused_and_of_another_scale_converted() -> None:
    program = brainir.lower_module(Cell(nothing, jnp.zeros(3) * u.mV), X)
    step, states = brainir.to_callable(program), brainir.read_states(Cell(nothing, jnp.zeros(3) * u.mV), program)
    with pytest.raises(brainir.BrainIRError, match="state h must be a quantity in mV, not in mS"):
        step({**states, ("h",): jnp.zeros(3) * u.mS}, X)
    with pytest.raises(brainir.BrainIRError, match=r"state h must be a quantity in mV.* brainunit.parse_unit\('mV'\)"):
        step({**states, ("h",): jnp.zeros(3)}, X)
    assert_same_bits(step({**states, ("h",): jnp.zeros(3) * u.parse_unit("mV")}, X), step(states, X))
    new, _ = step({**states, ("h",): jnp.full(3, 0.5) * u.volt}, X)
    assert jnp.allclose(u.get_mantissa(new["h",]), 500.0)


def test_a_host_callback_is_an_external_that_runs_when_it_is_bound() -> None:
    case = MODELS["dropout_RNN"]
    program = brainir.lower_module(case.build(), *case.inputs(0))
    (node,) = [each for function in program.functions for each in function.nodes if each.op == "debug_callback"]
    with pytest.raises(brainir.BrainIRError, match=node.name):
        brainir.to_callable(program)
    step = brainir.to_callable(program, externals={node.name: lambda *args: None})
    new_states, _ = step(brainir.read_states(case.build(), program), *case.inputs(0))
    assert set(new_states) == {state.path for state in program.interface.states}


def test_passes_remove_a_check_of_what_is_constant_and_its_call_of_the_host() -> None:
    case = MODELS["dropout_RNN"]
    program = brainir.lower_module(case.build(), *case.inputs(0))
    with pytest.raises(brainir.BrainIRError, match=r"calls '_check_p' .* run_passes\(program\) removes"):
        brainir.to_callable(program)
    simplified = brainir.run_passes(program)
    assert not any(node.traits.effectful for function in simplified.functions for node in function.nodes)
    states = brainir.read_states(case.build(), program)
    expected = brainir.to_callable(program, externals={"_check_p": lambda p: None})(states, *case.inputs(0))
    assert_same_bits(brainir.to_callable(simplified)(states, *case.inputs(0)), expected)


def test_something_else_than_a_module_is_refused() -> None:
    assert "brainir.lower for a function" in lowering_error(jnp.sin, X)


def test_read_states_of_another_module_names_the_missing_path() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    case = MODELS["GatedGRU"]
    with pytest.raises(brainir.BrainIRError, match="no state w"):
        brainir.read_states(case.build(), program)


def test_write_states_writes_nothing_when_a_path_is_unknown() -> None:
    cell = Cell(nothing)
    program = brainir.lower_module(cell, X)
    before = cell.h.value
    with pytest.raises(brainir.BrainIRError, match="other is not a state"):
        brainir.write_states(cell, program, {("h",): X, ("other",): X})
    assert cell.h.value is before


@pytest.mark.parametrize("value", [jnp.zeros(4), jnp.zeros((2, 3)), jnp.zeros(3, int), {"h": jnp.zeros(3), "g": X}])
def test_write_states_refuses_what_the_program_does_not_take(value: Any) -> None:
    cell = Cell(nothing)
    program = brainir.lower_module(cell, X)
    before = cell.h.value
    with pytest.raises(
        brainir.BrainIRError, match=r"the value for state h is .*, but the program was lowered for f32\[3\]"
    ):
        brainir.write_states(cell, program, {("h",): value})
    assert cell.h.value is before


@pytest.mark.parametrize(
    ("value", "change"),
    [(X, "its unit from mV to none"), (X * u.mA, "its unit from mV to mA"), ([X * u.mV], "its structure from")],
)
def test_write_states_refuses_another_unit_or_structure_than_the_state_has(value: Any, change: str) -> None:
    cell = Cell(nothing)
    cell.h.value = before = X * u.mV
    program = brainir.lower_module(cell, X)
    with pytest.raises(brainir.BrainIRError, match=f"the value for state h would change {change}"):
        brainir.write_states(cell, program, {("h",): value})
    assert cell.h.value is before


def test_write_states_takes_a_unit_by_any_of_its_names() -> None:
    cell = Cell(nothing)
    cell.h.value = X * u.pA
    program = brainir.lower_module(cell, X)
    brainir.write_states(cell, program, {("h",): 2.0 * X * (u.mV * u.nS)})
    assert_same_bits(cell.h.value.to_decimal(u.pA), 2.0 * X)


def test_a_path_that_is_no_state_is_answered_with_those_that_are() -> None:
    cell = Cell(nothing)
    program = brainir.lower_module(cell, X)
    with pytest.raises(brainir.BrainIRError, match=r"its states are \('h',\)"):
        brainir.write_states(cell, program, {"h": X})


def test_something_else_than_states_by_path_is_not_written() -> None:
    cell = Cell(nothing)
    program = brainir.lower_module(cell, X)
    with pytest.raises(brainir.BrainIRError, match="a dict from path to value, as read_states gives it, not NoneType"):
        brainir.write_states(cell, program, None)  # type: ignore[arg-type]


def test_a_state_outside_the_module_graph_gets_a_made_up_path_and_a_clear_error() -> None:
    stranger = brainstate.ShortTermState(jnp.float32(1))

    def borrow(cell: Cell) -> None:
        cell.h.value = cell.h.value * stranger.value

    program = brainir.lower_module(Cell(borrow), X)
    (state,) = [state for state in program.interface.states if not state.reachable]
    assert state.path == ("_unreachable", 0)
    with pytest.raises(brainir.BrainIRError, match="make it an attribute of the module"):
        brainir.read_states(Cell(borrow), program)


SCRIPT = """
import sys, brainir
from tests.compare import assert_same_bits
from tests.models import MODELS
for name in ("ALIF_STPExpCu_Dense", "LIF_ExpCo", "GroupedALIF_ExpCu", "LRU", "two_layer_GRU"):
    case = MODELS[name]
    sys.stdout.write(brainir.dumps(brainir.lower_module(case.build(), *case.inputs(0))))
"""


def test_two_processes_with_different_hash_seeds_write_the_same_bytes() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu", "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 10_000


def test_sources_name_the_lines_of_the_model() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    sources = {node.source for node in program.entry_function.nodes}
    assert all("test_lower_module.py:" in source and "(update)" in source for source in sources), sources


def test_jax_transformations_of_the_regenerated_step_work() -> None:
    program = brainir.lower_module(Cell(nothing), X)
    step, states = brainir.to_callable(program), brainir.read_states(Cell(nothing), program)
    mapped = jax.vmap(lambda x: step(states, x)[1])(jnp.ones((5, 3)))
    assert mapped.shape == (5, 3)
    tangent = jax.jvp(lambda x: step(states, x)[1], (X,), (X,))[1]
    assert jnp.array_equal(tangent, jnp.ones(3))


class Reader(brainstate.nn.Module):
    """A leaky cell that reads tokens by the embedding of brainstate, which has a derivative rule of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = brainstate.nn.Embedding(10, 3)
        self.h = brainstate.HiddenState(jnp.zeros(3))

    def update(self, token: Any) -> Any:
        """Leak and read."""
        self.h.value = 0.9 * self.h.value + self.table(token)
        return self.h.value


def test_embeddings_have_their_relation_and_the_gradient_of_their_rule() -> None:
    module = Reader()
    program = brainir.loads(brainir.dumps(brainir.lower_module(module, jnp.int32(4))))
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert (relation.path, relation.kind) == (("table", "weight"), "embedding")
    assert relation.connected_hidden_paths == (("h",),)
    states = brainir.read_states(module, program)
    table = states["table", "weight"]

    def ours(value: Any) -> Any:
        return jnp.sum(jnp.sin(brainir.to_callable(program)({**states, ("table", "weight"): value}, jnp.int32(4))[1]))

    def original(value: Any) -> Any:
        return jnp.sum(jnp.sin(0.9 * jnp.zeros(3) + value[4]))

    assert_same_bits(jax.jit(jax.grad(ours))(table), jax.jit(jax.grad(original))(table))


class Mapped(brainstate.nn.Module):
    """Leaky cells driven through a dense layer that brainstate maps over them."""

    def __init__(self) -> None:
        super().__init__()
        self.drive = brainstate.nn.Vmap(brainstate.nn.Linear(3, 4), in_axes=0)
        self.h = brainstate.HiddenState(jnp.zeros((5, 4)))

    def update(self, x: Any) -> Any:
        """Leak and drive all cells."""
        self.h.value = 0.9 * self.h.value + self.drive(x)
        return self.h.value


def test_mapped_module_is_one_program_before_and_after_it_was_run() -> None:
    module, x = Mapped(), jnp.ones((5, 3))
    program = brainir.lower_module(module, x)
    (product,) = [node for node in program.entry_function.nodes if node.op == "dot_general"]
    assert product.types == ("f32[5,4]",)
    module(x)
    assert brainir.dumps(brainir.lower_module(module, x)) == brainir.dumps(program)


class Current(brainstate.nn.Module):
    """A current in a plain attribute; with memory, the step reads it too."""

    def __init__(self, value: Any, remembers: bool = True) -> None:
        super().__init__()
        self.current = value
        self.decay = jnp.ones(3)
        self.remembers = remembers

    def update(self, x: Any) -> Any:
        """Return the new current."""
        self.current = self.decay * self.current + x if self.remembers else self.decay * x
        return self.current


@pytest.mark.parametrize("value", [jnp.zeros(3), jnp.zeros(3) * u.mA])
def test_an_array_in_a_plain_attribute_that_the_step_reads_and_replaces_is_refused_and_stays(value: Any) -> None:
    cell = Cell(lambda cell: cell.part(u.math.ones_like(value)))
    cell.part = Current(value)
    with pytest.raises(StateError, match=r"at part keeps an array in its attribute 'current'.*that is a state"):
        brainir.lower_module(cell, X)
    assert cell.part.current is value


class Kept(brainstate.nn.Module):
    """An array in a container in a plain attribute, in whose place the step puts another one."""

    def __init__(self, held: Any, read: Any, written: Any) -> None:
        super().__init__()
        self.held, self.read, self.written = held, read, written

    def update(self, x: Any) -> Any:
        """Return what is kept now."""
        self.held[self.written] = self.held[self.read] + x
        return self.held[self.written]


@pytest.mark.parametrize("key", [0, "v"])
def test_a_container_in_which_the_step_replaces_an_array_that_it_reads_is_refused_and_stays(key: Any) -> None:
    array = jnp.zeros(3)
    module = Kept([array] if key == 0 else {key: array}, key, key)
    with pytest.raises(StateError, match="Kept keeps an array in its attribute 'held'"):
        brainir.lower_module(module, X)
    assert module.held[key] is array


def test_an_array_that_the_step_reads_beside_one_that_it_replaces_is_no_state() -> None:
    assert brainir.lower_module(Kept([jnp.ones(3), jnp.zeros(3)], 0, 1), X).interface.states == ()


def test_an_attribute_that_the_step_replaces_without_reading_it_is_no_state() -> None:
    current = Current(jnp.zeros(3), remembers=False)
    current(X)
    assert brainir.lower_module(current, X).interface.states == ()
