"""Explanations name the way, the operation that decides, the model's line and the remedy."""

import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.analysis import relation_diagnostics
from brainir.analysis.diagnostics import FINDINGS, Diagnostic
from brainir.ir.errors import AnalysisError
from brainir.ir.program import Program
from tests.analysis_cases import array, step

H = {"h": array(4)}
W = array(4, 4)
X = array(4, seed=3)


def gated(params: Any, hidden: Any, x: Any) -> Any:
    r = jax.nn.sigmoid(x @ params["r"])
    return {"h": jnp.tanh((r * hidden["h"]) @ params["c"] + x @ params["b"] * 0.5)}


def readout(params: Any, hidden: Any, x: Any) -> Any:
    h = jnp.tanh(x @ params["w"] + hidden["h"])
    return {"h": h}, h @ params["out"]


def one(fn: Any) -> Program:
    return step(lambda params, hidden, x: {"h": fn(params["w"], hidden["h"], x)}, {"w": W}, H, X)


def test_a_learned_parameter_is_shown_with_its_way_to_the_state() -> None:
    found = brainir.why(step(gated, dict.fromkeys("rcb", W), H, X), "c")
    assert (found.code, found.name, found.learned) == ("BIR100", "learned_online", True)
    assert "dot_general" in found.node
    assert found.source.startswith("test_why.py:")
    assert found.route[0].value == "c"
    assert [each.node.partition(" = ")[2].partition("[")[0].split()[0] for each in found.route[1:]] == [
        "dot_general", "add", "tanh",
    ]  # fmt: skip


def test_a_weight_behind_another_weight_is_blocked_by_that_one() -> None:
    found = brainir.why(step(gated, dict.fromkeys("rcb", W), H, X), ("r",))
    assert (found.code, found.learned) == ("BIR102", False)
    assert " c" in found.node
    assert found.node in [each.node for each in found.route]
    assert "window" in found.remedy


def test_stop_gradient_is_named_as_the_blocking_node() -> None:
    found = brainir.why(one(lambda w, h, x: h * 0.5 + jax.lax.stop_gradient(jnp.sin(x @ w))), "w")
    assert found.code == "BIR104"
    assert "stop_gradient" in found.node
    assert "remove the stop_gradient" in found.remedy
    frozen = brainir.why(one(lambda w, h, x: h * 0.5 + x @ jax.lax.stop_gradient(w)), "w")
    assert frozen.code == "BIR104"
    assert frozen.route[-1].value == "h_new"


@pytest.mark.parametrize(
    ("flat", "op"),
    [
        (jnp.round, "round"),
        (jnp.sign, "sign"),
        (lambda y: (y > 0).astype(jnp.float32), "gt"),
        (lambda y: y.astype(jnp.int32) * 1.0, "convert_element_type"),
    ],
)
def test_an_operation_without_a_derivative_is_named(flat: Any, op: str) -> None:
    def fn(w: Any, h: Any, x: Any) -> Any:
        return h * 0.5 + flat(x @ w)

    found = brainir.why(one(fn), "w")
    assert (found.code, found.name) == ("BIR108", "no_derivative")
    assert f"= {op}" in found.node
    assert not jnp.any(jax.grad(lambda w: jnp.sum(fn(w, H["h"], X)))(W)), "JAX agrees that the gradient is zero"
    with_slope = brainir.why(one(lambda w, h, x: fn(w, h, x) + 0.1 * jnp.tanh(x @ w)), "w")
    assert with_slope.learned


def test_a_weight_that_is_rounded_before_it_is_used_has_no_derivative() -> None:
    def fn(w: Any, h: Any, x: Any) -> Any:
        return h * 0.5 + x @ jnp.round(w)

    found = brainir.why(one(fn), "w")
    assert (found.code, found.learned) == ("BIR108", False)
    assert "= round" in found.node
    assert found.findings == ()
    assert not jnp.any(jax.grad(lambda w: jnp.sum(fn(w, H["h"], X)))(W)), "JAX agrees that the gradient is zero"

    def straight(w: Any, h: Any, x: Any) -> Any:
        return fn(w + jax.lax.stop_gradient(jnp.round(w) - w), h, x) + x @ w

    assert brainir.why(one(straight), "w").learned


