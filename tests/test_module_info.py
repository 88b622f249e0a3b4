"""Module information, and what a program must keep to for any analysis."""

import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.interface import State
from brainir.ir.program import Program, Value
from brainir.ir.trees import LeafTree, SequenceTree
from tests.analysis_cases import N_IN, N, array, step, with_parameter_states

P = {"lin": {"bias": array(N), "weight": array(N_IN, N)}}
X = array(N_IN)


def shared(p: Any, h: Any, x: Any) -> Any:
    new = h["a"] + x @ p["lin"]["weight"] + p["lin"]["bias"]
    return {"a": new, "b": new, "c": h["c"]}


def lowered() -> Program:
    return with_parameter_states(step(shared, P, {"a": array(N), "b": array(N), "c": array(N)}, X))


def test_states_map_to_values_and_back() -> None:
    program = lowered()
    info = brainir.module_info(program)
    entry = program.entry_function
    assert list(info.hidden_path_to_invar) == [("a",), ("b",), ("c",)]
    assert info.invar_to_hidden_path == {value: path for path, value in info.hidden_path_to_invar.items()}
    assert info.weight_path_to_invars == {("lin",): info.weight_invars}
    assert [value.shape for value in info.weight_invars] == [(N,), (N_IN, N)]
    assert info.invar_to_weight_path == dict.fromkeys(info.weight_invars, ("lin",))
    assert info.hidden_path_to_outvar[("c",)] == info.hidden_path_to_invar[("c",)]
    assert [value.name for value in info.hidden_path_to_invar.values()] == list(entry.inputs[2:5])
    assert len(info.compiled_model_states) == 4
    assert info.closed_jaxpr is program


def test_states_that_share_a_new_value_all_have_it_and_its_inverse_is_the_first() -> None:
    info = brainir.module_info(lowered())
    value = info.hidden_path_to_outvar[("a",)]
    assert info.hidden_path_to_outvar[("b",)] == value
    assert info.outvar_to_hidden_path[value] == ("a",)
    assert info.hidden_outvar_to_invar[value] == info.hidden_path_to_invar[("a",)]


def test_values_are_keys() -> None:
    value = brainir.module_info(lowered()).weight_invars[0]
    assert {value: 1}[Value(name=value.name, type=value.type)] == 1


def test_module_information_prints_and_gives_the_same_json_each_time() -> None:
    first, second = brainir.module_info(lowered()), brainir.module_info(lowered())
    assert first.to_json() == second.to_json()
    assert "param  lin:" in repr(first)


def as_module(program: Program, *states: State) -> Program:
    interface = program.interface
    return program.replace(interface=interface.replace(kind="module", states=states, params=None, hidden=None))


def test_a_hidden_state_with_several_leaves_is_an_error() -> None:
    program = step(lambda p, h: {"a": h["a"] * 0.5, "b": h["b"]}, {}, {"a": array(N), "b": array(N)})
    pair = SequenceTree(kind="tuple", children=(LeafTree(), LeafTree()))
    program = as_module(program, State(path=("both",), role="hidden", type="HiddenState", tree=pair))
    with pytest.raises(brainir.BrainIRError, match="hidden state both has 2 leaves"):
        brainir.module_info(program)


def test_a_parameter_that_the_step_writes_is_an_error() -> None:
    program = step(lambda p, h: {"w": h["w"] * 0.5}, {}, {"w": array(N)})
    program = as_module(program, State(path=("w",), role="param", type="ParamState", tree=LeafTree()))
    for analysis in (
        brainir.module_info,
        brainir.find_hidden_groups,
        brainir.find_hidden_param_op_relations,
        brainir.add_hidden_perturbation,
        brainir.position_dependence,
    ):
        with pytest.raises(brainir.BrainIRError, match="the step writes the parameter w"):
            analysis(program)


def test_a_state_that_changes_its_type_is_an_error() -> None:
    program = brainir.lower(lambda h: (h.astype(jnp.int32), h), array(N))
    interface = program.interface
    program = program.replace(
        interface=interface.replace(
            kind="module",
            states=(State(path=("h",), role="hidden", type="HiddenState", tree=LeafTree()),),
            arguments=(),
            result=LeafTree(),
        )
    )
    with pytest.raises(brainir.BrainIRError, match="state h changes its type"):
        brainir.module_info(program)


def test_analyses_never_import_jax() -> None:
    program = brainir.dumps(lowered())
    code = (
        "import sys, brainir\n"
        "program = brainir.loads(sys.stdin.read())\n"
        "brainir.module_info(program); brainir.find_hidden_groups(program)\n"
        "brainir.find_hidden_param_op_relations(program); brainir.position_dependence(program)\n"
        "brainir.verify(brainir.add_hidden_perturbation(program).program)\n"
        "from brainir.analysis import relation_diagnostics; relation_diagnostics(program)\n"
        "assert not {'jax', 'brainstate', 'brainunit', 'saiunit'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], input=program, text=True, check=True)
