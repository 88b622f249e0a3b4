"""Any single change of a generated program that is not one of names, order or notes changes its fingerprint.

The changes come from the fields of the models, so a new schema or field is covered without a line here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any, Literal, get_args, get_origin

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from brainir.ir.canonical import fingerprint
from brainir.ir.interface import (
    Argument,
    DataclassTree,
    DictTree,
    Interface,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    State,
    Unit,
)
from brainir.ir.model import Model
from brainir.ir.node import Node
from brainir.ir.program import Constant, Function, Program

from .strategies import program_of, programs

Variant = tuple[str, Any]

# What the canonical form leaves out, and what stands for edges, which are changed below.
NAMES_AND_NOTES = {
    Program: {"format", "version", "entry", "functions", "metadata"},
    Function: {"name", "inputs", "constants", "nodes", "outputs"},
    Constant: {"name", "data", "sha256"},
    Node: {"inputs", "outputs", "scope", "source"},
}
# Their order does not count.
SETS = {(Interface, "units"), (Interface, "unused")}
TREE = LeafTree(unit="another")
TREES_OF = (LeafTree, NoneTree, SequenceTree, DictTree, NamedTupleTree, DataclassTree)
SAMPLES = ("another", "f32[9]", 0, 7, 0.0, -0.0, 2.5, True, False, None)


def left_out(model: Model) -> set[str]:
    return set().union(*(names for kind, names in NAMES_AND_NOTES.items() if isinstance(model, kind)))


def copied(model: Any, **changes: Any) -> Any:
    """Return a record with other fields, unchecked, and without what the old one had cached."""
    return model.model_construct(**{name: getattr(model, name) for name in type(model).model_fields} | changes)


def variants(model: Model) -> Iterator[Variant]:
    """Yield copies of a record with one field changed, each with the name of the field."""
    for name, info in type(model).model_fields.items():
        if name not in left_out(model):
            for where, changed in others(getattr(model, name), info.annotation, (type(model), name) in SETS):
                yield f"{type(model).__name__}.{name} {where}", copied(model, **{name: changed})


def others(value: Any, annotation: Any, is_set: bool = False) -> Iterator[Variant]:
    """Yield other values for a field."""
    if isinstance(value, Model):
        yield from variants(value)
        if isinstance(value, TREES_OF) and value != TREE:
            yield " (tree)", TREE
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            if ... in repeated(annotation):
                yield f"[{index}] (gone)", (*value[:index], *value[index + 1 :])
            for where, changed in others(item, item_annotation(annotation, index)):
                yield f"[{index}] {where}", (*value[:index], changed, *value[index + 1 :])
        if not is_set and len(value) > 1 and repr(value[0]) != repr(value[1]):
            yield " (order)", (value[1], value[0], *value[2:])
    else:
        choices, kinds = parts(annotation)
        for other in (*choices, *(sample for sample in SAMPLES if type(sample) in kinds)):
            if repr(other) != repr(value):
                yield "", other


def parts(annotation: Any) -> tuple[list[Any], list[Any]]:
    """Return the values that an annotation lists, and the types that it names."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation)), []
    choices, kinds = [], [annotation]
    for part in get_args(annotation):
        more = parts(part)
        choices += more[0]
        kinds += more[1]
    return choices, kinds


def item_annotation(annotation: Any, index: int) -> Any:
    """Return the annotation of an item of a tuple, through options and unions."""
    items = repeated(annotation)
    return items[0] if ... in items else items[index] if index < len(items) else None


def repeated(annotation: Any) -> tuple[Any, ...]:
    """Return what a tuple is annotated to hold."""
    return next((get_args(part) for part in (annotation, *get_args(annotation)) if get_origin(part) is tuple), ())


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
TREES = SequenceTree(
    kind="tuple",
    children=(
        LeafTree(unit="mV"),
        NoneTree(),
        DictTree(kind="dict", keys=("a", 3), children=(LeafTree(), LeafTree())),
        NamedTupleTree(type="m:Pair", fields=("x", "y"), children=(LeafTree(), LeafTree())),
        DataclassTree(type="m:Box", fields=("z",), children=(LeafTree(),), static=(("gain", 0.0), ("on", True))),
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
    kinds = (Interface, State, Argument, Unit, LeafTree, SequenceTree, DictTree, NamedTupleTree, DataclassTree)
    fields = {f"{kind.__name__}.{name}" for kind in kinds for name in kind.model_fields}
    single = {"LeafTree.kind", "NamedTupleTree.kind", "DataclassTree.kind"}
    assert fields - single == seen - {"NoneTree.kind"}
