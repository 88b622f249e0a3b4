"""Derivative rules are traced once in a process, and again as soon as anything that they are made of has changed."""

import functools
import gc
import operator
import weakref
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import ad, mlir

import brainir
from brainir.frontend.memory.latest import Latest
from brainir.frontend.memory.rules import LOWERED_RULES
from tests.compare import assert_same_bits

X = jnp.array([-0.7, 0.2, 1.5])
SLOPE = 0.5


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    LOWERED_RULES.clear()


class Settings:
    """Something that a rule reads."""

    slope = 2.0


def spike_with(slope: Any) -> Any:
    """Return a step function with a surrogate derivative that closes over its slope."""

    @jax.custom_jvp
    def spike(v: Any) -> Any:
        return (v > 0).astype(v.dtype)

    @spike.defjvp
    def spike_jvp(primals: Any, tangents: Any) -> Any:
        (v,) = primals
        return spike(v), slope * jnp.maximum(0.0, 1.0 - jnp.abs(v)) * tangents[0]

    return spike


@jax.custom_jvp
def counted(v: Any) -> Any:
    """Step function whose rule tells when it is traced."""
    return (v > 0).astype(v.dtype)


@counted.defjvp
def _counted_jvp(primals: Any, tangents: Any) -> Any:
    print("rule")
    return counted(*primals), SLOPE * tangents[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(x: Any, limit: float) -> Any:
    """Identity whose cotangent is clipped."""
    return x


def _clipped_bwd(limit: float, _: Any, g: Any) -> Any:
    print("rule")
    return (jnp.clip(g, -limit, limit),)


clipped.defvjp(lambda x, limit: (x, ()), _clipped_bwd)


@jax.custom_jvp
def reading(v: Any) -> Any:
    """Function whose rule reads a class."""
    return v


@reading.defjvp
def _reading_jvp(primals: Any, tangents: Any) -> Any:
    return reading(*primals), Settings.slope * tangents[0]


@jax.custom_jvp
def disguised(v: Any) -> Any:
    """Function whose rule has the name and module of one of JAX."""
    return v


@disguised.defjvp
@functools.wraps(jnp.sin)
def _disguised_jvp(primals: Any, tangents: Any) -> Any:
    return disguised(*primals), SLOPE * tangents[0]


def gradient(program: brainir.Program) -> Any:
    return jax.grad(lambda x: brainir.to_callable(program)(x).sum())(X)


@pytest.mark.parametrize("fn", [counted, lambda x: clipped(x, 0.5)], ids=["jvp", "vjp"])
def test_rule_is_traced_once_for_all_programs_of_a_process(fn: Any, capsys: pytest.CaptureFixture[str]) -> None:
    brainir.lower(lambda x: fn(fn(x)), X)
    assert capsys.readouterr().out.count("rule") == 1
    brainir.lower(lambda x: fn(x) * 2.0, X)
    assert capsys.readouterr().out == ""
    brainir.lower(lambda x: fn(x), X[:2])
    assert capsys.readouterr().out.count("rule") == 1


@jax.custom_vjp
def spiking(v: Any) -> Any:
    """Step function whose rule is kept in the forward pass of a loop and tells when it is traced."""
    return (v > 0).astype(v.dtype)


def _spiking_fwd(v: Any) -> Any:
    print("rule")
    return spiking(v), v


spiking.defvjp(_spiking_fwd, lambda v, g: (g / (1.0 + SLOPE * jnp.abs(v)),))


def tripled(x: Any) -> Any:
    """Product whose transpose is another one, that reads a global, and is made anew each time."""

    def transposed(factor: Any, g: Any) -> Any:
        print("rule")
        return SLOPE * factor * g

    return jax.custom_derivatives.linear_call(lambda factor, x: factor * x, transposed, 3.0, x)


def test_transpose_is_traced_again_when_what_it_reads_has_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.testing.assert_array_equal(gradient(brainir.lower(tripled, X)), jnp.full(3, 1.5))
    capsys.readouterr()
    again = brainir.lower(tripled, X)
    # Since JAX 0.11.1 what traces the transpose holds values of the trace around it.
    assert jax.__version_info__ >= (0, 11, 1) or capsys.readouterr().out == ""
    np.testing.assert_array_equal(gradient(again), jnp.full(3, 1.5))
    monkeypatch.setattr(f"{__name__}.SLOPE", 2.0)
    np.testing.assert_array_equal(gradient(brainir.lower(tripled, X)), jnp.full(3, 6.0))


SCALES = jnp.array([1.0, 2.0, 3.0])


@jax.custom_vjp
def wave(x: Any) -> Any:
    """Function that closes over an array, with rules that call it."""
    return SCALES * jnp.sin(x)


def _wave_bwd(x: Any, g: Any) -> Any:
    print("rule")
    return (SCALES * jnp.cos(x) * g + wave(x - x),)


def _wave_fwd(x: Any) -> Any:
    print("rule")
    return wave(x), x


wave.defvjp(_wave_fwd, _wave_bwd)


def test_rules_of_a_function_that_closes_over_an_array_and_is_called_in_them_are_traced_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = brainir.lower(jax.jit(wave), X)
    assert capsys.readouterr().out.count("rule") == 2
    again = brainir.to_callable(brainir.loads(brainir.dumps(program)))

    def total(fn: Any, x: Any) -> Any:
        return (fn(x) ** 2).sum()

    for derivative in (jax.grad, lambda fn: jax.grad(lambda x: jax.grad(fn)(x).sum())):
        wanted, found = (derivative(functools.partial(total, fn))(X) for fn in (wave, again))
        np.testing.assert_array_equal(found, wanted)


def test_rule_in_the_gradient_of_a_loop_is_traced_once(capsys: pytest.CaptureFixture[str]) -> None:
    def gradient(x: Any) -> Any:
        return jax.grad(lambda x: jax.lax.scan(lambda c, y: (spiking(c + y), c), x[0], x)[1].sum())(x)

    brainir.lower(lambda x: gradient(x), X)
    capsys.readouterr()
    jax.make_jaxpr(lambda x: gradient(x))(X)
    by_jax = capsys.readouterr().out.count("rule")
    brainir.lower(lambda x: gradient(x), X)
    assert capsys.readouterr().out.count("rule") == by_jax


@pytest.mark.parametrize(
    "fn",
    [
        counted,
        spike_with(1.5),
        lambda x: clipped(x, 0.5) + clipped(x, 1.0),
        lambda x: jax.nn.relu(jax.nn.silu(x)) + jax.nn.softmax(x),
        lambda x: jax.vmap(jax.grad(lambda y: spike_with(0.3)(y) * counted(y)))(x),
        lambda x: jax.lax.scan(lambda c, y: (counted(c + y), c), x[0], x)[1],
    ],
)
def test_program_is_the_same_whether_its_rules_were_remembered_or_not(fn: Any) -> None:
    first = brainir.lower(fn, X)
    assert brainir.dumps(brainir.lower(fn, X)) == brainir.dumps(first)
    LOWERED_RULES.clear()
    brainir.lower(lambda x: counted(jax.nn.relu(clipped(spike_with(0.3)(x), 1.0))), X)
    assert brainir.dumps(brainir.lower(fn, X)) == brainir.dumps(first)
    assert_same_bits(gradient(first), jax.grad(lambda x: fn(x).sum())(X))


@pytest.mark.parametrize("slopes", [(1.0, 2.0), (0.0, -0.0), (1, True), (np.ones(3, "f"), np.full(3, 2.0, "f"))])
def test_rules_that_close_over_other_values_are_other_rules(slopes: tuple[Any, Any]) -> None:
    for slope in slopes:
        spike = spike_with(slope)
        program = brainir.lower(spike, X)
        assert_same_bits(gradient(program), jax.grad(lambda x, spike=spike: spike(x).sum())(X))


def test_rule_that_reads_a_global_or_a_class_is_traced_again_when_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for fn, owner, name in ((counted, __name__, "SLOPE"), (reading, f"{__name__}.Settings", "slope")):
        brainir.lower(fn, X)
        monkeypatch.setattr(f"{owner}.{name}", 3.0)
        np.testing.assert_array_equal(gradient(brainir.lower(fn, X)), np.full(3, 3.0, np.float32))


def test_rule_that_has_the_name_of_a_function_of_jax_is_traced_again_when_what_it_reads_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brainir.lower(disguised, X)
    monkeypatch.setattr(f"{__name__}.SLOPE", 3.0)
    np.testing.assert_array_equal(gradient(brainir.lower(disguised, X)), np.full(3, 3.0, np.float32))


def test_rule_is_traced_again_under_another_setting_of_jax() -> None:
    @jax.custom_jvp
    def product(x: Any) -> Any:
        return x

    @product.defjvp
    def product_jvp(primals: Any, tangents: Any) -> Any:
        return product(*primals), jnp.dot(tangents[0], jnp.ones((3, 3)))

    plain = brainir.lower(product, X)
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" in brainir.dumps(brainir.lower(product, X))
    assert "HIGHEST" not in brainir.dumps(plain)
    assert brainir.dumps(brainir.lower(product, X)) == brainir.dumps(plain)


def test_memory_keeps_neither_rules_nor_what_they_close_over_alive() -> None:
    def lowered() -> list[weakref.ref[Any]]:
        large, spike = np.ones((1000, 3), np.float32), spike_with(2.5)
        heavy = spike_with(large)
        brainir.lower(lambda x: spike(x) + heavy(x + large).sum(0), X)
        return [weakref.ref(each) for each in (spike, spike.jvp, heavy, large)]

    gone = lowered()
    jax.clear_caches()
    gc.collect()
    assert [each() for each in gone] == [None] * 4


GAIN = np.array([1.0, 2.0, 3.0], np.float32)


def amplified(x: Any) -> Any:
    return GAIN * x


@pytest.mark.parametrize("what", ["implementation", "array", "rule", "number"])
def test_a_primitive_is_lowered_again_when_what_it_computes_has_changed(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.GAIN", GAIN.copy())
    amplified_p = jax.extend.core.Primitive("amplified")
    amplified_p.def_impl(amplified)
    amplified_p.def_abstract_eval(lambda x: x)

    def rule(primals: Any, tangents: Any) -> Any:
        return amplified_p.bind(*primals), SLOPE * tangents[0]

    ad.primitive_jvps[amplified_p] = rule

    def fn(x: Any) -> Any:
        return amplified_p.bind(x)

    def check() -> None:
        ours = brainir.to_callable(brainir.lower(fn, X))
        assert_same_bits(ours(X), fn(X))
        assert_same_bits(jax.jvp(ours, (X,), (X,)), jax.jvp(fn, (X,), (X,)))

    check()
    if what == "implementation":
        amplified_p.def_impl(lambda x: x + 1.0)
    elif what == "array":
        GAIN[1] = 5.0
    elif what == "rule":
        ad.primitive_jvps[amplified_p] = lambda primals, tangents: (fn(*primals), 3.0 * tangents[0])
    else:
        monkeypatch.setattr(f"{__name__}.SLOPE", 3.0)
    check()


def test_a_primitive_of_a_package_is_traced_once_for_all_programs(capsys: pytest.CaptureFixture[str]) -> None:
    told_p = jax.extend.core.Primitive("told")
    told_p.def_impl(jnp.sin)
    told_p.def_abstract_eval(lambda x: x)

    def rule(primals: Any, tangents: Any) -> Any:
        print("rule")
        return told_p.bind(*primals), tangents[0]

    ad.primitive_jvps[told_p] = rule
    brainir.lower(lambda x: told_p.bind(x), X)
    assert capsys.readouterr().out.count("rule") == 1
    brainir.lower(lambda x: told_p.bind(2.0 * x), X)
    assert capsys.readouterr().out == ""


def test_a_primitive_of_a_package_whose_rule_fails_runs_and_says_so_when_differentiated() -> None:
    def fail(primals: Any, tangents: Any) -> Any:
        raise RuntimeError("not differentiable here")

    halved = jax.extend.core.Primitive("halved")
    halved.def_impl(lambda x: x / 2)
    halved.def_abstract_eval(lambda x: x)
    ad.primitive_jvps[halved] = fail
    mlir.register_lowering(halved, mlir.lower_fun(lambda x: x / 2, multiple_results=False))
    program = brainir.lower(lambda x: halved.bind(x) + halved.bind(x[:2]).sum(), jnp.arange(3.0))
    assert [node.op for node in program.entry_function.nodes].count("no_derivative") == 2
    back = brainir.to_callable(program)
    np.testing.assert_array_equal(back(jnp.arange(3.0)), [0.5, 1.0, 1.5])
    with pytest.raises(brainir.BrainIRError, match="not differentiable here"):
        jax.grad(lambda x: back(x).sum())(jnp.arange(3.0))


def test_a_primitive_whose_rule_uses_it_with_new_parameters_ends_after_a_few_orders() -> None:
    sine = jax.extend.core.Primitive("sine")
    sine.def_impl(lambda x, note: jnp.sin(x))
    sine.def_abstract_eval(lambda x, note: x)
    mlir.register_lowering(sine, mlir.lower_fun(lambda x, note: jnp.sin(x), multiple_results=False))
    ad.primitive_jvps[sine] = lambda xs, dxs, note: (
        sine.bind(xs[0], note=(*note, object())),
        (2 + len(note)) * sine.bind(xs[0] + 1, note=(*note, object())) * dxs[0],
    )

    def fn(x: Any) -> Any:
        return sine.bind(x, note=())

    def third(fn: Any) -> Any:
        return jax.grad(jax.grad(jax.grad(fn)))

    back = brainir.to_callable(brainir.lower(fn, X[0]))
    assert_same_bits(jax.jit(third(back))(X[0]), jax.jit(third(fn))(X[0]))
    with pytest.raises(brainir.BrainIRError, match="derivatives of order 4 and above are not stored"):
        jax.grad(third(back))(X[0])


@functools.cache
def slope() -> float:
    """Return what is read once."""
    return SLOPE


@jax.jit
def scaled(t: Any) -> Any:
    """Function that is traced once."""
    return SLOPE * t


def _with_rule(derivative: Any) -> Any:
    fn = jax.custom_jvp(lambda v: v * 1)
    fn.defjvp(lambda primals, tangents: (fn(*primals), derivative(*tangents)))
    return fn


@pytest.mark.parametrize("derivative", [lambda t: t * globals()["SLOPE"], lambda t: t * slope(), lambda t: scaled(t)])
def test_rule_is_traced_again_when_what_it_reads_was_forgotten(
    derivative: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fn = _with_rule(derivative)
    brainir.lower(fn, X)
    monkeypatch.setattr(f"{__name__}.SLOPE", 3.0)
    slope.cache_clear()
    jax.clear_caches()
    np.testing.assert_array_equal(gradient(brainir.lower(fn, X)), np.full(3, 3.0, np.float32))
    slope.cache_clear()


def test_rule_that_draws_numbers_is_traced_each_time() -> None:
    fn = _with_rule(lambda t: t * np.float32(np.random.rand()))  # noqa: NPY002  # it has a state that is nowhere else
    first, second = (gradient(brainir.lower(fn, X)) for _ in range(2))
    assert first[0] != second[0]


def test_rules_that_jit_functions_of_other_names_are_other_rules() -> None:
    def derivative(name: str) -> Any:
        def inner(t: Any) -> Any:
            return jnp.sin(t) * 2

        inner.__name__ = name
        return lambda t: jax.jit(inner)(t)

    for name in ("first", "second"):
        program = brainir.lower(_with_rule(derivative(name)), X)
        assert name in [function.name for function in program.functions]


def test_rule_is_traced_again_under_another_setting_of_softmax() -> None:
    fn = _with_rule(lambda t: jax.nn.softmax(t) * t)
    programs, before = [], jax.config.jax_softmax_custom_jvp
    for custom in (True, False):
        jax.config.update("jax_softmax_custom_jvp", custom)
        try:
            programs.append(brainir.dumps(brainir.lower(fn, X)))
        finally:
            jax.config.update("jax_softmax_custom_jvp", before)
    assert "softmax_jvp" in programs[0]
    assert "softmax_jvp" not in programs[1]


def test_rules_that_are_traced_for_lowering_take_no_lines_from_the_model() -> None:
    def loss(x: Any) -> Any:
        return jax.lax.scan(lambda c, y: (jnp.logaddexp(c, y), c), jnp.ones(()), x)[1].sum()

    def both(x: Any) -> Any:
        return loss(x), jax.grad(loss)(x)

    jax.clear_caches()
    first = brainir.dumps(brainir.lower(both, X))
    assert brainir.dumps(brainir.lower(both, X)) == first


def test_a_rule_that_fails_is_traced_once_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    refused_p = jax.extend.core.Primitive("refused")
    refused_p.def_impl(jnp.sin)
    refused_p.def_abstract_eval(lambda x: x)

    def fail(primals: Any, tangents: Any) -> Any:
        print("rule")
        raise RuntimeError("not differentiable here")

    ad.primitive_jvps[refused_p] = fail

    def fn(x: Any) -> Any:
        return refused_p.bind(refused_p.bind(x) + refused_p.bind(2.0 * x))

    program = brainir.lower(fn, X)
    assert [node.op for node in program.entry_function.nodes].count("no_derivative") == 3
    assert capsys.readouterr().out.count("rule") == 2  # for a tangent of any operand, and of those that can have one
    assert brainir.dumps(brainir.lower(fn, X)) == brainir.dumps(program)
    assert capsys.readouterr().out == ""


def calling(host: Any) -> Any:
    """Return a function whose rule makes a function of the host anew, which multiplies."""

    def rule(t: Any) -> Any:
        print("rule")

        def call(x: Any) -> Any:
            return host * x

        return jax.pure_callback(call, jax.ShapeDtypeStruct(t.shape, t.dtype), t)

    return _with_rule(rule)


def test_a_rule_that_calls_the_host_is_traced_once_and_names_it_as_its_program_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def other(x: Any) -> Any:
        def call(x: Any) -> Any:
            return x - 1

        return jax.pure_callback(call, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    programs = [
        lambda x: calling(2.0)(x),
        lambda x: calling(2.0)(other(x)),
        lambda x: other(calling(2.0)(x)),
        lambda x: calling(3.0)(calling(2.0)(x)),
    ]
    fresh = []
    for fn in programs:
        LOWERED_RULES.clear()
        fresh.append(brainir.dumps(brainir.lower(fn, X)))
    assert ['"call_1"' in text for text in fresh] == [False, True, True, True]
    brainir.lower(lambda x: calling(2.0)(calling(3.0)(x)), X)
    capsys.readouterr()
    assert [brainir.dumps(brainir.lower(fn, X)) for fn in programs] == fresh
    assert capsys.readouterr().out == ""
    before, again = (brainir.lower(programs[1], X).functions[1:] for _ in range(2))
    assert "call_1" in {node.name for function in again for node in function.nodes if node.op == "pure_callback"}
    assert all(map(operator.is_, before, again))
    back = brainir.to_callable(brainir.loads(fresh[3]), externals={"call": lambda x: 2 * x, "call_1": lambda x: 3 * x})
    assert_same_bits(jax.jvp(back, (X,), (X,)), jax.jvp(programs[3], (X,), (X,)))


def test_a_function_whose_rule_fails_is_traced_once(capsys: pytest.CaptureFixture[str]) -> None:
    @jax.custom_jvp
    def failing(x: Any) -> Any:
        return x * 1.0

    @failing.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        print("rule")
        raise RuntimeError("not differentiable here")

    def fn(x: Any) -> Any:
        return failing(failing(x) + jax.jit(failing)(2.0 * x))

    program = brainir.lower(fn, X)
    assert capsys.readouterr().out.count("rule") == 1
    assert [node.op for function in program.functions for node in function.nodes].count("no_derivative") == 3
    assert brainir.dumps(brainir.lower(fn, X)) == brainir.dumps(program)
    assert capsys.readouterr().out == ""
    with pytest.raises(brainir.BrainIRError, match="not differentiable here"):
        gradient(program)


def test_a_memory_lets_go_what_was_used_longest_ago() -> None:
    memory: Latest[str] = Latest(7, len)
    for word in ("one", "four"):
        memory.keep(word[0], word)
    assert memory.find("o") == "one"
    memory.keep("t", "two")
    assert [memory.find(key) for key in "oft"] == ["one", None, "two"]
    memory.keep("o", "o")
    memory.keep("s", "six")
    assert [memory.find(key) for key in "ots"] == ["o", "two", "six"]
    memory.keep("l", "longer than all")
    assert [memory.find(key) for key in "otsl"] == ["o", "two", "six", None]
    memory.keep("o", "longer than all")
    assert [memory.find(key) for key in "ots"] == [None, "two", "six"]