def test_a_rounded_leaf_beside_one_that_is_learned_is_named() -> None:
    def fn(p: Any, hidden: Any, x: Any) -> Any:
        return {"h": hidden["h"] * 0.5 + x @ jnp.round(p["layer"]["weight"]) + p["layer"]["bias"]}

    params = {"layer": {"weight": W, "bias": array(4, seed=2)}}
    program = brainir.lower_step(lambda p, h, x: (fn(p, h, x), x), params, H, X)
    codes = {each.path: each.code for each in relation_diagnostics(program)}
    assert codes == {("layer", "weight"): "BIR108"}
    assert brainir.why(program, ("layer", "bias")).learned
    assert brainir.why(program, ("layer", "weight")).code == "BIR108"


@pytest.mark.parametrize("flat", [jnp.round, jnp.sign, lambda y: (y > 0) * 1.0])
def test_relation_diagnostics_name_a_weight_without_derivative(flat: Any) -> None:
    program = one(lambda w, h, x: h * 0.5 + flat(x @ w))
    assert [(each.code, each.path) for each in relation_diagnostics(program)] == [("BIR108", ("w",))]
    with_slope = one(lambda w, h, x: h * 0.5 + flat(x @ w) + jnp.tanh(x @ w))
    assert [each.code for each in relation_diagnostics(with_slope)] == ["BIR108"], "one of its two products"


def test_a_surrogate_derivative_makes_a_step_function_learnable() -> None:
    @jax.custom_jvp
    def spike(y: Any) -> Any:
        return (y > 0).astype(jnp.float32)

    spike.defjvp(lambda primals, tangents: (spike(*primals), tangents[0]))
    assert brainir.why(one(lambda w, h, x: h * 0.5 + spike(x @ w)), "w").learned


def test_readout_unused_and_while_are_told_apart() -> None:
    program = brainir.lower_step(readout, {"w": W, "out": W, "spare": W}, H, X)
    assert brainir.why(program, "out").code == "BIR101"
    assert brainir.why(program, "out").route[-1].value in program.entry_function.outputs
    assert (brainir.why(program, "spare").code, brainir.why(program, "spare").route) == ("BIR107", ())

    def loop(w: Any, h: Any, x: Any) -> Any:
        return jax.lax.while_loop(lambda v: jnp.sum(v) > 9, lambda v: jnp.tanh(v @ w) * 0.5, h + x)

    found = brainir.why(one(loop), "w")
    assert found.name == "weight_in_while"
    assert "while" in found.node


def test_a_hidden_state_is_told_why_it_is_with_others_or_not() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        a = 0.9 * hidden["a"] + x @ params["w"] - hidden["b"]
        return {
            "a": a,
            "b": 0.5 * hidden["b"] + jnp.tanh(a),
            "far": 0.5 * hidden["far"] + jnp.cumsum(hidden["a"]),
            "alone": hidden["alone"] * 0.1,
        }

    program = step(fn, {"w": W}, {name: array(4) for name in ("a", "b", "far", "alone")}, X)
    found = brainir.why(program, "a")
    assert (found.code, found.role) == ("BIR210", "hidden")
    assert "together with b" in found.message
    others = {each.message.partition("with ")[2].split(":")[0]: each for each in found.findings}
    assert others["b"].name == "states_joined"
    assert others["alone"].name == "states_independent"
    assert others["far"].name == "positions_mixed"
    assert "cumsum" in others["far"].node
    assert others["far"].source.startswith("test_why.py:")
    assert found.route[0].value == "a"
    assert "with no other state" in brainir.why(program, "alone").message


def test_a_state_that_reverses_itself_does_not_see_itself_position_by_position() -> None:
    found = brainir.why(one(lambda w, h, x: h[::-1] * 0.5 + x @ w), "h")
    assert "does not see its old one position by position" in found.message
    assert any("not its own" in each.message for each in found.findings)


def test_paths_may_be_dotted_and_an_unknown_one_suggests_near_names() -> None:
    params = {"layer": {"weight": W, "bias": X}}
    program = step(
        lambda p, hidden, x: {"h": hidden["h"] * 0.5 + x @ p["layer"]["weight"] + p["layer"]["bias"]}, params, H, X
    )
    assert brainir.why(program, "layer.weight") == brainir.why(program, ("layer", "weight"))
    assert brainir.why(program, "weight") == brainir.why(program, "layer.weight")
    with pytest.raises(AnalysisError, match=r"no state 'layer\.wieght'; did you mean 'layer\.weight'"):
        brainir.why(program, "layer.wieght")
    with pytest.raises(AnalysisError, match=r"did you mean 'layer\.bias'"):
        brainir.why(program, ("bias",))
    with pytest.raises(AnalysisError, match="it has "):
        brainir.why(program, "zzzz")


