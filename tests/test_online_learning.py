"""Online gradients against reverse differentiation of models written by hand."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis.passes import UnrollScans
from tests.online_models import (
    ONLINE_MODELS,
    OnlineModel,
    loss,
    plain_step,
    reference_gradients,
    spike,
    window_reference,
)
from tests.quick_compile import quick_options

STEPS = 50


def _learned(case: OnlineModel, dtype: Any, **options: Any) -> Any:
    params, hidden = case.start(dtype)
    xs = case.inputs(STEPS, dtype)
    step = plain_step(case)
    out = jax.eval_shape(step, params, hidden, xs[0])[1]
    targets = jnp.asarray(np.random.default_rng(3).normal(0, 1, (STEPS, *out.shape)), dtype)
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss, **options)
    return learner, params, hidden, xs, targets


def _compiled(function: Callable[..., Any], *args: Any) -> Any:
    return jax.tree.map(np.asarray, jax.jit(function, compiler_options=quick_options())(*args))


def _close(found: Any, expected: Any, tolerance: float) -> None:
    for name, reference in expected.items():
        scale = np.max(np.abs(reference))
        error = np.max(np.abs(found[name] - reference))
        assert error <= tolerance * max(scale, 1e-3), (name, error, scale)


def _step_by_step(learner: Any, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
    def body(carry: Any, given: Any) -> Any:
        carry, value, grads = learner.step(params, carry, *given)
        return carry, (value, grads)

    return jax.lax.scan(body, carry, (xs, targets))


@pytest.mark.parametrize("name", [name for name in ONLINE_MODELS if name != "batched_adaptive_plastic"])
def test_gradients_of_each_step_and_of_a_run_are_those_of_cut_backpropagation(name: str) -> None:
    with jax.enable_x64(True):
        case = ONLINE_MODELS[name]
        learner, params, hidden, xs, targets = _learned(case, jnp.float64)

        def everything(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
            start = learner.init(hidden)
            return (
                _step_by_step(learner, params, start, xs, targets),
                learner.run(params, start, xs, targets),
                reference_gradients(case, params, hidden, xs, targets, cut=not case.exact_bptt),
            )

        (last, (values, found)), (carry, losses, total), expected = _compiled(everything, params, hidden, xs, targets)
    _close(found, expected, 1e-10)
    _close({"losses": losses}, {"losses": values}, 1e-10)
    _close(total, jax.tree.map(lambda leaf: leaf.sum(axis=0), expected), 3e-10)
    for one, two in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-9, atol=2e-9)


@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_gradients_in_single_precision_are_those_of_cut_backpropagation(name: str) -> None:
    case = ONLINE_MODELS[name]
    learner, params, hidden, xs, targets = _learned(case, jnp.float32)

    def both(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
        _, (_, found) = _step_by_step(learner, params, learner.init(hidden), xs, targets)
        return found, reference_gradients(case, params, hidden, xs, targets, cut=not case.exact_bptt)

    found, expected = _compiled(both, params, hidden, xs, targets)
    _close(found, expected, 1e-5)


@pytest.mark.parametrize("name", ["linear_recurrent_unit", "adaptive_plastic", "gated"])
def test_gradients_of_windows_are_those_of_their_definition(name: str) -> None:
    case = ONLINE_MODELS[name]
    with jax.enable_x64(True):
        learner, params, hidden, xs, targets = _learned(case, jnp.float64, window=4)

        def everything(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
            carry, value, first = learner.step(params, learner.init(hidden), xs[:4], targets[:4])
            carry, losses, rest = learner.run(params, carry, xs[4:10], targets[4:10])
            starts = ((0, 4), (4, 8), (8, 10))
            expected = [window_reference(case, params, hidden, xs, targets, *each) for each in starts]
            return (value, losses), (first, rest), expected

        (value, losses), (first, rest), expected = _compiled(everything, params, hidden, xs, targets)
    assert losses.shape == (6,)
    assert value.shape == ()
    _close(first, expected[0], 1e-10)
    _close(rest, jax.tree.map(np.add, expected[1], expected[2]), 1e-10)


def _adaptive(state: Any, y: Any) -> tuple[Any, Any]:
    v, a = state
    z = spike(v - 1 - 0.3 * a)
    return z, jnp.stack([0.9 * v - z + y, 0.95 * a + z])


def _synaptic(state: Any, y: Any) -> tuple[Any, Any]:
    v, g = state
    z, g = spike(v - 1), 0.8 * g + y
    return z, jnp.stack([0.9 * v - z + g, g])


@pytest.mark.parametrize(("name", "unit"), [("adaptive", _adaptive), ("synaptic_current", _synaptic)])
def test_low_rank_gradients_are_those_of_their_definition(name: str, unit: Callable[..., Any]) -> None:
    case, decay = ONLINE_MODELS[name], 0.8
    with jax.enable_x64(True):
        learner, params, hidden, xs, targets = _learned(case, jnp.float64, algorithm="es_d_rtrl", decay=decay)

        def neuron(state: Any, y: Any) -> Any:
            return unit(state, y)[1]

        def spikes(state: Any) -> Any:
            return jax.vmap(lambda each: unit(each, 0.0)[0])(state)

        def objective(state: Any, target: Any) -> Any:
            return loss(spikes(state), target)

        def definition(params: Any, xs: Any, targets: Any) -> Any:
            w, bias = params["w"], params.get("b", 0.0)

            def body(now: Any, given: Any) -> Any:
                state, data, slow, n = now
                x, target = given
                joined = jnp.concatenate([x, spikes(state)])
                transition, direct = jax.vmap(jax.jacfwd(neuron, argnums=(0, 1)))(state, joined @ w + bias)
                state = jax.vmap(neuron)(state, joined @ w + bias)
                data = decay * data + joined
                slow = decay * jnp.einsum("kab,kb->ka", transition, slow) + (1 - decay) * direct
                signal = jax.grad(objective)(state, target)
                total = (signal * slow).sum(axis=1) / (1 - decay**n)
                found = {"w": jnp.outer(data, total), "b": total}
                return (state, data, slow, n + 1), {key: found[key] for key in params}

            start = (jnp.zeros((5, 2)), jnp.zeros(len(w)), jnp.zeros((5, 2)), 1)
            return jax.lax.scan(body, start, (xs, targets))[1]

        def everything(params: Any, xs: Any, targets: Any) -> Any:
            start = learner.init(hidden)
            _, (_, found) = _step_by_step(learner, params, start, xs, targets)
            return found, learner.run(params, start, xs, targets)[2], definition(params, xs, targets)

        # The trace of a bias is that of the product before it.
        assert len(learner.init(hidden)["traces"]) == 1
        found, total, expected = _compiled(everything, params, xs[:12], targets[:12])
    _close(found, expected, 1e-10)
    _close(total, jax.tree.map(lambda leaf: leaf.sum(axis=0), expected), 1e-10)


def test_a_learner_works_under_vmap_as_with_a_batch_axis() -> None:
    params, hidden = ONLINE_MODELS["batched_adaptive_plastic"].start(jnp.float32)
    learner, _, _, xs, targets = _learned(ONLINE_MODELS["batched_adaptive_plastic"], jnp.float32)
    single, _, _, _, _ = _learned(ONLINE_MODELS["adaptive_plastic"], jnp.float32)
    weights = 1 + jnp.arange(targets[0].size).reshape(targets[0].shape) / targets[0].size

    def weighted(out: Any, given: Any) -> Any:
        target, weight = given
        return jnp.sum((out - target) ** 2 * weight)

    step = plain_step(ONLINE_MODELS["adaptive_plastic"])
    one = jax.tree.map(lambda leaf: leaf[0], hidden)
    single = brainir.compile_learner(brainir.lower_step(step, params, one, xs[0, 0]), loss=weighted)

    def mapped(hidden: Any, xs: Any, targets: Any, weights: Any) -> Any:
        each = jnp.broadcast_to(weights, (STEPS, *weights.shape))
        return single.run(params, single.init(hidden), xs, (targets, each))

    _, losses, grads = _compiled(jax.vmap(mapped, in_axes=(0, 1, 1, 0)), hidden, xs, targets, weights)
    _, expected_losses, expected = _compiled(learner.run, params, learner.init(hidden), xs, targets)
    _close({"losses": losses.sum(axis=0)}, {"losses": expected_losses}, 1e-5)
    _close(jax.tree.map(lambda leaf: leaf.sum(axis=0), grads), expected, 1e-5)


def test_traces_are_kept_only_where_they_reach_the_loss() -> None:
    learner, _, hidden, _, _ = _learned(ONLINE_MODELS["adaptive_plastic"], jnp.float32)
    roles = {trace.tail.term: trace.roles for trace in learner.plan.traces}
    members = [path[-1] for path in learner.plan.groups[0].group.hidden_paths]
    assert dict(zip(members, roles[0], strict=True)) == {
        "a": "full", "g": "vector", "r": "none", "u": "none", "v": "full",
    }  # fmt: skip
    dense = max(learner.init(hidden)["traces"].values(), key=lambda trace: sum(leaf.size for leaf in trace.values()))
    # The whole ones share an array, as real and imaginary part.
    assert sorted((leaf.shape, str(leaf.dtype)) for leaf in dense.values()) == [
        ((8, 1), "float32"),
        ((8, 5), "complex64"),
    ]


def test_an_example_target_shows_which_results_the_loss_does_not_read() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.9 * hidden["v"] + x @ params["w"]
        a = 0.8 * hidden["a"] + x @ params["u"]
        return {"v": v, "a": a}, {"v": v, "a": a}

    params = {"w": jnp.ones((3, 4)), "u": jnp.ones((3, 4))}
    program = brainir.lower_step(step, params, {"v": jnp.zeros(4), "a": jnp.zeros(4)}, jnp.ones(3))

    def error(out: Any, target: Any) -> Any:
        return jnp.sum((out["v"] - target) ** 2)

    whole = brainir.compile_learner(program, loss=error)
    learner = brainir.compile_learner(program, loss=error, target=jnp.zeros(4))
    assert [len(each.plan.traces) for each in (whole, learner)] == [2, 1]
    found = learner.step(params, learner.init({"v": jnp.zeros(4), "a": jnp.ones(4)}), jnp.ones(3), jnp.zeros(4))
    expected = whole.step(params, whole.init({"v": jnp.zeros(4), "a": jnp.ones(4)}), jnp.ones(3), jnp.zeros(4))
    _close(found[2], expected[2], 1e-6)


def test_memory_of_a_run_does_not_grow_with_its_steps() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["adaptive_plastic"], jnp.float32)
    sizes = []
    for steps in (64, 10_000):
        shapes = [jax.ShapeDtypeStruct((steps, *leaf.shape[1:]), leaf.dtype) for leaf in (xs, targets)]
        run = jax.jit(learner.run, compiler_options=quick_options())
        compiled = run.lower(params, learner.init(hidden), *shapes).compile()
        memory = compiled.memory_analysis()
        sizes.append(memory.temp_size_in_bytes + memory.output_size_in_bytes - 4 * steps)
    # What is left over are the losses of the steps, and alignment.
    assert abs(sizes[1] - sizes[0]) < 4 * 10_000 + 4096, sizes


def test_the_step_is_a_program_that_computes_the_same() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["synaptic_current"], jnp.float32)
    program = brainir.loads(brainir.dumps(learner.program))
    assert brainir.fingerprint(program) == brainir.fingerprint(learner.program)
    carry = learner.init(hidden)
    stored = jax.jit(brainir.to_callable(program), compiler_options=quick_options())
    step = jax.jit(learner.step, compiler_options=quick_options())
    for x, target in zip(xs[:3], targets[:3], strict=True):
        found = stored(learner.named(params), learner.named(carry), x, target)
        carry, value, grads = step(params, carry, x, target)
        expected = (learner.named(carry), value, learner.named(grads))
        jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7), found, expected)


def test_a_weight_whose_trace_cannot_be_followed_is_reported_and_gets_the_gradient_of_the_step() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.9 * hidden["v"] + jax.nn.softmax(x @ params["w"])
        return {"v": v}, v @ params["out"]

    params = {"w": jnp.ones((3, 4)).at[0].set(2.0), "out": jnp.arange(8.0).reshape(4, 2)}
    hidden = {"v": jnp.ones(4)}
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, jnp.ones(3)), loss=loss)
    reasons = {each.path[-1]: each.reason for each in learner.report().excluded}
    assert "mixes positions" in reasons["w"]
    assert "no hidden state" in reasons["out"]
    assert "mixes positions" in str(learner.report())
    assert "<table>" in learner.report()._repr_html_()
    _, _, grads = _compiled(learner.step, params, learner.init(hidden), jnp.arange(3.0), jnp.zeros(2))
    expected = _compiled(jax.grad(lambda p: loss(step(p, hidden, jnp.arange(3.0))[1], jnp.zeros(2))), params)
    _close(grads, expected, 1e-6)


def test_control_flow_that_was_opened_is_reported() -> None:
    report = str(_learned(ONLINE_MODELS["substeps"], jnp.float32)[0].report())
    assert "became 3 copies of its body" in report.partition("rewritten first:")[2]
    assert "run in every step" in str(_learned(ONLINE_MODELS["branches"], jnp.float32)[0].report())


def test_a_weight_in_a_long_scan_is_learned_once_the_scan_is_unrolled() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        v, _ = jax.lax.scan(lambda v, _: (0.9 * v + 0.1 * x @ params["w"], None), hidden["v"], None, length=17)
        return {"v": v}, jnp.tanh(v)

    params, hidden = {"w": jnp.ones((3, 4))}, {"v": jnp.zeros(4)}
    xs, targets = jax.random.normal(jax.random.key(0), (6, 3)), jnp.ones((6, 4))
    program = brainir.lower_step(step, params, hidden, xs[0])
    report = brainir.compile_learner(program, loss=loss).report()
    assert not report.learned
    assert "unroll it first" in str(report)
    unrolled = brainir.run_passes(program, [UnrollScans(max_length=17)])
    learner = brainir.compile_learner(unrolled, loss=loss)

    def backward(params: Any) -> Any:
        def body(hidden: Any, given: Any) -> Any:
            hidden, out = step(params, hidden, given[0])
            return hidden, loss(out, given[1])

        return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

    found = _compiled(lambda params: learner.run(params, learner.init(hidden), xs, targets)[2], params)
    _close(found, _compiled(jax.grad(backward), params), 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "bptt"}, "algorithm must be"),
        ({"algorithm": "es_d_rtrl"}, "needs a decay"),
        ({"algorithm": "es_d_rtrl", "decay": 1.5}, "in \\[0, 1\\)"),
        ({"decay": 0.5}, "has no decay"),
        ({"window": 0}, "at least 1"),
        ({"algorithm": "es_d_rtrl", "decay": 0.5, "window": 3}, "needs the traces"),
    ],
)
def test_wrong_options_say_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(brainir.BrainIRError, match=message):
        _learned(ONLINE_MODELS["leaky"], jnp.float32, **options)


def test_wrong_calls_say_what_to_do() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    carry = learner.init(hidden)
    with pytest.raises(brainir.BrainIRError, match="lower_module or lower_step"):
        brainir.compile_learner(brainir.lower(jnp.sin, 1.0), loss=loss)
    with pytest.raises(brainir.BrainIRError, match="params must be a dict with keys"):
        learner.step({"w": params["w"]}, carry, xs[0], targets[0])
    with pytest.raises(brainir.BrainIRError, match=r"input x is float32\[50,3\]"):
        learner.step(params, carry, xs, targets[0])
    with pytest.raises(brainir.BrainIRError, match="leading axis"):
        learner.run(params, carry, xs, targets[:3])
    vector = brainir.compile_learner(learner.plan.program, loss=lambda out, target: out)
    with pytest.raises(brainir.BrainIRError, match="take a sum or a mean"):
        vector.step(params, vector.init(hidden), xs[0], targets[0])
