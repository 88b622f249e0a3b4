"""The dataflow framework: reachability against a search and as a lattice, scans round by round and all at once."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import pytest
from jax import lax

import brainir
from brainir.analysis import BackwardAnalysis, ForwardAnalysis, Site, inline_calls, reached, reaching
from brainir.ir.program import Function
from brainir.ir.types import TensorType, is_literal


def bits_of(names: Sequence[str]) -> dict[str, int]:
    return {name: 1 << place for place, name in enumerate(dict.fromkeys(names)) if not is_literal(name)}


def searched(function: Function, start: str, step: Callable[[Any], Sequence[str]], users: Any) -> set[str]:
    """Return what can be walked to from a value."""
    found, pending = {start}, [start]
    while pending:
        for node in users(pending.pop()):
            for name in step(node):
                if name not in found and not is_literal(name):
                    found.add(name)
                    pending.append(name)
    return found


class Sources(ForwardAnalysis[int]):
    """The sources of a value, as the framework finds them."""

    nothing = 0

    def join(self, first: int, second: int, kind: TensorType) -> int:
        return first | second

    def transfer(self, site: Site, facts: Sequence[int]) -> list[int]:
        total = 0
        for fact in facts:
            total |= fact
        return [total] * len(site.results)


class Sinks(BackwardAnalysis[int]):
    """The results that a value reaches, as the framework finds them."""

    nothing = 0

    def join(self, first: int, second: int, kind: TensorType) -> int:
        return first | second

    def transfer(self, site: Site, facts: Sequence[int]) -> list[int]:
        total = 0
        for fact in facts:
            total |= fact
        return [total] * len(site.operands)


def flat(fn: Callable[..., Any], *args: Any) -> tuple[brainir.Program, Function]:
    program = brainir.lower(fn, *args)
    return program, inline_calls(program.entry_function, program)


def mixed(x: Any, y: Any, z: Any) -> Any:
    a, b = jnp.sin(x) * y, jnp.concatenate([y, z])
    c, d = lax.sort((b, b * b), num_keys=1)
    return a, c[: x.size] + a, d, z


OPERANDS = (jnp.arange(3.0), jnp.ones(3), jnp.ones(2))


def test_reachability_is_what_a_search_finds() -> None:
    _, function = flat(mixed, *OPERANDS)
    forward, backward = bits_of(function.inputs), bits_of(function.outputs)
    ahead, behind = reached(function, forward), reaching(function, backward)
    for name, bit in forward.items():
        found = searched(function, name, lambda node: node.outputs, lambda value: function.users.get(value, ()))
        assert {value for value, mask in ahead.items() if mask & bit} == found
    producers = function.producers
    for name, bit in backward.items():
        found = searched(
            function, name, lambda node: node.inputs, lambda value: [producers[value]] if value in producers else []
        )
        assert {value for value, mask in behind.items() if mask & bit} == found


def test_reachability_is_the_lattice_of_sets() -> None:
    program, function = flat(mixed, *OPERANDS)
    forward, backward = bits_of(function.inputs), bits_of(function.outputs)
    assert Sources(program).run(function, forward) == reached(function, forward)
    assert Sinks(program).run(function, backward) == reaching(function, backward)


def test_stops_end_dependence_at_a_result() -> None:
    _, function = flat(lambda x: jnp.sin(jnp.round(x)) + jnp.cos(x), jnp.ones(3))
    found = reached(function, {function.inputs[0]: 1}, lambda node, name: node.op == "round")
    ops = {node.op for node in function.nodes if node.outputs[0] in found}
    assert ops == {"cos", "add"}


class Rounds(ForwardAnalysis[int]):
    """How many products a value is made of, up to a bound; and how often a body was looked at."""

    nothing = 0
    most: ClassVar[int] = 5

    def __init__(self, program: brainir.Program) -> None:
        super().__init__(program)
        self.bodies = 0

    def join(self, first: int, second: int, kind: TensorType) -> int:
        return max(first, second)

    def transfer(self, site: Site, facts: Sequence[int]) -> list[int]:
        self.bodies += site.node.op == "mul"
        return [min(max(facts) + (site.node.op == "mul"), self.most)] * len(site.results)


class AnyRound(Rounds):
    """The same for any round at once."""

    max_steps = 0


@pytest.mark.parametrize(("length", "carry", "row"), [(0, 1, 0), (1, 2, 2), (3, 4, 4), (100, 5, 5)])
@pytest.mark.parametrize("rows", [True, False])
def test_a_scan_is_followed_round_by_round_or_for_any_round(length: int, carry: int, row: int, rows: bool) -> None:
    def fn(x: Any, y: Any) -> Any:
        def body(c: Any, item: Any) -> Any:
            new = c * 2.0 if item is None else c * item
            return new, new

        return lax.scan(body, x, y if rows else None, length=length)

    program = brainir.lower(fn, jnp.float32(1.0), jnp.ones(length))
    entry = program.entry_function
    last, stacked = entry.outputs
    exact = Rounds(program).run(entry, {entry.inputs[0]: 1})
    assert (exact.get(last, 0), exact.get(stacked, 0)) == (carry, row)
    for facts in ({entry.inputs[0]: 1}, {entry.inputs[0]: 1, entry.inputs[1]: 1}):
        analysis = AnyRound(program)
        loose = analysis.run(entry, facts)
        if length:
            assert (loose.get(last, 0), loose.get(stacked, 0)) == (Rounds.most, Rounds.most)
            assert analysis.bodies <= Rounds.most + 1


class Forgetful(ForwardAnalysis[int]):
    """Returns one fact, however many results there are."""

    nothing = 0

    def join(self, first: int, second: int, kind: TensorType) -> int:
        return max(first, second)

    def transfer(self, site: Site, facts: Sequence[int]) -> list[int]:
        return [1]


class ForgetfulBackward(BackwardAnalysis[int]):
    """Returns one fact, however many operands there are."""

    nothing = 0
    join = Forgetful.join
    transfer = Forgetful.transfer


def test_facts_of_other_names_or_in_another_number_are_refused_with_the_place() -> None:
    program = brainir.lower(lambda x, y: jnp.split(x * y, 2), jnp.ones(4), jnp.ones(4))
    entry = program.entry_function
    with pytest.raises(
        brainir.BrainIRError, match=r"Forgetful.transfer must .* each result: 2 for v1: .* split.*, not 1"
    ):
        Forgetful(program).run(entry, {"x": 1})
    with pytest.raises(brainir.BrainIRError, match=r"each operand: 2 for v0: f32\[4\] = mul x y, not 1"):
        ForgetfulBackward(program).run(entry, {"v0": 1})
    for analysis in (Forgetful(program), ForgetfulBackward(program)):
        with pytest.raises(brainir.BrainIRError, match=r"fn has no value 'z'; its inputs and outputs are x, y, v1, v2"):
            analysis.run(entry, {"z": 1})
        with pytest.raises(brainir.BrainIRError, match=r"run takes a function, as program.entry_function, not Program"):
            analysis.run(program, {})  # type: ignore[arg-type]
    with pytest.raises(brainir.BrainIRError, match=r"not a brainir.Program but str"):
        Forgetful("model.json")  # type: ignore[arg-type]
