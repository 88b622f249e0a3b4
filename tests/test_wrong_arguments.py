"""What is given in place of a program, and options that there are not, are refused by name where they are given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import relation_diagnostics
from brainir.ir.errors import AnalysisError, EmissionError, FormatError, LoweringError
from brainir.testing import assert_program, check_snapshot

PROGRAM = brainir.lower_step(
    lambda params, hidden, x: ({"h": 0.5 * hidden["h"] + params["w"] * x}, x),
    {"w": jnp.ones(3)},
    {"h": jnp.ones(3)},
    jnp.ones(3),
)

TAKE_A_PROGRAM: dict[str, Callable[[Any], object]] = {
    "add_hidden_perturbation": brainir.add_hidden_perturbation,
    "assert_program": assert_program,
    "check_units": brainir.check_units,
    "compile_learner": lambda given: brainir.compile_learner(given, loss=lambda out, target: out),
    "cost": brainir.cost,
    "diff, new": lambda given: brainir.diff(PROGRAM, given),
    "diff, old": lambda given: brainir.diff(given, PROGRAM),
    "dumps": brainir.dumps,
    "find_hidden_groups": brainir.find_hidden_groups,
    "find_hidden_param_op_relations": brainir.find_hidden_param_op_relations,
    "fingerprint": brainir.fingerprint,
    "first_divergence": lambda given: brainir.first_divergence(PROGRAM, given),
    "module_info": brainir.module_info,
    "position_dependence": brainir.position_dependence,
    "relabel": lambda given: brainir.relabel(given, like=PROGRAM),
    "relabel, like": lambda given: brainir.relabel(PROGRAM, like=given),
    "relation_diagnostics": relation_diagnostics,
    "run_passes": brainir.run_passes,
    "save": lambda given: brainir.save(given, "never written"),
    "strip_constants": brainir.strip_constants,
    "to_callable": brainir.to_callable,
    "to_source": brainir.to_source,
    "verify": brainir.verify,
    "view.to_dot": brainir.view.to_dot,
    "view.to_html": brainir.view.to_html,
    "view.to_html, against": lambda given: brainir.view.to_html(PROGRAM, against=given),
    "view.to_mermaid": brainir.view.to_mermaid,
    "view.to_model_explorer": brainir.view.to_model_explorer,
    "why": lambda given: brainir.why(given, "w"),
}


@pytest.mark.parametrize("name", TAKE_A_PROGRAM)
def test_a_path_in_place_of_a_program_is_refused_with_what_reads_it(name: str) -> None:
    with pytest.raises(brainir.BrainIRError, match=r"not a brainir.Program but str; .*brainir.load reads one"):
        TAKE_A_PROGRAM[name]("model.json")


def test_something_else_than_text_is_refused() -> None:
    with pytest.raises(FormatError, match=r"loads takes the text that dumps wrote, not Program; brainir.load"):
        brainir.loads(PROGRAM)  # type: ignore[arg-type]


def test_options_that_there_are_not_are_refused() -> None:
    with pytest.raises(brainir.BrainIRError, match="'any' or 'dimensionless', not 'dimensionles'"):
        brainir.check_units(PROGRAM, numbers="dimensionles")  # type: ignore[arg-type]
    with pytest.raises(brainir.BrainIRError, match="'d_rtrl' or 'es_d_rtrl', not 'uoro'"):
        brainir.cost(PROGRAM).trace_bytes("uoro")  # type: ignore[arg-type]

    with pytest.raises(brainir.BrainIRError, match="lines must be 'old' or 'new', not 'older'"):
        brainir.relabel(PROGRAM, like=PROGRAM, lines="older")  # type: ignore[arg-type]

    with pytest.raises(brainir.BrainIRError, match="no kind of change 'new'; there are added, removed, moved, "):
        brainir.diff(PROGRAM, PROGRAM).of_kind("new")  # type: ignore[arg-type]


def test_a_function_in_place_of_a_step_is_refused_with_what_makes_states() -> None:
    with pytest.raises(AnalysisError, match="no state 'w'; it has none; lower_module and lower_step make"):
        brainir.why(brainir.lower(jnp.sin, 1.0), "w")


@pytest.mark.parametrize("lower", [brainir.lower, brainir.lower_step])
def test_an_array_or_a_dict_in_place_of_a_function_is_refused_without_its_numbers(lower: Callable[..., object]) -> None:
    with pytest.raises(LoweringError, match=r"^a function comes first, then its example arguments; dict is none$"):
        lower({"w": jnp.ones(3)}, abs, jnp.ones(3))


TAKE_A_FILE: dict[str, Callable[[Any], object]] = {
    "check_snapshot": lambda given: check_snapshot(PROGRAM, given),
    "load": brainir.load,
    "save": lambda given: brainir.save(PROGRAM, given),
    "save_source": lambda given: brainir.save_source(PROGRAM, given),
    "upgrade_file": brainir.upgrade_file,
}


@pytest.mark.parametrize("given", [None, 3, PROGRAM])
@pytest.mark.parametrize("name", TAKE_A_FILE)
def test_what_is_no_path_of_a_file_is_refused(name: str, given: Any) -> None:
    with pytest.raises(FormatError, match=f"a str or pathlib.Path, not {type(given).__name__}; for text in memory"):
        TAKE_A_FILE[name](given)


def test_one_thing_in_place_of_several_is_refused_with_what_is_expected() -> None:
    for passes in (3, None, jnp.sin):
        with pytest.raises(AnalysisError, match=r"is no pass; give a name \(inline, .*\) or an instance of Pass"):
            brainir.run_passes(PROGRAM, passes)  # type: ignore[arg-type]
    with pytest.raises(EmissionError, match=r"externals is a dict of functions by name, .*, not function"):
        brainir.to_callable(PROGRAM, externals=lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match="a list of names or of paths was expected, not 3"):
        assert_program(PROGRAM, no_ops=3)  # type: ignore[arg-type]


def test_a_budget_for_what_is_no_operation_is_refused() -> None:
    with pytest.raises(AnalysisError, match=r"no operation is called 'dot_generl'; is dot_general\b.* meant\?"):
        assert_program(PROGRAM, no_ops=["sort", "dot_generl"])


def test_a_value_is_asked_for_by_its_name_or_as_module_info_gives_it() -> None:
    dependence = brainir.position_dependence(PROGRAM)
    (value,) = brainir.module_info(PROGRAM).hidden_outvars
    assert dependence.of(value, "h") == dependence.of(value.name, "h") == "elementwise"
    np.testing.assert_array_equal(dependence.index_map(value, "h"), dependence.index_map(value.name, "h"))


def test_what_is_no_name_is_refused() -> None:
    dependence = brainir.position_dependence(PROGRAM)
    for path in ("w", 3, ("h", 0)):
        with pytest.raises(AnalysisError, match=r"is not a hidden state; their paths are \('h',\)"):
            dependence.of("h", path)  # type: ignore[arg-type]
    with pytest.raises(
        brainir.BrainIRError, match="a path is a tuple of keys, or a text with dots between them, not int"
    ):
        brainir.why(PROGRAM, 3)  # type: ignore[arg-type]
    with pytest.raises(
        brainir.BrainIRError, match=r"the name of a primitive is a text, not Primitive; write primitive\.name"
    ):
        brainir.register_primitive(jax.lax.sin_p, jnp.sin)  # type: ignore[arg-type]


def test_a_single_text_is_one_operation_and_one_path() -> None:
    assert_program(PROGRAM, no_ops="sort", learned="w", groups=["h"])
    with pytest.raises(AssertionError, match="no_ops allows none of mul, but there are 2"):
        assert_program(PROGRAM, no_ops="mul")
    long = brainir.lower_step(
        lambda params, hidden, x: ({"h": 0.5 * hidden["h"] + params["weight"] * x}, x),
        {"weight": jnp.ones(3)},
        {"h": jnp.ones(3)},
        jnp.ones(3),
    )
    assert_program(long, learned="weight")
