"""Units that do not go together are found in plain JAX programs, with the node and the model's line."""

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import brainir
from brainir.analysis.units.dimensions import Dimension
from brainir.ir.errors import AnalysisError
from brainir.ir.interface import Unit
from brainir.ir.program import Program
from brainir.ir.trees import DictTree, LeafTree, SequenceTree, Tree

MV = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
V = Unit(text="V", dimension=MV.dimension)
MA = Unit(text="mA", dimension=(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), scale=-3.0)
MS = Unit(text="mS", dimension=(-2.0, -1.0, 3.0, 2.0, 0.0, 0.0, 0.0), scale=-3.0)
UNITS = {unit.text: unit for unit in (MV, V, MA, MS)}
X = jnp.array([0.5, -1.0, 2.0])


def with_units(tree: Tree, units: Any) -> Tree:
    if isinstance(tree, LeafTree):
        return tree.replace(unit=units)
    assert isinstance(tree, SequenceTree | DictTree)
    children = zip(tree.children, units, strict=True)
    return tree.replace(children=tuple(with_units(child, unit) for child, unit in children))


def program_of(fn: Callable[..., Any], *units: str | None, result: Any = None) -> Program:
    """Lower a function of arrays and say in the interface which unit each argument has."""
    program = brainir.lower(fn, *[X] * len(units))
    interface = program.interface
    arguments = tuple(
        argument.replace(tree=with_units(argument.tree, unit))
        for argument, unit in zip(interface.arguments, units, strict=True)
    )
    changed = program.replace(
        interface=interface.replace(
            arguments=arguments,
            result=with_units(interface.result, result) if result is not None else interface.result,
            units=tuple(UNITS.values()),
        )
    )
    brainir.verify(changed)
    return changed


def codes(program: Program, **options: Any) -> list[str]:
    return [each.code for each in brainir.check_units(program, **options).problems]


WRONG: dict[str, tuple[Callable[..., Any], tuple[str, ...], str]] = {
    "sum": (lambda v, i: v + i, ("mV", "mA"), "BIR301"),
    "maximum": (jnp.maximum, ("mV", "mA"), "BIR301"),
    "comparison": (lambda v, i: jnp.where(v > i, 1.0, 0.0), ("mV", "mA"), "BIR302"),
    "concatenation": (lambda v, i: jnp.concatenate([v, i]), ("mV", "mA"), "BIR303"),
    "stack": (lambda v, i: jnp.stack([v, i]), ("mV", "mA"), "BIR303"),
    "selection": (lambda v, i: jnp.where(X > 0, v, i), ("mV", "mA"), "BIR303"),
    "update": (lambda v, i: v.at[:2].set(i[:2]), ("mV", "mA"), "BIR303"),
    "exponential": (lambda v: jnp.exp(v), ("mV",), "BIR304"),
    "sigmoid": (jax.nn.sigmoid, ("mV",), "BIR304"),
    "two scales": (lambda v, e: v - e, ("mV", "V"), "BIR305"),
    "product": (lambda g, v, i: g * v - v, ("mS", "mV", "mA"), "BIR301"),
    "matrix product": (lambda g, v: jnp.outer(g, v) @ v + v, ("mS", "mV"), "BIR301"),
    "root": (lambda v, i: jnp.sqrt(v * v) + i, ("mV", "mA"), "BIR301"),
    "power": (lambda v: v**3 + v, ("mV",), "BIR301"),
    "quotient": (lambda v, g: v / g + v, ("mV", "mS"), "BIR301"),
    "inside a call": (lambda v, i: jax.jit(lambda a, b: a + b)(v, i), ("mV", "mA"), "BIR301"),
    "branches": (lambda v, i: lax.cond(X[0] > 0, lambda: v, lambda: i), ("mV", "mA"), "BIR303"),
    "inside a scan": (lambda v, i: lax.scan(lambda c, x: (c + x, c), v[0], i)[0], ("mV", "mA"), "BIR301"),
    "carry": (lambda v, g: lax.scan(lambda c, x: (c * x, c), v[0], g)[0], ("mV", "mS"), "BIR303"),
    "product of all": (lambda v: jnp.prod(v) + v, ("mV",), "BIR301"),
    "running product": (jnp.cumprod, ("mV",), "BIR304"),
    "order": (lambda v, i: lax.sort((v, i), num_keys=1)[1] + v, ("mV", "mA"), "BIR301"),
    "largest": (lambda v, i: lax.top_k(v, 2)[0] + i[:2], ("mV", "mA"), "BIR301"),
    "window": (lambda v, i: lax.reduce_window(v, 0.0, lax.add, (2,), (1,), "SAME") + i, ("mV", "mA"), "BIR301"),
    "barrier": (lambda v, i: sum(lax.optimization_barrier((v, i))), ("mV", "mA"), "BIR301"),
    "factor in place": (lambda v, i: v.at[0].multiply(i[0]), ("mV", "mA"), "BIR304"),
    "exponent": (lambda v: 2.0**v, ("mV",), "BIR304"),
    "Bessel function": (lax.bessel_i0e, ("mV",), "BIR304"),
    "gamma function": (lambda v, i: lax.igamma(v / v, i), ("mV", "mA"), "BIR304"),
    "equations": (
        lambda g, v: lax.linalg.triangular_solve(jnp.outer(g, g) / g, v[:, None], left_side=True)[:, 0] + v,
        ("mS", "mV"),
        "BIR301",
    ),
    "while": (lambda v, g: lax.while_loop(lambda c: c[0] < 9, lambda c: c * g, v), ("mV", "mS"), "BIR303"),
}


