"""Every pass keeps values and derivatives of every program, and does to it what it is for."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import inline
from brainir.analysis.dataflow.sites import signatures_of
from brainir.analysis.passes import PASSES, CondToSelect, InlineCalls, Pass, UnrollScans, apply_passes
from brainir.ir.errors import AnalysisError, PassError
from brainir.ir.node import Traits
from brainir.ir.ops import Binary, Call, Cond, Scan, Unary, UnaryAccuracy, While
from brainir.ir.program import Program
from tests.compare import assert_same_bits
from tests.programs import PROGRAMS
from tests.strategies import chain

ROOT = Path(__file__).parents[1]
EVERY = [UnrollScans(max_length=40) if cls is UnrollScans else cls() for cls in PASSES.values()]


# Programs in which each pass has something to do.
SUITE = (
    "calls", "choice of four with operands of its own", "choice of two", "copies", "counting", "gathers", "JVP rule",
    "loop over a sequence", "loop until", "loops in loops", "loop in a batch", "sums of cotangents", "VJP rule",
)  # fmt: skip


def test_the_page_of_passes_says_of_every_pass_what_it_does_and_what_it_keeps() -> None:
    page = (ROOT / "docs/passes.md").read_text().partition("## The built-in passes")[2].partition("## Write")[0]
    tables = [re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for part in page.split("What they keep")]
    for rows in tables:
        assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {*PASSES}, "of docs/passes.md"


@functools.cache
def lowered(name: str) -> Program:
    case = PROGRAMS[name]
    return brainir.lower(case.fn, *case.args)


def ops(program: Program) -> list[str]:
    return [node.op for function in program.functions for node in function.nodes]


def one_by_one(fn: Callable[..., Any], *args: Any) -> Any:
    """Run a function operation by operation, so that nothing is fused but bodies of loops and branches."""
    with jax.disable_jit():
        return jax.tree.map(jnp.asarray, fn(*args))


def close(actual: Any, expected: Any, where: str) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected), where
    for got, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        if jax.dtypes.issubdtype(wanted.dtype, jax.dtypes.extended) or not jnp.issubdtype(wanted.dtype, jnp.inexact):
            assert_same_bits(got, wanted, where)
        else:
            np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=2e-5, atol=2e-6, err_msg=where)


def is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def derivative(program: Program, name: str) -> Callable[[], Any] | None:
    """Return the function that computes cotangents (tangents where JAX has no others) of a program."""
    case = PROGRAMS[name]
    fn = brainir.to_callable(program)
    moving = [index for index, arg in enumerate(case.args) if is_inexact(arg)]
    if not moving:
        return None

    def moved(*operands: Any) -> list[Any]:
        full = list(case.args)
        for index, operand in zip(moving, operands, strict=True):
            full[index] = operand
        return [leaf for leaf in jax.tree.leaves(fn(*full)) if is_inexact(leaf)]

    primals = [jnp.asarray(case.args[index]) for index in moving]
    if case.derivatives == "forward":
        return lambda: jax.jvp(moved, primals, [jnp.cos(3 * primal + 1) for primal in primals])[1]

    def pulled() -> Any:
        results, pull = jax.vjp(moved, *primals)
        return pull([jnp.cos(3 * result + 1) for result in results])

    return pulled


def has_bodies(program: Program) -> bool:
    """Whether a program has loops or branches, which the regenerated function always runs as a whole."""
    return any(isinstance(node, Cond | Scan | While) for function in program.functions for node in function.nodes)


@functools.cache
def values(name: str, *, fused: bool) -> Any:
    """Return what a program gives, operation by operation; with `fused`, bodies of loops and branches as a whole."""
    fn = brainir.to_callable(lowered(name)) if fused else PROGRAMS[name].fn
    return one_by_one(fn, *PROGRAMS[name].args)


@functools.cache
def slopes(name: str) -> Any:
    """Return the derivatives before any pass, operation by operation."""
    return one_by_one(derivative(lowered(name), name) or (lambda: None))


def changes_some(each: Pass) -> list[str]:
    return [name for name in SUITE if each.run(lowered(name)).modified]


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_pass_keeps_values_to_the_bit_operation_by_operation(each: Pass) -> None:
    names = changes_some(each)
    assert names, f"SUITE has no program in which {each.name} has something to do; name one of tests/programs.py"
    for name in names:
        after = brainir.run_passes(lowered(name), [each])
        found = one_by_one(brainir.to_callable(after), *PROGRAMS[name].args)
        assert_same_bits(found, values(name, fused=has_bodies(after)), name)


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_pass_keeps_derivatives(each: Pass) -> None:
    for name in changes_some(each):
        found = derivative(each.run(lowered(name)).program, name)
        if found is not None:
            compare = assert_same_bits if each.gradients == "bits" else close
            compare(one_by_one(found), slopes(name), name)


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_pass_does_nothing_the_second_time(each: Pass) -> None:
    for name in changes_some(each):
        once = each.run(lowered(name)).program
        again = each.run(once)
        assert again.program is once or any(diagnostic.name == "left_alone" for diagnostic in again.caveats)
        assert brainir.fingerprint(again.program) == brainir.fingerprint(once)


def test_inlining_leaves_no_call_and_keeps_custom_rules() -> None:
    program = brainir.run_passes(lowered("JVP rule"), ["inline"])
    assert "call" not in ops(program)
    assert ops(program).count("custom_jvp") == ops(lowered("JVP rule")).count("custom_jvp")


def test_inlining_reaches_the_bodies_of_loops_and_branches() -> None:
    inner = jax.jit(jnp.tanh)

    def fn(p: Any, x: Any) -> Any:
        return jax.lax.cond(p, lambda v: jax.lax.scan(lambda c, _: (inner(c), None), v, length=20)[0], inner, x)

    program = brainir.lower(fn, True, jnp.ones(3))
    assert "call" in ops(program)
    assert "call" not in ops(brainir.run_passes(program, ["inline"]))


def test_nodes_of_bodies_without_lines_get_that_of_the_outermost_call_that_has_one() -> None:
    program = brainir.lower(lambda x: jax.jit(lambda y: jax.jit(jnp.sin)(y) + 1)(x), jnp.float32(1.0))
    bodies = (each for each in program.functions if each.name != program.entry)
    bare = [each.replace(nodes=tuple(node.replace(source="") for node in each.nodes)) for each in bodies]
    program = program.replace(functions=(program.entry_function, *bare))
    (line,) = {node.source for node in program.entry_function.nodes}
    flat = inline.inline_calls(program.entry_function, program)
    assert [(node.op, node.source) for node in flat.nodes] == [("sin", line), ("add", line)]
    assert line != ""


@pytest.mark.parametrize("analyse", [lambda p: brainir.run_passes(p, ["inline"]), brainir.position_dependence])
def test_calls_that_unfold_without_bounds_are_refused(analyse: Callable[[Program], object], monkeypatch: Any) -> None:
    def double(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return jax.jit(lambda x: f(x) + f(2 * x))

    monkeypatch.setattr(inline, "_MOST_NODES", 1000)
    small, large = (brainir.lower(functools.reduce(lambda f, _: double(f), range(n), jnp.sin), 1.0) for n in (6, 10))
    analyse(small)  # the innermost functions run 64 times
    with pytest.raises(AnalysisError, match="more than 1,000 nodes with its calls replaced"):
        analyse(large)


def test_a_call_stays_where_its_function_would_grow_too_much() -> None:
    def twice(fn: Any) -> Any:
        return jax.jit(lambda x: fn(fn(x)))

    fn = jax.jit(jnp.sin)
    for _ in range(40):  # 2**40 sines
        fn = twice(fn)
    program = brainir.lower(fn, 1.0)
    result = InlineCalls(max_nodes=1000).run(program)
    assert max(len(function.nodes) for function in result.program.functions) <= 1000
    assert any(isinstance(node, Call) for node in result.program.entry_function.nodes)
    assert {caveat.code for caveat in result.caveats} == {"BIR403"}


def test_cond_becomes_select_on_the_predicate_itself() -> None:
    program = brainir.run_passes(lowered("choice of two"), ["cond_to_select"])
    assert "cond" not in ops(program)
    (select,) = (node for node in program.entry_function.nodes if node.op == "select_n")
    assert program.entry_function.type_of(select.inputs[0]).dtype == "bool"


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 7])
def test_an_index_out_of_range_picks_the_same_branch_after_cond_to_select(index: int) -> None:
    branches = [jnp.sin, lambda v: v * v, lambda v: -v]
    program = brainir.lower(lambda i, x: jax.lax.switch(i, branches, x), 0, jnp.ones(3))
    # lax.switch clamps the index; without that the node itself sees it.
    entry = program.entry_function
    cond = next(node for node in entry.nodes if isinstance(node, Cond))
    bare = program.replace(
        functions=(
            entry.replace(nodes=(cond.replace(inputs=("i", *cond.inputs[1:])),)),
            *(function for function in program.functions if function.name != entry.name),
        )
    )
    x = jnp.array([0.2, 0.5, 3.0])
    expected = brainir.to_callable(bare)(index, x)
    assert_same_bits(brainir.to_callable(CondToSelect().run(bare).program)(index, x), expected)


def test_cond_to_select_names_what_can_make_gradients_nan() -> None:
    def fn(x: Any) -> Any:
        return jax.lax.cond(x > 0, jnp.log, lambda v: v * 2, x)

    program = brainir.lower(fn, 1.0)
    result = CondToSelect().run(program)
    found = {caveat.name: caveat for caveat in result.caveats}
    assert set(found) == {"every_branch_computed", "nan_gradient"}
    assert "log" in found["nan_gradient"].message
    gradient = jax.grad(brainir.to_callable(result.program))
    assert jnp.isfinite(jax.grad(brainir.to_callable(program))(0.0))
    assert jnp.isnan(gradient(0.0)), "the caveat is real"
    assert "BIR401" in dict(brainir.run_passes(program, ["cond_to_select"]).metadata)["pass 1 cond_to_select"]


WITHOUT_DERIVATIVE = {
    "clz", "conj", "imag", "is_finite", "population_count", "real",
    "add_any", "and", "complex", "igamma_grad_a", "mulhi", "nextafter", "or", "polygamma", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "xor", "zeta",
}  # fmt: skip
"""Of real numbers in all operands, or as a function of ``jax.lax``."""

POINTS = jnp.array([-200.0, -1.0, -0.5, 0.0, 0.5, 1.0, jnp.pi / 2, 200.0])


@pytest.mark.parametrize(
    ("op", "arity"),
    [
        (op, arity)
        for arity, schemas in ((1, (Unary, UnaryAccuracy)), (2, (Binary,)))
        for op in sorted({*(op for schema in schemas for op in schema.ops())} - WITHOUT_DERIVATIVE)
        if hasattr(jax.lax, op)
    ],
)
def test_cond_to_select_knows_every_operation_whose_derivative_is_infinite_somewhere(op: str, arity: int) -> None:
    function = getattr(jax.lax, op)
    program = brainir.lower(lambda x: jax.lax.cond(x > 0, lambda x: function(*[x] * arity), lambda x: x, x), 1.0)
    grid = [axis.ravel() for axis in jnp.meshgrid(*[POINTS] * arity)]
    gradients = jax.vmap(jax.grad(function, tuple(range(arity))))(*grid)
    is_infinite = not all(bool(jnp.isfinite(each).all()) for each in gradients)
    named = {caveat.name for caveat in CondToSelect().run(program).caveats}
    assert not is_infinite or "nan_gradient" in named, (
        f"name {op} in _STEEP of brainir/analysis/passes/cond_to_select.py"
    )


def test_a_branch_with_a_while_loop_is_left_alone() -> None:
    def fn(x: Any) -> Any:
        return jax.lax.cond(x > 0, lambda v: jax.lax.while_loop(lambda w: w > 1, lambda w: w * 0.5, v), jnp.sin, x)

    result = CondToSelect().run(brainir.lower(fn, 1.0))
    assert not result.modified
    assert [caveat.name for caveat in result.caveats] == ["left_alone"]


def test_nested_conds_all_become_selects() -> None:
    def inner(q: Any, v: Any) -> Any:
        return jax.lax.cond(q, jnp.cos, jnp.exp, v)

    def fn(p: Any, q: Any, x: Any) -> Any:
        return jax.lax.cond(p, lambda v: inner(q, v) + inner(p, v), jnp.sin, x)

    program = brainir.lower(fn, True, False, jnp.ones(2))
    after = brainir.run_passes(program, ["cond_to_select"])
    assert "cond" not in ops(after)
    for p in (True, False):
        for q in (True, False):
            x = jnp.array([0.3, -1.0])
            assert_same_bits(one_by_one(brainir.to_callable(after), p, q, x), one_by_one(fn, p, q, x))


@pytest.mark.parametrize("reverse", [False, True])
def test_an_unrolled_scan_gives_what_jax_gives(reverse: bool) -> None:
    def fn(w: Any, keys: Any, xs: Any) -> Any:
        def advance(carry: Any, items: Any) -> Any:
            h, count = carry
            key, x = items
            h = jnp.tanh(w @ h + x + jax.random.normal(key, (3,)))
            return (h, count + 1), (h, key, count, 2.0)

        return jax.lax.scan(advance, (xs[0], 0), (keys, xs), reverse=reverse)

    args = (jnp.ones((3, 3)) * 0.3, jax.random.split(jax.random.key(1), 4), jnp.arange(12.0).reshape(4, 3))
    program = brainir.lower(fn, *args)
    after = brainir.run_passes(program, ["unroll_scans"])
    assert not any(isinstance(node, Scan) for function in after.functions for node in function.nodes)
    assert_same_bits(one_by_one(brainir.to_callable(after), *args), one_by_one(fn, *args))


def test_a_scan_longer_than_the_limit_stays_and_is_named() -> None:
    program = brainir.lower(lambda x: jax.lax.scan(lambda c, _: (c * 2, None), x, length=40)[0], 1.0)
    result = UnrollScans().run(program)
    assert not result.modified
    assert "max_length = 16" in result.caveats[0].message
    assert UnrollScans(max_length=40).run(program).modified


def test_select_chooses_the_nodes_to_rewrite() -> None:
    def fn(x: Any) -> Any:
        for length in (2, 3):
            x, _ = jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=length)
        return x

    program = brainir.lower(fn, 1.0)
    after = UnrollScans(select=lambda node: node.length == 3).run(program).program
    (left,) = (node for node in after.entry_function.nodes if isinstance(node, Scan))
    assert left.length == 2


class Broken(Pass):
    name = "broken"

    def __init__(self, change: Callable[[Program], Program]) -> None:
        self.change = change

    def run(self, program: Program) -> Any:
        return self.result(program, self.change(program))


def test_the_runner_refuses_a_pass_that_breaks_the_program_or_its_promise() -> None:
    program = lowered("calls")

    def without_nodes(program: Program) -> Program:
        entry = program.entry_function
        return program.replace(functions=(entry.replace(nodes=()), *program.functions[1:]))

    def with_other_argument(program: Program) -> Program:
        argument = program.interface.arguments[0].replace(name="other")
        return program.replace(interface=program.interface.replace(arguments=(argument,)))

    with pytest.raises(PassError, match="'broken' returned an invalid program"):
        brainir.run_passes(program, [Broken(without_nodes)])
    with pytest.raises(PassError, match="keep the interface"):
        brainir.run_passes(program, [Broken(with_other_argument)])
    with pytest.raises(AnalysisError, match="there is no pass 'inlin'; there are inline"):
        brainir.run_passes(program, ["inlin"])
    with pytest.raises(AnalysisError, match="there is no pass 'inlin'; there are inline"):
        brainir.run_passes(program, "inlin")


class Bare(Pass):
    """Returns the program alone."""

    name = "bare"

    def run(self, program: Program) -> Any:
        return program


def test_a_pass_that_returns_no_result_is_told_what_to_return() -> None:
    with pytest.raises(
        PassError, match=r"'bare' must return a PassResult, not Program: return self.result\(before, after"
    ):
        brainir.run_passes(lowered("calls"), [Bare()])


class Nameless(Pass):
    """Has no name."""

    def run(self, program: Program) -> Any:
        return self.result(program, program, {})


def test_a_pass_without_a_name_is_told_to_set_one() -> None:
    with pytest.raises(PassError, match="Nameless must set name"):
        brainir.run_passes(lowered("calls"), [Nameless()])


def test_one_pass_need_not_be_in_a_list() -> None:
    program = lowered("JVP rule")
    assert brainir.run_passes(program, "inline") == brainir.run_passes(program, ["inline"]) != program


def test_what_passes_did_is_recorded_without_changing_the_fingerprint() -> None:
    program = lowered("calls")
    run = apply_passes(program, ["inline", "unroll_scans"])
    assert [(each.name, each.modified) for each in run.results] == [("inline", True), ("unroll_scans", False)]
    assert dict(run.program.metadata) == {"pass 1 inline": run.results[0].summary}
    assert brainir.fingerprint(run.program) == brainir.fingerprint(run.program.replace(metadata=()))
    assert brainir.loads(brainir.dumps(run.program)) == run.program
    assert brainir.run_passes(run.program, ["inline"]) is run.program


def test_dead_nodes_constants_and_functions_go_and_nothing_else() -> None:
    table = jnp.arange(5.0)

    def fn(x: Any) -> Any:
        _ = jax.jit(jnp.exp)(x) + table[2]
        return jnp.sin(x)

    program = brainir.lower(fn, 1.0)
    after = brainir.run_passes(program, ["dead_code"])
    assert ops(after) == ["sin"]
    assert after.constant_bytes() == 0
    assert len(after.functions) == 1


def test_a_branch_that_is_never_taken_takes_its_effects_along() -> None:
    def step(x: Any) -> Any:
        jax.debug.print("kept {}", x)
        return jax.lax.cond(jnp.bool_(False), lambda: (jax.debug.print("never {}", x), x)[1], lambda: 2 * x)

    short = brainir.run_passes(brainir.lower(step, jnp.ones(2)))
    assert [node.op for node in short.entry_function.nodes] == ["debug_callback", "mul"]


def test_effectful_nodes_stay_and_are_never_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    program = brainir.lower(lambda x: (jnp.sin(x), jax.jit(jnp.sin)(x), jax.jit(jnp.sin)(x), x)[-1], 1.0)
    assert ops(brainir.run_passes(program)) == []
    traits = {"sin": Traits(elementwise=True, effectful=True)}
    monkeypatch.setattr(Unary, "op_traits", {**Unary.op_traits, **traits})
    monkeypatch.setattr(UnaryAccuracy, "op_traits", {**UnaryAccuracy.op_traits, **traits})
    after = brainir.run_passes(program, ["dead_code", "common_subexpressions", "inline", "common_subexpressions"])
    assert ops(after) == ["sin", "sin", "sin"]
    cond = brainir.lower(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x), 1.0)
    assert not CondToSelect().run(cond).modified


def test_equal_nodes_become_one_and_nearly_equal_ones_stay() -> None:
    def fn(x: Any, key: Any) -> Any:
        same = jnp.sin(x) + jnp.sin(x)
        draws = jax.random.uniform(key, (3,)) - jax.random.uniform(key, (3,))
        other = jax.random.uniform(jax.random.fold_in(key, 1), (3,))
        return same, draws, other, x * 0.0 + 1, x * -0.0 + 1, jnp.sum(x), jnp.sum(x, keepdims=True)

    args = jnp.ones(3), jax.random.key(0)
    program = brainir.run_passes(brainir.lower(fn, *args), ["inline"])
    after = brainir.run_passes(program, ["common_subexpressions"])
    assert ops(after).count("sin") == 1
    assert ops(program).count("random_bits") == 3
    assert ops(after).count("random_bits") == 2
    assert {node.inputs[1] for node in after.entry_function.nodes if node.op == "mul"} >= {"0.0:f32", "-0.0:f32"}
    assert_same_bits(one_by_one(brainir.to_callable(after), *args), one_by_one(fn, *args))


def test_equal_functions_and_constants_become_one() -> None:
    numbers = [1.0, 2.5, -3.0]

    def fn(x: Any) -> Any:
        first, second = (jax.jit(lambda v: jnp.tanh(v) * jnp.array(numbers)) for _ in range(2))
        return first(x) + second(x)

    program = brainir.lower(fn, jnp.ones(3))
    after = brainir.run_passes(program, ["inline", "common_subexpressions"])
    assert ops(after) == ["tanh", "mul", "add"]
    assert len(after.entry_function.constants) == 1


def test_copies_and_reshapes_to_the_same_shape_go() -> None:
    def fn(x: Any) -> Any:
        y = jnp.copy(x).reshape(x.shape).astype(x.dtype).transpose(0, 1)
        y = jax.lax.slice(jax.lax.pad(y, 0.0, ((0, 0, 0), (0, 0, 0))), (0, 0), y.shape)
        return jnp.broadcast_to(y, y.shape) + 1, jax.lax.stop_gradient(y), y

    program = brainir.lower(fn, jnp.ones((2, 3)))
    after = brainir.run_passes(program, ["copy_propagation"])
    assert ops(after) == ["add", "stop_gradient"]
    assert after.entry_function.outputs[-1] == after.entry_function.inputs[0]
    assert after.interface == program.interface


def test_a_conversion_that_changes_the_weak_type_stays() -> None:
    program = brainir.lower(lambda x: jax.lax.convert_element_type(x, jnp.float32), 1.0)
    assert brainir.run_passes(program, ["copy_propagation"]) is program


def test_rewritten_programs_lower_again_to_what_they_were_rewritten_to() -> None:
    for name in ("calls", "contractions", "JVP rule", "cutting and joining", "reductions"):
        after = brainir.run_passes(lowered(name))
        again = brainir.lower(brainir.to_callable(after), *PROGRAMS[name].args)
        assert brainir.fingerprint(brainir.run_passes(again)) == brainir.fingerprint(after), name


def test_a_changed_copy_of_a_function_knows_its_own_values_only() -> None:
    function = chain(2).entry_function
    assert len(function.places) == len(signatures_of(function)) == 2
    shorter = function.model_copy(update={"nodes": function.nodes[:1]})
    assert len(shorter.places) == len(signatures_of(shorter)) == 1
