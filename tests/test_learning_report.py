"""What a learner says that it does not learn, or not wholly, and what such parameters get."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.analysis_cases import array
from tests.online_models import ONLINE_MODELS, loss, plain_step
from tests.quick_compile import quick_options

REASONS = {
    "readout": "reaches no hidden state",
    "gate": "only through another weight operation",
    "both": "along its paths through another weight operation; along the direct ones it has a trace",
    "stopped": "only through stop_gradient",
    "frozen": "behind a stop_gradient",
    "mixed": "mixes positions",
    "rounded": "whose derivative is zero",
    "sorted": "several results",
    "scanned": "too many to unroll",
    "descended": "unroll it first",
    "looped": "while loop",
    "unused": "does not use",
}
LEARNED = {"both", "learned", "gated", "square"}


def step(params: Any, hidden: Any, x: Any) -> Any:
    """Use each parameter in the way that it is named for."""
    p, v = params, hidden["v"]
    y = x @ p["both"]
    v = 0.9 * v + x @ p["learned"] + y + jnp.tanh(y) @ p["square"]
    v += (x * jax.nn.sigmoid(x @ p["gate"])) @ p["gated"]
    v += jax.lax.stop_gradient(x @ p["stopped"]) + x @ jax.lax.stop_gradient(p["frozen"])
    v += jax.nn.softmax(x @ p["mixed"])
    v += jax.lax.sort((x[:1] * jnp.arange(4.0), p["sorted"]), num_keys=1)[1]
    v += jax.lax.scan(lambda u, _: (jnp.tanh(u + x @ p["scanned"]), None), jnp.zeros(4), None, length=17)[0]
    zeros = (0, jnp.zeros(4))
    looped = jax.lax.while_loop(lambda now: now[0] < 3, lambda now: (now[0] + 1, x @ p["looped"]), zeros)[1]
    v += jax.lax.stop_gradient(looped)
    w = jax.lax.scan(lambda w, _: (0.9 * w + 0.1 * (x @ p["descended"]), None), hidden["w"], None, length=17)[0]
    count = hidden["count"] + jnp.round(x @ p["rounded"]).astype(jnp.int32)
    return {"v": v, "w": w, "count": count}, (v + w) @ p["readout"]


def test_each_exclusion_is_reported_with_its_reason_and_gets_the_gradient_of_the_step() -> None:
    rng = np.random.default_rng(0)
    shapes = {"gate": (3, 3), "square": (4, 4), "sorted": (4,), "readout": (4, 2)}
    params = {name: rng.normal(0, 0.5, shapes.get(name, (3, 4))).astype(np.float32) for name in {*REASONS, *LEARNED}}
    hidden = {"v": jnp.ones(4), "w": jnp.ones(4), "count": jnp.zeros(4, jnp.int32)}
    x, target = jnp.asarray([0.5, -1.0, 2.0]), jnp.ones(2)
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, x), loss=loss)
    report = learner.report()
    reasons = {each.path[-1]: each.reason for each in report.excluded}
    assert set(reasons) == set(REASONS)
    assert not [name for name, reason in REASONS.items() if reason not in reasons[name]]
    assert {path[-1] for each in report.learned for path in each.paths} == LEARNED
    assert learner._repr_html_() == report._repr_html_()
    places = [f"{each.node}  # {each.source}" for each in report.excluded if each.node]
    assert not [place for place in places if "test_learning_report.py:" not in place or place not in str(report)]
    for reason in reasons.values():
        assert reason in str(report)
        assert reason in report._repr_html_()

    def second(params: Any) -> Any:
        carry, _, _ = learner.step(params, learner.init(hidden), x, target)
        of_the_step = jax.grad(lambda params: loss(step(params, carry["states"], x)[1], target))
        return learner.step(params, carry, x, target)[2], of_the_step(params)

    grads, expected = jax.jit(second, compiler_options=quick_options())(params)
    for name in {*REASONS} - {"both"}:
        np.testing.assert_allclose(grads[name], expected[name], rtol=1e-5, atol=1e-5)
    # The first step left traces.
    for name in LEARNED:
        assert np.abs(grads[name] - expected[name]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("linear_recurrent_unit", []),
        ("gated", ["v -> v through a weight"] * 3),
        ("adaptive_plastic", ["a, r, u, v -> g, v through a weight"]),
        ("late_layer", ["low -> high through a weight"]),
    ],
)
def test_paths_that_no_trace_carries_are_reported(name: str, paths: list[str]) -> None:
    case = ONLINE_MODELS[name]
    params, hidden = case.start(jnp.float32)
    program = brainir.lower_step(plain_step(case), params, hidden, case.inputs(1, jnp.float32)[0])
    report = brainir.compile_learner(program, loss=loss).report()
    assert len(report.dropped) == len(paths)
    _, _, said = str(report).partition("paths that no trace carries from step to step:\n")
    assert [line for line in said.splitlines() if line[2] != " "] == [f"  {path}" for path in dict.fromkeys(paths)]


def test_what_has_no_derivative_is_no_path_that_is_cut() -> None:
    def inhibited(params: Any, hidden: Any, x: Any) -> Any:
        v = jnp.where(jnp.any(hidden["v"] > 1), 0.5, 0.9) * hidden["v"] + x @ params["w"]
        return {"v": v}, v

    program = brainir.lower_step(inhibited, {"w": jnp.ones((3, 4))}, {"v": jnp.zeros(4)}, jnp.ones(3))
    assert not brainir.compile_learner(program, loss=loss).report().dropped
    assert brainir.position_dependence(program).of(program.entry_function.outputs[0], ("v",)) == "mixing"


def test_counters_and_spikes_that_are_kept_as_booleans_do_not_stop_a_trace() -> None:
    def refractory(params: Any, hidden: Any, x: Any) -> Any:
        v = jnp.where(hidden["wait"] > 0, 0.0, 0.9 * hidden["v"]) + x @ params["w"]
        spike = v > 0.5
        wait = jnp.where(spike, 2, jnp.maximum(hidden["wait"] - 1, 0))
        new = {"v": v, "wait": wait, "spike": spike, "clock": hidden["clock"] + 1}
        return new, jnp.tanh(v) + hidden["spike"]

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(0, 0.5, (3, 4)).astype(np.float32)}
    hidden = {"v": jnp.zeros(4), "wait": jnp.zeros(4, jnp.int32), "spike": jnp.zeros(4, bool), "clock": jnp.int32(0)}
    xs, targets = jnp.asarray(rng.normal(0, 1, (12, 3)), jnp.float32), jnp.ones((12, 4))
    program = brainir.lower_step(refractory, params, hidden, xs[0])
    learner = brainir.compile_learner(program, loss=loss)
    assert not learner.report().excluded

    def both(params: Any) -> Any:
        def backward(params: Any) -> Any:
            def body(hidden: Any, given: Any) -> Any:
                hidden, out = refractory(params, hidden, given[0])
                return hidden, loss(out, given[1])

            return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

        return learner.run(params, learner.init(hidden), xs, targets)[2]["w"], jax.grad(backward)(params)["w"]

    found, expected = jax.jit(both, compiler_options=quick_options())(params)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_each_parameter_is_in_the_report_and_integers_get_no_gradient() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        y = x @ params["w"][:, params["order"]]
        return {"v": 0.9 * hidden["v"] + y, "unread": hidden["unread"] + x @ params["u"]}, hidden["v"]

    params = {"w": jnp.ones((3, 2)), "order": jnp.asarray([1, 0]), "u": jnp.ones((3, 2))}
    hidden = {"v": jnp.zeros(2), "unread": jnp.zeros(2)}
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, jnp.ones(3)), loss=loss)
    report = learner.report()
    assert [each.paths for each in report.learned] == [(("w",),)]
    reasons = {each.path[-1]: each.reason for each in report.excluded}
    assert "no derivative: its gradient is zero" in reasons.pop("order")
    assert "only paths that no trace carries lead to a loss" in reasons.pop("u")
    assert not reasons

    def grads(*given: Any) -> Any:
        carry = learner.step(*given)[0]
        return learner.step(params, carry, *given[2:])[2]

    found = jax.jit(grads, compiler_options=quick_options())(params, learner.init(hidden), jnp.ones(3), jnp.ones(2))
    # The result is the old state: 3 at both places, after one step.
    expected = np.broadcast_to(2 * 2.0 * np.asarray([1.0, 1.5])[np.asarray([1, 0])], (3, 2))
    np.testing.assert_allclose(found["w"], expected, rtol=1e-6)
    assert not found["u"].any()
    assert found["order"].dtype == params["order"].dtype
    assert not found["order"].any()


def test_a_weight_of_which_nothing_goes_on_to_the_next_step_is_said_to_get_the_gradient_of_each_step() -> None:
    def vanilla(params: Any, hidden: Any, x: Any) -> Any:
        h = jnp.tanh(x @ params["w"] + hidden["h"] @ params["u"])
        return {"h": h}, h

    params, hidden, x = {"w": jnp.ones((3, 4)) / 9, "u": jnp.eye(4)}, {"h": jnp.ones(4) / 9}, jnp.ones(3)
    learner = brainir.compile_learner(brainir.lower_step(vanilla, params, hidden, x), loss=loss)
    assert str(learner.report()).count("traces: none goes on to the next step: it gets the gradient of each step") == 2
    carry, _, _ = learner.step(params, learner.init(hidden), x, jnp.zeros(4))
    _, _, found = learner.step(params, carry, x, jnp.zeros(4))
    expected = jax.grad(lambda params: loss(vanilla(params, carry["states"], x)[1], jnp.zeros(4)))(params)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), found, expected)


def test_what_is_said_of_many_places_is_said_once_with_the_first_of_them() -> None:
    def settling(params: Any, hidden: Any, x: Any) -> Any:
        h = jax.lax.fori_loop(0, 8, lambda _, h: 0.5 * h + x @ params["w"] + h @ params["u"], hidden["h"])
        return {"h": h}, h

    params, hidden = {"w": jnp.ones((3, 4)), "u": jnp.eye(4)}, {"h": jnp.ones(4)}
    program = brainir.lower_step(settling, params, hidden, jnp.ones(3))
    report = brainir.compile_learner(program, loss=loss).report()
    lines = str(report).splitlines()
    (place,) = [place for place, line in enumerate(lines) if line == "  h -> h through a weight"]
    assert [line.split(":")[0] for line in lines[place + 1 : place + 4]] == [
        f"    at {each.node.split(':')[0]}" for each in report.dropped[:3]
    ]
    assert lines[place + 4] == f"    and at {len(report.dropped) - 3} more"
    assert sum(line.startswith("  u: along its paths") for line in lines) == 1


def test_a_state_that_is_not_hidden_but_carries_a_derivative_is_among_the_paths_that_no_trace_carries() -> None:
    def delayed(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.5 * hidden["v"] + x @ params["w"] - hidden["before"]
        return {"v": v, "before": jnp.tanh(hidden["v"]), "count": hidden["count"] + 1.0}, v

    rng = np.random.default_rng(1)
    params = {"w": rng.normal(0, 0.5, (3, 4)).astype(np.float32)}
    hidden = {"v": jnp.ones(4), "before": jnp.zeros(4), "count": jnp.zeros(())}
    xs, targets = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), jnp.zeros((4, 4))
    program = brainir.lower_step(delayed, params, hidden, xs[0])
    states = [
        state if state.path == ("v",) or state.role == "param" else state.replace(role="other")
        for state in program.interface.states
    ]
    program = program.replace(interface=program.interface.replace(states=tuple(states)))

    def total(params: Any) -> Any:
        def body(now: Any, given: Any) -> Any:
            now, out = delayed(params, now, given[0])
            return now, loss(out, given[1])

        return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

    def far(**options: Any) -> tuple[Any, float]:
        learner = brainir.compile_learner(program, loss=loss, **options)
        found, expected = learner.run(params, learner.init(hidden), xs, targets)[2]["w"], jax.grad(total)(params)["w"]
        return learner.report(), float(np.abs(found - expected).max() / np.abs(expected).max())

    report, error = far()
    assert error > 1e-2
    assert [each.path for each in report.recurrences] == [("before",)]
    lines = str(report).splitlines()
    assert lines[-2:] == [
        "paths that no trace carries from step to step:",
        "  through before: make it a HiddenState, so that credit flows through it position by position; "
        "of a delay, make each step one",
    ]
    assert "before is not a hidden state" in report._repr_html_()
    assert lines[0] == "d_rtrl of delayed, with traces of 12 bytes"
    report, error = far(window=4)
    assert error < 1e-5
    assert str(report).splitlines()[0] == "d_rtrl of delayed, over windows of several steps, with traces of 12 bytes"


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize("write", ["add", "subtract"])
def test_products_that_are_scattered_onto_a_weight_are_learned_as_the_weight_is(write: str, rows: int | None) -> None:
    def one(params: Any, v: Any, x: Any) -> Any:
        onto = getattr(params["b"].at[jnp.array([0, 1, 0])], write)
        v = 0.9 * v + onto(params["w"] * x)
        return v, jnp.tanh(v)

    def step(params: Any, v: Any, x: Any) -> Any:
        return one(params, v, x) if rows is None else jax.vmap(one, in_axes=(None, 0, 0))(params, v, x)

    def of_all_steps(params: Any) -> Any:
        outs = jax.lax.scan(lambda v, x: step(params, v, x), v, xs)[1]
        return jax.vmap(loss)(outs, targets).sum()

    batch = () if rows is None else (rows,)
    params, v, xs = {"b": array(2), "w": array(3, seed=1)}, jnp.zeros((*batch, 2)), array(6, *batch, 3, seed=2)
    targets = array(6, *batch, 2, seed=3)
    learner = brainir.compile_learner(brainir.lower_step(step, params, v, xs[0]), loss=loss)
    report = learner.report()
    assert {name for each in report.learned for (name,) in each.paths} == {"b", "w"}
    assert report.excluded == ()
    assert report.dropped == ()
    found, expected = learner.run(params, learner.init(v), xs, targets)[2], jax.grad(of_all_steps)(params)
    for name in params:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def kept_bytes(program: brainir.Program, algorithm: str, hidden: Any) -> tuple[int, int]:
    """Return the bytes of the traces that the report tells, and those of the arrays."""
    options = {"decay": 0.9} if algorithm == "es_d_rtrl" else {}
    learner = brainir.compile_learner(program, algorithm, loss=loss, **options)  # type: ignore[arg-type]
    traces = jax.eval_shape(learner.init, hidden)["traces"]
    return learner.report().trace_bytes, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(traces))


@pytest.mark.parametrize("algorithm", ["d_rtrl", "es_d_rtrl"])
@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_the_report_says_how_many_bytes_the_traces_take(name: str, algorithm: str) -> None:
    case = ONLINE_MODELS[name]
    params, hidden = case.start(jnp.float32)
    program = brainir.lower_step(plain_step(case), params, hidden, case.inputs(1, jnp.float32)[0])
    told, are = kept_bytes(program, algorithm, hidden)
    assert told == are


@pytest.mark.parametrize(
    ("weights", "states"), [("bfloat16", "float16"), ("bfloat16", "float32"), ("float16", "float16")]
)
def test_the_bytes_of_traces_of_mixed_element_types(weights: str, states: str) -> None:
    def mixed(params: Any, hidden: Any, x: Any) -> Any:
        v = (jnp.float32(0.9) * hidden["v"] + x @ params["w"]).astype(states)
        return {"v": jnp.tanh(v) * hidden["v"] + v}, v

    hidden = {"v": jnp.zeros(4, states)}
    program = brainir.lower_step(mixed, {"w": jnp.ones((3, 4), weights)}, hidden, jnp.ones(3, weights))
    for algorithm in ("d_rtrl", "es_d_rtrl"):
        told, are = kept_bytes(program, algorithm, hidden)
        assert told == are > 0


def window(size: int, stride: int, padding: str) -> Any:
    return lambda y: jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (size,), (stride,), padding)


def held_normalization(y: Any) -> Any:
    hold = jax.lax.stop_gradient
    return ((y - hold(y.mean())) / hold(jnp.std(y))).reshape(3, 2).max(axis=1)


@jax.custom_jvp
def largest(y: Any) -> Any:
    return y.reshape(3, 2).max(axis=1)


@largest.defjvp
def _largest_jvp(primals: Any, tangents: Any) -> Any:
    (y,), (dy,) = primals, tangents
    return largest(y), jnp.sum(jax.nn.softmax(y.reshape(3, 2)) * dy.reshape(3, 2), axis=1)


COMBINED: dict[str, tuple[Any, bool]] = {
    "windows side by side": (window(2, 2, "VALID"), True),
    "the last window is half empty": (window(4, 4, "SAME"), True),
    "elements between windows": (window(1, 2, "VALID"), True),
    "windows overlap": (window(3, 2, "SAME"), False),
    "windows that move by one": (window(2, 1, "VALID"), False),
    "of all": (lambda y: y.max(keepdims=True) * jnp.ones(3), False),
    "softmax over parts": (
        lambda y: (jax.nn.softmax(y.reshape(2, 3), axis=0) * jnp.array([[1.0], [-0.5]])).sum(0),
        True,
    ),
    "twice": (lambda y: y.reshape(3, 2).max(1) * y.reshape(3, 2).min(1) + jnp.tanh(y[::2]), True),
    "and once more elsewhere": (lambda y: y.reshape(3, 2).max(1) + y[:3], False),
    "by a function with a rule": (largest, True),
    "by a product": (lambda y: y.reshape(3, 2) @ jnp.array([0.3, 0.7]), True),
    "after a normalization that is held": (held_normalization, True),
}


@pytest.mark.parametrize("name", COMBINED)
def test_what_combines_elements_is_followed_where_each_goes_into_one_position(name: str) -> None:
    combine, is_traced = COMBINED[name]

    def step(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.9 * hidden["v"] * jnp.cos(hidden["v"]) + combine(x @ params["w"])
        return {"v": v}, v

    params, xs = {"w": array(3, 6)}, array(6, 3)
    hidden = {"v": jnp.zeros(jax.eval_shape(combine, jnp.zeros(6)).shape)}
    targets = array(6, *hidden["v"].shape)
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss)
    assert ["mixes positions" in each.reason for each in learner.report().excluded] == [True] * (not is_traced)

    def total(params: Any) -> Any:
        def body(carried: Any, given: Any) -> Any:
            carried, out = step(params, carried, given[0])
            return carried, loss(out, given[1])

        return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

    found = learner.run(params, learner.init(hidden), xs, targets)[2]["w"]
    assert np.allclose(found, jax.grad(total)(params)["w"], rtol=1e-4, atol=1e-5) == is_traced


def test_with_a_stop_gradient_around_what_mixes_the_rest_has_a_trace() -> None:
    def normalized(params: Any, hidden: Any, x: Any, hold: Any = jax.lax.stop_gradient) -> Any:
        y = x @ params["w"]
        v = 0.9 * hidden["v"] + (y - hold(y.mean())) / hold(jnp.std(y) + 1e-3)
        return {"v": v}, v

    def reasons(step: Any) -> list[str]:
        program = brainir.lower_step(step, {"w": array(3, 4)}, {"v": array(4)}, array(3))
        report = brainir.compile_learner(program, loss=loss).report()
        return [each.reason for each in report.excluded]

    assert reasons(normalized) == []
    (mixed,) = reasons(functools.partial(normalized, hold=lambda value: value))
    assert mixed.endswith("with a stop_gradient around what mixes, such as a mean, the rest has a trace")