@pytest.mark.parametrize("name", WRONG)
def test_quantities_that_do_not_go_together_are_found(name: str) -> None:
    fn, units, code = WRONG[name]
    assert codes(program_of(fn, *units)) == [code]


RIGHT: dict[str, tuple[Callable[..., Any], tuple[str | None, ...]]] = {
    "sums of one unit": (lambda v, e: jnp.maximum(v + e, v - e) > e, ("mV", "mV")),
    "literals": (lambda v: 0.9 * v + (5.0 - v) / 10.0 + v, ("mV",)),
    "ohm": (lambda g, v, i: g * v * 1e-3 + i, ("mS", "mV", "mA")),
    "numbers of quotients": (lambda v, e: jnp.exp(v / e), ("mV", "V")),
    "roots": (lambda v, e: jnp.sqrt(v * e) + v, ("mV", "mV")),
    "powers": (lambda v, e: (v**2) ** 0.5 + lax.rsqrt(v * v) * v * e + lax.cbrt(v**3), ("mV", "mV")),
    "loops": (lambda v, e: lax.scan(lambda c, x: (0.9 * c + x, c), v[0], e), ("mV", "mV")),
    "no unit": (lambda x, v: jnp.tanh(x) + v, (None, "mV")),
    "zero": (lambda v: jnp.where(v > 0, v, 0.0), ("mV",)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_quantities_that_go_together_are_not_reported(name: str) -> None:
    fn, units = RIGHT[name]
    assert codes(program_of(fn, *units)) == []


def test_literals_may_be_taken_for_numbers() -> None:
    def leak(v: Any, i: Any) -> Any:
        return 0.9 * v + 0.1 * i

    program = program_of(leak, "mV", "mA")
    assert codes(program) == []
    assert codes(program, numbers="dimensionless") == ["BIR301"]
    assert codes(program_of(lambda v: v + 1.0, "mV"), numbers="dimensionless") == ["BIR301"]
    assert codes(program_of(lambda v: jnp.maximum(v, 0.0), "mV"), numbers="dimensionless") == []
    assert codes(program_of(lambda x, v: x + v, None, "mV"), numbers="dimensionless") == ["BIR301"]


def test_a_problem_names_the_node_the_units_and_the_line() -> None:
    (problem,) = brainir.check_units(program_of(lambda v, i: v - i, "mV", "mA")).problems
    assert problem.node.startswith("v0: f32[3] = sub v i")
    assert "mV and mA" in problem.message
    assert problem.source.startswith("test_check_units.py:")
    assert problem.name == "units_added"


def test_each_place_is_reported_once_however_often_it_runs() -> None:
    inner = jax.jit(lambda a, b: a + b)
    assert codes(program_of(lambda v, i: (inner(v, i), inner(v, i), inner(i, v)), "mV", "mA")) == ["BIR301"]
    assert codes(program_of(lambda v, i: inner(v, v), "mV", "mA")) == []


def test_the_result_is_compared_with_the_declared_unit() -> None:
    assert codes(program_of(lambda v, g: v * g, "mV", "mS", result="mV")) == ["BIR306"]
    assert codes(program_of(lambda v, g: (v * g) / g, "mV", "mS", result="mV")) == []


def test_units_of_values_are_inferred() -> None:
    program = program_of(lambda g, v: (g * v, jnp.sqrt(g), v * 2.0, v.sum()), "mS", "mV")
    report = brainir.check_units(program)
    product, root, scaled, total = program.entry_function.outputs
    assert report.unit_of("v") == "mV"
    assert report.unit_of(product) == "1e-06 A"
    assert report.unit_of(root) == "0.0316228 m^-1 kg^(-1/2) s^(3/2) A"
    assert report.unit_of(scaled) is None
    assert report.unit_of(total) == "mV"
    with pytest.raises(AnalysisError, match="has no value 'nothing'"):
        report.unit_of("nothing")
    assert json.loads(report.to_json())["problems"] == []
    assert "no conflict" in str(report)
    assert "no conflict" in report._repr_html_()


def test_exponents_are_exact() -> None:
    third = Dimension.of(MV).power(Fraction(1, 3))
    assert third.times(third).times(third) == Dimension.of(MV) or third.power(Fraction(3)).same_unit(Dimension.of(MV))
    stored = Unit(text="x", dimension=(1 / 3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert Dimension.of(stored).exponents[0] == Fraction(1, 3)


def test_calls_in_calls_take_no_more_time_than_there_are_kinds_of_calls() -> None:
    fn: Callable[..., Any] = lambda v: v + v  # noqa: E731
    for _ in range(60):  # 2**60 calls
        fn = jax.jit(lambda v, inner=fn: inner(v) + inner(v))
    assert brainir.check_units(program_of(fn, "mV")).ok


def test_a_value_of_several_units_is_reported_once_and_asked_nothing_more() -> None:
    def chosen(v: Any, i: Any, g: Any) -> Any:
        one = lax.switch(jnp.int32(X[0]), [lambda: v, lambda: i, lambda: g])
        return one + v, jnp.exp(one)

    assert codes(program_of(chosen, "mV", "mA", "mS")) == ["BIR303"]

    def looped(v: Any, g: Any) -> Any:
        last, rows = lax.scan(lambda c, _: (c * g, c), v, None, length=100)
        return last + v, rows[0] + g

    assert codes(program_of(looped, "mV", "mS")) == ["BIR303"]


def test_conflicts_in_loops_inside_calls_name_the_function_once() -> None:
    @jax.jit
    def run(v: Any, i: Any) -> Any:
        return lax.fori_loop(0, 3, lambda _, c: jnp.maximum(c, v + i), v)

    (problem,) = brainir.check_units(program_of(lambda v, i: run(v, i) + run(v, i), "mV", "mA")).problems
    assert problem.code == "BIR301"
    assert " in " in problem.message


def test_a_scan_of_rows_has_the_units_of_every_round() -> None:
    program = program_of(lambda v, g: lax.scan(lambda c, row: (c, c * row), v[0], g), "mV", "mS")
    report = brainir.check_units(program)
    last, rows = program.entry_function.outputs
    assert (report.unit_of(last), report.unit_of(rows)) == ("mV", "1e-06 A")
