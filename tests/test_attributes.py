"""A changed attribute is noticed; `make attributes` tries all of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from brainir.ir.program import Function, Program
from tests.attributes import TRACED, UNNOTICED, Change, Verdict, changes, noticed, once, original, same_results
from tests.programs import PROGRAMS_HERE
from tests.variants import copied

COMPARISONS = ("comparisons", "comparisons in total order")


def first_notice(candidates: Iterable[Change]) -> Verdict:
    """Return what notices a change of an attribute; of the next one if JAX does not need the node of the first."""
    verdicts = map(noticed, candidates)
    return next((verdict for verdict in verdicts if verdict != "trace"), "trace")


def test_a_change_of_each_attribute_is_refused_or_gives_another_computation() -> None:
    found: dict[str, dict[str, Change]] = {}
    for name in PROGRAMS_HERE:
        for change in changes(name):
            found.setdefault(change.attribute, {}).setdefault(name, change)
    verdicts = {attribute: first_notice(list(each.values())[:4]) for attribute, each in found.items()}
    assert len(verdicts) > 150
    ignored = {attribute for attribute, verdict in verdicts.items() if verdict == "nothing"} - UNNOTICED.keys()
    assert ignored == set(), "no layer notices a change of it: mend its rules, or say why in UNNOTICED"
    traced = {attribute for attribute, verdict in verdicts.items() if verdict == "trace"}
    unseen = traced - TRACED.keys() - UNNOTICED.keys()
    assert unseen == set(), "the program in tests/programs.py computes the same without it, or say why in TRACED"
    assert sum(verdict == "StableHLO" for verdict in verdicts.values()) > 50


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_that_becomes_another_gives_other_results(name: str) -> None:
    swapped = [change for change in once([name]) if change.attribute == "Compare.op"]
    assert len(swapped) > 10
    unnoticed = [change.detail for change in swapped if same_results(change)]
    assert unnoticed == []


def test_an_attribute_on_which_nothing_depends_is_found() -> None:
    program = original("shapes")
    position, function = next(item for item in enumerate(program.functions) if item[1].name == program.entry)
    (index,) = [place for place, node in enumerate(function.nodes) if node.op == "squeeze"]
    nodes = list(function.nodes)
    nodes[index] = copied(nodes[index], dimensions=nodes[index].dimensions[::-1])
    functions: list[Function] = list(program.functions)
    functions[position] = copied(function, nodes=tuple(nodes))
    changed: Program = copied(program, functions=tuple(functions))
    assert noticed(Change("shapes", "Squeeze.dimensions", "", changed)) == "nothing"
