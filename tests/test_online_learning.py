"""Online gradients against reverse differentiation of models written by hand."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis.passes import UnrollScans
from brainir.backend.learning.traces import EligibilityTrace
from brainir.ir.errors import EmissionError
from tests.learning_reference import backpropagated, low_rank
from tests.online_models import ONLINE_MODELS, OnlineModel, backward_spike, loss, plain_step
from tests.quick_compile import quick_options

STEPS = 50
WINDOWS = ((0, 4), (4, 8))

# One or more of each kind: dense, LoRA, embedding, convolution, elementwise, sparse, events; batches, several layers,
# weights that are used twice; units without and with adaptation and plasticity, GRU, LSTM, LRU; control flow.
OF_EACH_KIND = (
    "leaky", "batched_low_rank", "embedding", "convolution", "elementwise", "scalar_parameter", "sparse", "events",
    "batched", "two_layers", "late_layer", "shared_weight", "shared_result", "integrate_and_fire", "adaptive",
    "batched_adaptive_plastic", "gated", "long_short_term", "batched_long_short_term", "linear_recurrent_unit",
    "products_with_rules", "backward_rules", "branches", "substeps", "old_state_readout",
    "batched_dendrites", "pooled_convolution", "maxout",
)  # fmt: skip


def _learned(case: OnlineModel, dtype: Any, **options: Any) -> Any:
    params, hidden = case.start(dtype)
    xs, targets = case.inputs(STEPS, dtype), case.targets(STEPS, dtype)
    program = brainir.lower_step(plain_step(case), params, hidden, xs[0])
    return brainir.compile_learner(program, loss=loss, **options), params, hidden, xs, targets


def _compiled(function: Callable[..., Any], *args: Any) -> Any:
    return jax.tree.map(np.asarray, jax.jit(function, compiler_options=quick_options())(*args))


def _close(found: Any, expected: Any, tolerance: float) -> None:
    for name, reference in expected.items():
        scale = np.max(np.abs(reference))
        error = np.max(np.abs(found[name] - reference))
        assert error <= tolerance * max(scale, 1e-3), (name, error, scale)


def _close_in_rows(found: Any, expected: Any, tolerance: float) -> None:
    """Compare gradients of steps, or of windows, each relative to its own size."""
    for row in range(len(jax.tree.leaves(expected)[0])):
        _close(*({name: leaf[row] for name, leaf in tree.items()} for tree in (found, expected)), tolerance)


def _step_by_step(learner: Any, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
    def body(carry: Any, given: Any) -> Any:
        carry, value, grads = learner.step(params, carry, *given)
        return carry, (value, grads)

    return jax.lax.scan(body, carry, (xs, targets))


def _in_two_runs(learner: Any, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
    """Return the carry, and losses and summed gradients of two halves, the second of which starts with traces."""

    def body(carry: Any, given: Any) -> Any:
        carry, losses, grads = learner.run(params, carry, *given)
        return carry, (losses, grads)

    halves = jax.tree.map(lambda leaf: leaf.reshape(2, -1, *leaf.shape[1:]), (xs, targets))
    return jax.lax.scan(body, carry, halves)


def _in_windows(learner: Any, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
    """Return losses and gradients of the windows."""
    xs, targets = (jnp.stack([leaves[start:stop] for start, stop in WINDOWS]) for leaves in (xs, targets))
    return _step_by_step(learner, params, carry, xs, targets)[1]


@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_gradients_of_steps_windows_and_runs_are_those_of_backpropagation(name: str) -> None:
    case, kinds = ONLINE_MODELS[name], OF_EACH_KIND

    def everything(learner: Any, params: Any, hidden: Any, xs: Any, targets: Any, is_double: bool) -> Any:
        start = learner.init(hidden)
        found = {"steps": _step_by_step(learner, params, start, xs, targets)}
        if name in kinds:
            windows = brainir.compile_learner(learner.plan.program, loss=loss, window=4)
            found["windows"] = _in_windows(windows, params, windows.init(hidden), xs, targets)
        if is_double:
            found["run"] = _in_two_runs(learner, params, start, xs, targets)
            found["expected"] = backpropagated(case, params, hidden, xs, targets, WINDOWS)
        return found

    def found_in(dtype: Any) -> Any:
        learner, *given = _learned(case, dtype)
        return _compiled(lambda *given: everything(learner, *given, dtype == jnp.float64), *given)

    with jax.enable_x64(True):
        found = found_in(jnp.float64)
    steps, windows = (
        {key: leaf[rows] for key, leaf in found["expected"].items()} for rows in (slice(STEPS), slice(STEPS, None))
    )
    assert min(np.abs(leaf).max() for leaf in steps.values()) > 1e-3
    (last, (losses, each)), (carry, (run_losses, total)) = found["steps"], found["run"]
    _close_in_rows(each, steps, 1e-10)
    halves = {key: leaf.reshape(2, STEPS // 2, *leaf.shape[1:]).sum(axis=1) for key, leaf in steps.items()}
    _close(total, halves, 3e-10)
    _close({"losses": run_losses.reshape(-1)}, {"losses": losses}, 1e-10)
    for one, two in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-9, atol=2e-9)
    if name in kinds:
        single = found_in(jnp.float32)
        # In single precision a gradient is as good as the largest of its terms is.
        _close(single["steps"][1][1], steps, 1e-5)
        for precision, tolerance in ((found, 1e-10), (single, 1e-5)):
            summed = [losses[slice(*window)].sum() for window in WINDOWS]
            np.testing.assert_allclose(precision["windows"][0], summed, rtol=tolerance)
            _close(precision["windows"][1], windows, tolerance)


def test_states_of_whole_numbers_are_no_hindrance_to_backward_rules() -> None:
    def step(w: Any, hidden: Any, x: Any) -> Any:
        v, waiting = hidden
        z = backward_spike(v - 1)
        waiting = jnp.where(z > 0, 2, jnp.maximum(waiting - 1, 0))
        v = 0.9 * v + jnp.where(waiting == 0, w * x, 0.0) - z
        return (v, waiting), v

    w, hidden = jnp.array([0.9, 1.4, -0.3]), (jnp.zeros(3), jnp.zeros(3, int))
    xs = jax.random.uniform(jax.random.key(0), (20, 3))

    def summed(w: Any) -> Any:
        return jnp.sum(jax.vmap(loss)(jax.lax.scan(functools.partial(step, w), hidden, xs)[1], xs))

    learner = brainir.compile_learner(brainir.lower_step(step, w, hidden, xs[0]), loss=loss)
    _, _, found = learner.run(w, learner.init(hidden), xs, xs)
    np.testing.assert_allclose(found, jax.grad(summed)(w), rtol=1e-5)


@pytest.mark.parametrize("change", [jnp.tanh, lambda ct: jnp.clip(ct, -1, 1), lambda ct: jnp.where(ct > 0, ct, 0)])
def test_a_backward_rule_that_is_not_linear_is_refused_with_the_way_out(change: Any) -> None:
    fired = jax.custom_vjp(lambda v: (v > 0).astype(v.dtype))
    fired.defvjp(lambda v: (fired(v), v), lambda v, ct: (change(ct) / (1 + v**2),))

    def step(w: Any, v: Any, x: Any) -> Any:
        v = 0.9 * v + w * x - fired(v)
        return v, v

    x = jnp.array([0.3, -1.2])
    learner = brainir.compile_learner(brainir.lower_step(step, x, x, x), loss=loss)
    with pytest.raises(
        EmissionError, match=r"is not linear in the cotangents .* change the gradients that the learner"
    ):
        learner.step(x, learner.init(x), x, x)


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_low_rank_gradients_are_those_of_their_definition(name: str) -> None:
    case, decay, steps = ONLINE_MODELS[name], 0.8, 12
    run = ("embedding", "convolution", "batched_adaptive_plastic", "old_state_readout", "long_short_term")
    with jax.enable_x64(True):
        learner, params, hidden, xs, targets = _learned(case, jnp.float64, algorithm="es_d_rtrl", decay=decay)

        def everything(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
            start = learner.init(hidden)
            _, (_, found) = _step_by_step(learner, params, start, xs, targets)
            total = _in_two_runs(learner, params, start, xs, targets)[1][1] if name in run else None
            return found, total, low_rank(case, params, hidden, xs, targets, decay)

        found, total, expected = _compiled(everything, params, hidden, xs[:steps], targets[:steps])
    _close_in_rows(found, expected, 1e-10)
    if total is not None:
        halves = {key: leaf.reshape(2, steps // 2, *leaf.shape[1:]).sum(axis=1) for key, leaf in expected.items()}
        _close(total, halves, 1e-10)


def test_a_state_without_memory_is_learned_through_the_step_that_reads_it_next() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        return {"h": x @ params["w"]}, jnp.tanh(hidden["h"])

    params, hidden = {"w": jnp.ones((3, 4))}, {"h": jnp.zeros(4)}
    xs, targets = jax.random.normal(jax.random.key(0), (6, 3)), jnp.ones((6, 4))
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss)

    def backward(params: Any) -> Any:
        outs = jax.lax.scan(lambda hidden, x: step(params, hidden, x), hidden, xs)[1]
        return jax.vmap(loss)(outs, targets).sum()

    def in_two_runs(params: Any) -> Any:
        carry, _, first = learner.run(params, learner.init(hidden), xs[:3], targets[:3])
        return jax.tree.map(jnp.add, first, learner.run(params, carry, xs[3:], targets[3:])[2])

    _close(_compiled(in_two_runs, params), _compiled(jax.grad(backward), params), 1e-6)


def test_signals_of_the_exit_count_no_path_twice_where_those_of_perturbations_do() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        g = hidden["g"] / 2 + params["w"] * x
        v = hidden["v"] / 4 + g
        return {"g": g, "v": v}, v + hidden["g"]

    params, hidden = {"w": jnp.ones(1)}, {"g": jnp.zeros(1), "v": jnp.zeros(1)}
    program = brainir.lower_step(step, params, hidden, jnp.ones(1))
    learner = brainir.compile_learner(program, loss=lambda out, target: target * jnp.sum(out))
    carry, found = learner.init(hidden), []
    for x in (1.0, 0.0, 0.0):
        carry, _, grads = learner.step(params, carry, jnp.full(1, x), jnp.asarray(8.0))
        found.append(grads["w"].item())
    # From dg/dw = 1, 1/2, 1/4 and dv/dw = 1, 1/4 + 1/2, 3/16 + 1/4; the result reads v, and g of the step before.
    assert found == [8 * 1, 8 * (3 / 4 + 1), 8 * (7 / 16 + 1 / 2)]
    # Of the first step again: what is added to g goes to v too, and both traces are 1.
    perturbation = brainir.add_hidden_perturbation(program)
    run = brainir.to_callable(perturbation.program)
    signals = jax.grad(lambda added: 8 * run(params, hidden, jnp.ones(1), *added)[1].sum())([jnp.zeros(1)] * 2)
    assert [signal.item() for signal in signals] == [8, 8]


@pytest.mark.parametrize("options", [{}, {"algorithm": "es_d_rtrl", "decay": 0.8}, {"window": 5}])
def test_a_learner_works_under_vmap_as_with_a_batch_axis(options: dict[str, Any]) -> None:
    case, single = ONLINE_MODELS["batched_adaptive_plastic"], ONLINE_MODELS["adaptive_plastic"]
    params, hidden = case.start(jnp.float32)
    xs, targets = case.inputs(10, jnp.float32), case.targets(10, jnp.float32)

    def squared(out: Any, target: Any) -> Any:
        return jnp.sum((out - target) ** 2)

    programs = [
        brainir.lower_step(plain_step(each), params, states, x)
        for each, states, x in ((case, hidden, xs[0]), (single, single.start(jnp.float32)[1], xs[0, 0]))
    ]
    batched, one = (brainir.compile_learner(program, loss=squared, **options) for program in programs)

    def both(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
        def mapped(hidden: Any, xs: Any, targets: Any) -> Any:
            return one.run(params, one.init(hidden), xs, targets)[1:]

        losses, grads = jax.vmap(mapped, in_axes=(0, 1, 1))(hidden, xs, targets)
        summed = {name: leaf.sum(axis=0) for name, leaf in (("losses", losses), *grads.items())}
        _, losses, grads = batched.run(params, batched.init(hidden), xs, targets)
        return summed, {"losses": losses, **grads}

    found, expected = _compiled(both, params, hidden, xs, targets)
    assert min(np.abs(leaf).max() for leaf in expected.values()) > 1e-3
    _close(found, expected, 1e-5)


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


def test_uses_of_a_weight_over_the_same_positions_have_one_trace() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        v = jnp.tanh(0.9 * hidden["v"] + x @ params["w"]) + jnp.sin(x**2 @ params["w"])
        return {"v": v}, v + 0.1 * hidden["v"]

    params, hidden = {"w": 0.3 * jnp.arange(12.0).reshape(3, 4)}, {"v": jnp.zeros(4)}
    xs, targets = jax.random.normal(jax.random.key(0), (6, 3)), jnp.ones((6, 4))
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss)
    assert [leaf.shape for leaf in jax.tree.leaves(learner.init(hidden)["traces"])] == [(3, 4)]
    assert len(learner.report().learned) == 2

    def both(params: Any) -> Any:
        carry, _, first = learner.run(params, learner.init(hidden), xs[:3], targets[:3])
        _, (_, rest) = _step_by_step(learner, params, carry, xs[3:], targets[3:])
        return jax.tree.map(lambda one, steps: one + steps.sum(axis=0), first, rest)

    def backward(params: Any) -> Any:
        outs = jax.lax.scan(lambda hidden, x: step(params, hidden, x), hidden, xs)[1]
        return jax.vmap(loss)(outs, targets).sum()

    _close(_compiled(both, params), _compiled(jax.grad(backward), params), 1e-5)


def test_a_convolution_with_groups_keeps_patches() -> None:
    learner, _, hidden, _, _ = _learned(ONLINE_MODELS["strided_convolution"], jnp.float32)
    assert [leaf.shape for leaf in jax.tree.leaves(learner.init(hidden)["traces"])] == [(2, 3, 5, 4, 2, 2, 3)]


@pytest.mark.parametrize("options", [{}, {"algorithm": "es_d_rtrl", "decay": 0.8}])
@pytest.mark.parametrize("name", ["embedding", "batched_embedding"])
def test_traces_of_rows_of_a_table_have_no_jacobian(name: str, options: dict[str, Any]) -> None:
    learner, params, hidden, _, _ = _learned(ONLINE_MODELS[name], jnp.float32, **options)
    kept = jax.tree.leaves(learner.init(hidden)["traces"])
    assert max(leaf.size for leaf in kept) <= hidden["v"].size * len(params["table"])


def test_products_with_a_rule_are_seen_through_where_the_rule_is_linear_in_the_weight() -> None:
    learner, _, hidden, _, _ = _learned(ONLINE_MODELS["products_with_rules"], jnp.float32)
    assert {each.paths[0]: each.form for each in learner.report().learned} == {
        ("w",): "dot",
        ("s",): "sum",
        ("d",): "jacobian",
    }
    sizes = {name.split("/")[0]: leaf["0"].size for name, leaf in learner.init(hidden)["traces"].items()}
    assert sizes == {"w": 3, "s": 6, "d": 5 * 3 * 5}


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


@pytest.mark.parametrize("loss", [lambda out, target: (out - target) ** 2, lambda out, target: jnp.argmax(out)])
def test_with_an_example_target_a_loss_that_is_no_number_is_refused_at_once(loss: Any) -> None:
    case = ONLINE_MODELS["leaky"]
    program = brainir.lower_step(plain_step(case), *case.start(jnp.float32), case.inputs(1, jnp.float32)[0])
    with pytest.raises(EmissionError, match=r"the loss must be one floating point number, not .*take a sum or a mean"):
        brainir.compile_learner(program, loss=loss, target=case.targets(1, jnp.float32)[0])


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


def test_training_for_ten_thousand_steps_takes_the_memory_of_ten() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["adaptive_plastic"], jnp.float32)

    def train(steps: int, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
        def body(number: Any, state: Any) -> Any:
            params, carry = state
            carry, _, grads = learner.step(params, carry, xs[number % STEPS], targets[number % STEPS])
            return jax.tree.map(lambda leaf, grad: leaf - 1e-3 * grad, params, grads), carry

        return jax.lax.fori_loop(0, steps, body, (params, carry))

    given = (params, learner.init(hidden), xs, targets)
    few, many = (
        jax.jit(train, static_argnums=0, compiler_options=quick_options()).lower(steps, *given).compile()
        for steps in (10, 10_000)
    )
    sizes = [each.memory_analysis() for each in (few, many)]
    assert sizes[0].temp_size_in_bytes == sizes[1].temp_size_in_bytes
    assert sizes[0].output_size_in_bytes == sizes[1].output_size_in_bytes
    trained, carry = many(*given)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((trained, carry)))
    for start, end in ((params, trained), (learner.init(hidden)["traces"], carry["traces"])):
        assert any(np.abs(one - two).max() > 1e-2 for one, two in zip(*map(jax.tree.leaves, (start, end)), strict=True))


@pytest.mark.parametrize("options", [{}, {"window": 2}, {"algorithm": "es_d_rtrl", "decay": 0.5}], ids=str)
@pytest.mark.parametrize("name", ["leaky", "adaptive"])
def test_a_run_of_no_steps_changes_nothing(name: str, options: dict[str, Any]) -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS[name], jnp.float32, **options)
    carry, _, _ = learner.run(params, learner.init(hidden), xs[:2], targets[:2])
    after, losses, grads = learner.run(params, carry, xs[:0], targets[:0])
    jax.tree.map(np.testing.assert_array_equal, after, carry)
    assert losses.shape == (0,)
    assert not any(np.any(grad) for grad in jax.tree.leaves(grads))


def test_arrays_of_numpy_are_taken_as_jax_takes_them() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, hidden, xs[0], targets[0]))
    found = learner.step(wide[0], learner.init(wide[1]), *wide[2:])
    jax.tree.map(np.testing.assert_array_equal, found, learner.step(params, learner.init(hidden), xs[0], targets[0]))


def test_a_run_with_traces_of_a_rule_of_its_own_takes_its_steps_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(EligibilityTrace):
        def advance(self, old: Any, env: Any, jacobian: Any) -> Any:
            return super().advance(old, env, {place: 0.5 * entry for place, entry in jacobian.items()})

    remembering, params, hidden, xs, targets = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    monkeypatch.setattr("brainir.backend.learning.rules.EligibilityTrace", Forgetful)
    learner, *_ = _learned(ONLINE_MODELS["leaky"], jnp.float32)

    def by_run(learner: Any, params: Any) -> Any:
        return learner.run(params, learner.init(hidden), xs, targets)[2]

    def by_steps(params: Any) -> Any:
        def body(carry: Any, given: Any) -> Any:
            carry, _, gradients = learner.step(params, carry, *given)
            return carry, gradients

        found = jax.lax.scan(body, learner.init(hidden), (xs, targets))[1]
        return jax.tree.map(lambda each: each.sum(0), found)

    found, others = (_compiled(functools.partial(by_run, each), params) for each in (learner, remembering))
    expected = _compiled(by_steps, params)
    for name in params:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4 * np.abs(expected[name]).max())
    assert any(np.abs(found[name] - others[name]).max() > 1e-2 for name in params)


def test_the_program_of_a_step_does_not_depend_on_what_the_learner_ran_before() -> None:
    """What a container holds besides arrays is that of the call, not of the call before."""

    def step(params: Any, hidden: Any, x: Any) -> Any:
        new = {"h": jnp.tanh(0.5 * hidden["h"] + params(x))}
        return new, new["h"]

    params, hidden, x = jax.tree_util.Partial(jnp.multiply, jnp.ones(3)), {"h": jnp.ones(3)}, jnp.ones(3)
    program = brainir.lower_step(step, params, hidden, x)
    fresh, used = (brainir.compile_learner(program, loss=lambda out, target: jnp.sum(out - target)) for _ in range(2))
    _, _, grads = used.step(params, used.init(hidden), x, x)
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    assert used.program == fresh.program


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
    assert "17 uses" in str(learner.report())

    def backward(params: Any) -> Any:
        def body(hidden: Any, given: Any) -> Any:
            hidden, out = step(params, hidden, given[0])
            return hidden, loss(out, given[1])

        return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

    found = _compiled(lambda params: learner.run(params, learner.init(hidden), xs, targets)[2], params)
    _close(found, _compiled(jax.grad(backward), params), 1e-5)


def test_a_while_loop_on_a_hidden_state_takes_traces_forward() -> None:
    def step(params: Any, hidden: Any, x: Any) -> Any:
        y = 0.1 * x @ params["w"]
        v = 0.3 * jax.lax.while_loop(lambda v: jnp.all(v < 1.0), lambda v: 1.5 * v + 0.5 + 0.1 * y, hidden["v"] + y)
        return {"v": v}, jnp.tanh(v)

    params, hidden = {"w": jnp.ones((3, 4))}, {"v": jnp.zeros(4)}
    xs, targets = jax.random.normal(jax.random.key(0), (6, 3)), jnp.ones((6, 4))
    program = brainir.lower_step(step, params, hidden, xs[0])
    learner = brainir.compile_learner(program, loss=loss)

    def summed(params: Any) -> Any:
        def body(hidden: Any, given: Any) -> Any:
            hidden, out = step(params, hidden, given[0])
            return hidden, loss(out, given[1])

        return jax.lax.scan(body, hidden, (xs, targets))[1].sum()

    found = _compiled(lambda params: learner.run(params, learner.init(hidden), xs, targets)[2], params)
    _close(found, _compiled(jax.jacfwd(summed), params), 1e-5)
    with pytest.raises(brainir.BrainIRError, match="backward through a while loop"):
        brainir.compile_learner(program, loss=loss, window=3)


def test_a_weight_in_a_while_loop_is_refused_unless_no_gradient_goes_through() -> None:
    def step(params: Any, hidden: Any, x: Any, stop: bool) -> Any:
        v = jax.lax.while_loop(lambda v: jnp.all(v < 1.0), lambda v: 1.5 * v + x @ params["w"], hidden["v"])
        return {"v": jax.lax.stop_gradient(v) if stop else v}, v if not stop else hidden["v"]

    params, hidden = {"w": jnp.ones((3, 4))}, {"v": jnp.zeros(4)}
    program = brainir.lower_step(functools.partial(step, stop=False), params, hidden, jnp.ones(3))
    with pytest.raises(brainir.BrainIRError, match=r"while\[.*test_online_learning.*\n.*scan of as many rounds"):
        brainir.compile_learner(program, loss=loss)
    program = brainir.lower_step(functools.partial(step, stop=True), params, hidden, jnp.ones(3))
    assert "is used inside a while loop" in str(brainir.compile_learner(program, loss=loss).report())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "bptt"}, "algorithm must be"),
        ({"algorithm": "es_d_rtrl"}, "needs a decay"),
        ({"algorithm": "es_d_rtrl", "decay": 1.5}, "in \\[0, 1\\)"),
        ({"decay": 0.5}, "has no decay"),
        ({"window": 0}, "at least 1"),
        ({"window": 2.5}, "number of steps"),
        ({"window": True}, "number of steps"),
        ({"algorithm": "es_d_rtrl", "decay": 0.5, "window": 3}, "needs the traces"),
    ],
)
def test_wrong_options_say_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(brainir.BrainIRError, match=message):
        _learned(ONLINE_MODELS["leaky"], jnp.float32, **options)


def test_options_may_be_numbers_of_numpy() -> None:
    for decay, plain in ((np.float32(0.5), 0.5), (np.int64(3), 0.5)):
        learners = [
            _learned(ONLINE_MODELS["leaky"], jnp.float32, algorithm="es_d_rtrl", decay=each)[0]
            for each in (decay, plain)
        ]
        assert learners[0].program == learners[1].program
    assert _learned(ONLINE_MODELS["leaky"], jnp.float32, window=np.int64(3))[0].window == 3


def test_a_carry_of_another_learner_is_refused() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    other, *_ = _learned(ONLINE_MODELS["leaky"], jnp.float32, algorithm="es_d_rtrl", decay=0.5)
    for carry, message in (
        (hidden, "carry must be a dict of 'states' and 'traces'"),
        (None, "not NoneType"),
        (other.init(hidden), r"are not those of this learner: .* start from learner\.init"),
    ):
        with pytest.raises(brainir.BrainIRError, match=message):
            learner.step(params, carry, xs[0], targets[0])
        with pytest.raises(brainir.BrainIRError, match=message):
            learner.run(params, carry, xs, targets)


def test_wrong_calls_say_what_to_do() -> None:
    learner, params, hidden, xs, targets = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    carry = learner.init(hidden)
    with pytest.raises(brainir.BrainIRError, match="lower_module or lower_step"):
        brainir.compile_learner(brainir.lower(jnp.sin, 1.0), loss=loss)
    with pytest.raises(brainir.BrainIRError, match="params must be a dict with keys"):
        learner.step({"w": params["w"]}, carry, xs[0], targets[0])
    with pytest.raises(brainir.BrainIRError, match=r"input x is f32\[50,3\]"):
        learner.step(params, carry, xs, targets[0])
    with pytest.raises(brainir.BrainIRError, match=r"leading axis.* theirs are 50 and 3$"):
        learner.run(params, carry, xs, targets[:3])
    vector = brainir.compile_learner(learner.plan.program, loss=lambda out, target: out)
    with pytest.raises(brainir.BrainIRError, match="take a sum or a mean"):
        vector.step(params, vector.init(hidden), xs[0], targets[0])


def test_a_loss_that_takes_no_target_like_the_result_asks_for_an_example() -> None:
    def of_class(out: Any, target: Any) -> Any:
        if jnp.ndim(target):
            raise NotImplementedError("a class")
        return -jax.nn.log_softmax(out)[target]

    learner, *_ = _learned(ONLINE_MODELS["leaky"], jnp.float32)
    with pytest.raises(brainir.BrainIRError, match=r"\(a class\); give an example of a target"):
        print(brainir.compile_learner(learner.plan.program, loss=of_class).program)
    step = brainir.compile_learner(learner.plan.program, loss=of_class, target=0).program
    assert [argument.name for argument in step.interface.arguments] == ["params", "carry", "x", "target"]


def test_states_and_gradients_are_in_containers_like_those_of_the_arguments() -> None:
    case = ONLINE_MODELS["leaky"]
    plain, params, hidden, xs, targets = _learned(case, jnp.float32)
    held_params, held_hidden = jax.tree_util.Partial(jnp.sin, params), jax.tree_util.Partial(jnp.cos, hidden)

    def step(params: Any, hidden: Any, x: Any) -> Any:
        new, out = plain_step(case)(*params.args, *hidden.args, x)
        return jax.tree_util.Partial(hidden.func, new), out

    learner = brainir.compile_learner(brainir.lower_step(step, held_params, held_hidden, xs[0]), loss=loss)
    carry, value, grads = learner.step(held_params, learner.init(held_hidden), xs[0], targets[0])
    expected = plain.step(params, plain.init(hidden), xs[0], targets[0])
    assert (carry["states"].func, grads.func) == (jnp.cos, jnp.sin)
    found = (*carry["states"].args, value, *grads.args)
    for got, wanted in zip(
        jax.tree.leaves(found), jax.tree.leaves((expected[0]["states"], *expected[1:])), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