def test_an_explanation_is_text_json_and_html_and_the_same_from_a_file() -> None:
    program = step(gated, dict.fromkeys("rcb", W), H, X)
    found = brainir.why(program, "r")
    assert "[BIR102 only_through_another_weight]" in str(found)
    assert "what to do:" in str(found)
    stored = json.loads(found.to_json())
    assert (stored["code"], stored["path"]) == ("BIR102", ["r"])
    assert [each["value"] for each in stored["route"]] == [each.value for each in found.route]
    assert brainir.why(brainir.loads(brainir.dumps(program)), "r").to_json() == found.to_json()
    assert found._repr_html_().startswith("<pre>")


def test_codes_are_distinct_and_every_one_is_documented() -> None:
    codes = [finding.code for finding in FINDINGS.values()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"BIR[1-9]\d\d", code) for code in codes)
    page = (Path(__file__).parents[1] / "docs" / "diagnostics.md").read_text()
    rows = re.findall(r"^\| (BIR\d+) \| `(\w+)` \| (.*?) \| (.*?) \|$", page, flags=re.MULTILINE)
    expected = sorted(
        (finding.code, name, finding.meaning, finding.remedy or "—") for name, finding in FINDINGS.items()
    )
    assert sorted(rows) == expected


def test_an_analysis_of_others_has_codes_of_its_own() -> None:
    own = Diagnostic(code="SIGN1", name="division_by_zero", message="may divide by zero", node="v = div x y")
    assert str(own) == "SIGN1 division_by_zero: may divide by zero\n  at v = div x y"
    assert json.loads(own.to_json())["code"] == "SIGN1"
    for code, name in (("BIR999", "division_by_zero"), ("SIGN1", "readout"), ("BIR101", "division_by_zero")):
        with pytest.raises(ValueError, match=f"{code} {name} is no finding of brainir"):
            Diagnostic(code=code, name=name, message="")


def test_a_weight_operation_with_several_results_is_opaque() -> None:
    @jax.custom_jvp
    def both(w: Any, x: Any) -> Any:
        return x @ w, jnp.cumsum(x @ w)

    @both.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (w, x), (dw, dx) = primals, tangents
        slope = dx @ w + x @ dw
        return both(w, x), (slope, 2.0 * slope)

    found = brainir.why(one(lambda w, h, x: 0.5 * h + sum(both(w, x))), "w")
    assert (found.code, found.name, found.learned) == ("BIR106", "opaque_weight_operation", False)
    assert "custom_jvp" in found.node
    assert found.source.startswith("test_why.py:")
    assert found.remedy


def test_states_that_are_neither_hidden_nor_parameters_are_named() -> None:
    program = step(lambda params, hidden, x: {"h": hidden["h"] * 0.5 + x}, {}, H, X)
    interface = program.interface
    others = tuple(state.replace(role="other") for state in interface.states)
    other = brainir.why(program.replace(interface=interface.replace(states=others)), "h")
    assert (other.code, other.name) == ("BIR204", "other_state")
    module = interface.replace(kind="module", params=None, hidden=None, unused=(("spare",),))
    unused = brainir.why(program.replace(interface=module), "spare")
    assert (unused.code, unused.name) == ("BIR203", "unused_state")
    assert "HiddenState" in other.remedy


def test_every_finding_is_the_subject_of_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    missing = [name for name, each in FINDINGS.items() if f'"{name}"' not in tests and f'"{each.code}"' not in tests]
    assert missing == []


@pytest.mark.parametrize("length", [11, 12, 13])
def test_a_long_way_is_shown_from_its_ends(length: int) -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        value = hidden["v"] + params["b"]
        for _ in range(length - 2):
            value = jnp.sin(value)
        return {"v": value}

    program = step(fn, {"b": jnp.ones(3)}, {"v": jnp.zeros(3)}, jnp.ones(3))
    explanation = brainir.why(program, "b")
    route, text = explanation.route, repr(explanation)
    assert len(route) == length
    shown = [each for each in route if f"    {each!r}\n" in text + "\n"]
    assert shown == (list(route) if length <= 12 else [*route[:11], route[-1]])
    assert ("... 1 more" in text) == (length == 13)
    assert "... 0 more" not in text
    assert repr(route[0]) == "b (input)"
