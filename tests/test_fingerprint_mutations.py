"""Any single change of a generated program that is not one of names, order or notes changes its fingerprint.

The changes are those of `tests/variants.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from brainir.ir.canonical import fingerprint
from brainir.ir.constant import Constant
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.program import Function, Program
from brainir.ir.trees import (
    Aux,
    ClassName,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    StaticDict,
)

from .strategies import program_of, programs
from .variants import Variant, copied, variants


def replaced(program: Program, position: int, **changes: Any) -> Program:
    functions = list(program.functions)
    functions[position] = copied(functions[position], **changes)
    return copied(program, functions=tuple(functions))


def mutations(program: Program, random: Random) -> Iterator[Variant]:
    """Yield programs that differ in one attribute, operation, type, constant bit or detail of the interface."""
    for where, interface in variants(program.interface):
        yield where, copied(program, interface=interface)
    for position, function in enumerate(program.functions):
        for where, changed in variants(function):
            yield where, replaced(program, position, types=changed.types)
        for index, node in enumerate(function.nodes):
            for where, changed in variants(node):
                # A reference to a function is an edge; names that do not exist would be no program.
                if set(changed.callees()) <= program.table.keys():
                    nodes = (*function.nodes[:index], changed, *function.nodes[index + 1 :])
                    yield where, replaced(program, position, nodes=nodes)
        for index, constant in enumerate(function.constants):
            for where, changed in constant_variants(constant, random):
                constants = (*function.constants[:index], changed, *function.constants[index + 1 :])
                yield where, replaced(program, position, constants=constants)


def constant_variants(constant: Constant, random: Random) -> Iterator[Variant]:
    yield from variants(constant)
    if constant.data:
        bit = random.randrange(8 * len(constant.data))
        data = bytearray(constant.data)
        data[bit // 8] ^= 1 << bit % 8
        yield f"Constant.data, bit {bit}", copied(constant, data=bytes(data))


@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))
@given(programs(), st.integers(0, 2**32))
def test_a_change_of_any_field_changes_the_fingerprint(program: Program, seed: int) -> None:
    base, random = fingerprint(program), Random(seed)
    found = list(mutations(program, random))
    assert len(found) > 5
    for where, changed in random.sample(found, min(60, len(found))):
        assert fingerprint(changed) != base, where


# Edges


def terms(program: Program) -> list[Any]:
    """Return what each function computes, as nested terms: a program with other terms is another program."""
    numbers: dict[Any, int] = {}

    def number(term: Any) -> int:
        return numbers.setdefault(term, len(numbers))

    found = []
    for function in program.functions:
        values = {name: number(("input", position)) for position, name in enumerate(function.inputs)}
        values |= {c.name: number(("constant", c.type, c.digest())) for c in function.constants}
        all_terms = []
        for node in function.nodes:
            operands = tuple(values.get(operand, operand) for operand in node.inputs)
            content = (node.op, node.types, repr(node.attributes()), operands)
            all_terms.append(number(content))
            values |= {name: number((content, rank)) for rank, name in enumerate(node.outputs)}
        found.append((sorted(all_terms), [values.get(output, output) for output in function.outputs]))
    return [found, {number: term for term, number in numbers.items()}]


def rewired(program: Program) -> Iterator[Variant]:
    """Yield programs in which one operand or output is another value."""
    for position, function in enumerate(program.functions):
        defined = [*function.inputs, *(constant.name for constant in function.constants), "1.5:f32"]
        for index, node in enumerate(function.nodes):
            for rank in range(len(node.inputs)):
                for other in defined:
                    inputs = (*node.inputs[:rank], other, *node.inputs[rank + 1 :])
                    nodes = (
                        *function.nodes[:index],
                        copied(node, inputs=inputs),
                        *function.nodes[index + 1 :],
                    )
                    yield f"{node.op}, operand {rank}", replaced(program, position, nodes=nodes)
            defined += node.outputs
        for rank in range(len(function.outputs)):
            for other in defined:
                outputs = (*function.outputs[:rank], other, *function.outputs[rank + 1 :])
                yield f"output {rank}", replaced(program, position, outputs=outputs)


@settings(max_examples=10, phases=(Phase.explicit, Phase.generate))
@given(programs(), st.integers(0, 2**32))
def test_an_edge_to_another_value_changes_the_fingerprint(program: Program, seed: int) -> None:
    base, meaning = fingerprint(program), terms(program)
    candidates = list(rewired(program))
    for where, changed in Random(seed).sample(candidates, min(40, len(candidates))):
        if terms(changed) != meaning:
            assert fingerprint(changed) != base, where


# Every field of the interface


MILLIVOLT = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
ROWS = StaticDict(items=(("shape", (3, 2)), ("sorted", True)))
TREES = SequenceTree(
    kind="tuple",
    children=(
        LeafTree(unit="mV"),
        NoneTree(),
        DictTree(kind="dict", keys=("a", 3), children=(LeafTree(), LeafTree())),
        NamedTupleTree(type="m:Pair", fields=("x", "y"), children=(LeafTree(), LeafTree())),
        DataclassTree(type="m:Box", fields=("z",), children=(LeafTree(),), static=(("gain", 0.0), ("on", True))),
        DataclassTree(type="m:Item", fields=(), children=(), static=(("of", ClassName(type="m:Items")),)),
        CustomTree(type="m:Bag", keys=("w", 0), children=(LeafTree(), NoneTree()), origin=0),
        CustomTree(type="m:Rows", keys=(0,), children=(LeafTree(),), origin=1, aux=Aux(value=ROWS)),
    ),
)
FULL = Interface(
    kind="step",
    states=(
        State(path=("net", 0, "V"), role="hidden", type="HiddenState", tree=LeafTree(unit="mV"), num_state=2),
        State(path=("net", "w"), role="param", type="ParamState", tree=TREES, returned=False, reachable=False),
    ),
    arguments=(Argument(name="x", tree=TREES, keyword=True), Argument(name="y", tree=LeafTree(), plain=True)),
    result=TREES,
    units=(MILLIVOLT, MILLIVOLT.replace(text="V", scale=0.0, factor=2.0, base=2.0)),
    params=TREES,
    hidden=LeafTree(),
    unused=(("net", "a"), ("net", 1)),
)


def fingerprint_with(interface: Interface) -> str:
    body = Function(name="main", inputs=("x",), types=("f32[]",), outputs=("x",))
    return fingerprint(copied(program_of(body), interface=interface))


def test_a_change_of_any_field_of_the_interface_changes_the_fingerprint() -> None:
    base, seen = fingerprint_with(FULL), set()
    for where, changed in variants(FULL):
        assert fingerprint_with(changed) != base, where
        seen |= set(re.findall(r"\w+\.\w+", where))
    kinds = (
        Interface,
        State,
        Argument,
        Unit,
        LeafTree,
        SequenceTree,
        DictTree,
        NamedTupleTree,
        DataclassTree,
        CustomTree,
        Aux,
        ClassName,
        StaticDict,
    )
    fields = {f"{kind.__name__}.{name}" for kind in kinds for name in kind.model_fields}
    single = {"LeafTree.kind", "NamedTupleTree.kind", "DataclassTree.kind", "CustomTree.kind"}
    assert fields - single == seen - {"NoneTree.kind"}
