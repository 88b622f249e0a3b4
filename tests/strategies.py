"""Random valid programs, and random ways to write the same program differently."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from random import Random
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
from hypothesis import strategies as st

from brainir.ir.constant import Constant
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.model import Model
from brainir.ir.node import Node
from brainir.ir.ops import (
    Binary,
    BroadcastInDim,
    Call,
    Compare,
    Concatenate,
    ConvertElementType,
    Cumulative,
    CustomJvp,
    DotGeneral,
    IntegerPow,
    Reduce,
    Reshape,
    Rev,
    SelectN,
    Transpose,
    Unary,
    UnaryAccuracy,
)
from brainir.ir.program import Function, Program
from brainir.ir.trees import LeafTree, NoneTree, SequenceTree
from brainir.ir.types import DTYPES, TensorType

# Hypothesis warns of models of which it could make one value only, because their fields have defaults.
st.register_type_strategy(LeafTree, st.builds(LeafTree, unit=st.none() | st.text(max_size=3)))
st.register_type_strategy(NoneTree, st.builds(NoneTree))

SHAPES = ((), (3,), (2, 3), (3, 2))
LITERALS = ("0.0:f32", "-0.0:f32", "0.5:f32", "inf:f32", "0x7fc00001:f32")
# Bits that an element in one byte may have.
MASKS = {"bool": 1, "int2": 3, "uint2": 3, "int4": 15, "uint4": 15, "float4_e2m1fn": 15}
TEXT = st.text(st.sampled_from('aB3 _/.λé"\\\n\x00\x7f\u2028\u202e\ufeff😀'), max_size=6)
LINE = st.text(st.sampled_from('aB3 _/.λé"\\😀'), max_size=6)


def f32(shape: Sequence[int] = ()) -> str:
    """Write the type of a float32 array."""
    return str(TensorType("float32", tuple(shape)))


class Body:
    """A function that grows by random nodes."""

    def __init__(self, draw: st.DrawFn, types: Sequence[str]) -> None:
        self.draw = draw
        self.types: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.constants: list[Constant] = []
        self.inputs = tuple(self.define(kind) for kind in types)

    def define(self, kind: str) -> str:
        stem = self.draw(st.sampled_from(("x", "v", "h_t", "rnn.W", "_")))
        name = f"{stem}{len(self.types)}"
        self.types[name] = kind
        return name

    def pick(self, kind: str | None = None) -> str:
        fitting = [name for name, given in self.types.items() if kind in (None, given)]
        return self.draw(st.sampled_from(fitting))

    def pick_floats(self) -> tuple[str, tuple[int, ...]]:
        fitting = [name for name, given in self.types.items() if TensorType.parse(given).dtype == "float32"]
        name = self.draw(st.sampled_from(fitting))
        return name, TensorType.parse(self.types[name]).shape

    def add(self, schema: type[Node], inputs: Sequence[str], kind: str, **attributes: object) -> str:
        scope, source = self.draw(LINE), self.draw(LINE)
        name = self.define(kind)
        self.nodes.append(
            schema(inputs=tuple(inputs), outputs=(name,), types=(kind,), scope=scope, source=source, **attributes)
        )
        return name

    def add_constant(self) -> None:
        dtype = self.draw(st.sampled_from([name for name in DTYPES if name != "float0"]))
        kind = TensorType(dtype, self.draw(st.sampled_from([*SHAPES, (0, 3), (4, 5)])))
        data = self.draw(st.binary(min_size=kind.nbytes, max_size=kind.nbytes))
        data = bytes(byte & MASKS.get(dtype, 255) for byte in data)
        self.constants.append(Constant(name=self.define(str(kind)), type=str(kind), data=data))

    def add_node(self, callees: Sequence[Function]) -> None:
        x, shape = self.pick_floats()
        choice = self.draw(st.integers(0, 15))
        if choice == 0:
            self.add(Unary, (x,), f32(shape), op=self.draw(st.sampled_from(("neg", "sign", "stop_gradient"))))
        elif choice == 1:
            self.add(UnaryAccuracy, (x,), f32(shape), op=self.draw(st.sampled_from(("tanh", "exp"))))
        elif choice in (2, 3, 4):
            y = self.draw(st.sampled_from(LITERALS)) if choice == 2 else self.pick(f32(shape))
            self.add(Binary, (x, y), f32(shape), op=self.draw(st.sampled_from(("add", "mul", "sub"))))
        elif choice == 5:
            self.add(IntegerPow, (x,), f32(shape), y=self.draw(st.integers(-2, 3)))
        elif choice == 6:
            which = self.add(
                Compare,
                (x, self.pick(f32(shape))),
                f"bool{f32(shape)[3:]}",
                op=self.draw(st.sampled_from(("gt", "eq"))),
            )
            self.add(SelectN, (which, x, self.pick(f32(shape))), f32(shape))
        elif choice == 7:
            axes = self.draw(st.sets(st.sampled_from(range(len(shape))))) if shape else set()
            kept = [size for axis, size in enumerate(shape) if axis not in axes]
            op = self.draw(st.sampled_from(("reduce_sum", "reduce_max")))
            self.add(Reduce, (x,), f32(kept), op=op, axes=tuple(sorted(axes)))
        elif choice == 8:
            order = self.draw(st.permutations(range(len(shape))))
            self.add(Transpose, (x,), f32([shape[axis] for axis in order]), permutation=tuple(order))
        elif choice == 9:
            sizes = self.draw(st.sampled_from([new for new in SHAPES if math.prod(new) == math.prod(shape)] or [shape]))
            self.add(Reshape, (x,), f32(sizes), new_sizes=sizes)
        elif choice == 10 and shape:
            self.add(Rev, (x,), f32(shape), dimensions=(self.draw(st.integers(0, len(shape) - 1)),))
        elif choice == 11 and shape:
            axis = self.draw(st.integers(0, len(shape) - 1))
            reverse = self.draw(st.booleans())
            op = self.draw(st.sampled_from(("cumsum", "cumprod")))
            self.add(Cumulative, (x,), f32(shape), op=op, axis=axis, reverse=reverse)
        elif choice == 12 and len(shape) == 1:
            sizes = (self.draw(st.integers(1, 3)), *shape)
            self.add(BroadcastInDim, (x,), f32(sizes), shape=sizes, broadcast_dimensions=(1,))
        elif choice == 13 and shape:
            sizes = (2 * shape[0], *shape[1:])
            self.add(Concatenate, (x, self.pick(f32(shape))), f32(sizes), dimension=0)
        elif choice == 14 and shape:
            numbers = (((0,), (0,)), ((), ()))
            self.add(
                DotGeneral,
                (x, self.pick(f32(shape))),
                f32(shape[1:] * 2),
                dimension_numbers=numbers,
                precision=self.draw(st.sampled_from((None, "HIGHEST"))),
            )
        elif choice == 15:
            integers = self.add(ConvertElementType, (x,), f"i32{f32(shape)[3:]}", new_dtype="int32")
            self.add(ConvertElementType, (integers,), f32(shape), new_dtype="float32")
        elif callees:
            self.add_call(self.draw(st.sampled_from(callees)))

    def add_call(self, callee: Function) -> None:
        if not set(callee.types) <= set(self.types.values()):
            return
        inputs = tuple(self.pick(kind) for kind in callee.types)
        types = tuple(str(callee.type_of(output)) for output in callee.outputs)
        outputs = tuple(self.define(kind) for kind in types)
        inline = self.draw(st.booleans())
        self.nodes.append(Call(function=callee.name, inline=inline, inputs=inputs, outputs=outputs, types=types))


@st.composite
def functions(draw: st.DrawFn, name: str, callees: Sequence[Function] = ()) -> Function:
    """Draw a function that calls each of the callees, if their operands exist, and some of them again."""
    body = Body(draw, [f32(shape) for shape in draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))])
    for _ in range(draw(st.integers(0, 2))):
        body.add_constant()
    for _ in range(draw(st.integers(0, 8))):
        body.add_node(callees)
    for callee in callees:
        body.add_call(callee)
    outputs = draw(st.lists(st.sampled_from([*body.types, "1.5:f32"]), min_size=1, max_size=4))
    return Function(
        name=name,
        inputs=body.inputs,
        types=tuple(body.types[name] for name in body.inputs),
        constants=tuple(body.constants),
        nodes=tuple(body.nodes),
        outputs=tuple(outputs),
    )


def spike(name: str, rule: str) -> tuple[Function, Function, CustomJvp]:
    """Make a step function, its surrogate derivative, which refers to itself, and a node that uses them."""

    def node(operand: str, result: str) -> CustomJvp:
        return CustomJvp(function=name, jvp=rule, inputs=(operand,), outputs=(result,), types=("f32[3]",))

    heaviside = Function(
        name=name,
        inputs=("x",),
        types=("f32[3]",),
        nodes=(Unary(op="sign", inputs=("x",), outputs=("y",), types=("f32[3]",)),),
        outputs=("y",),
    )
    surrogate = Function(
        name=rule,
        inputs=("x", "t"),
        types=("f32[3]", "f32[3]"),
        nodes=(
            node("x", "y"),
            UnaryAccuracy(op="logistic", inputs=("x",), outputs=("s",), types=("f32[3]",)),
            Binary(op="mul", inputs=("s", "t"), outputs=("dy",), types=("f32[3]",)),
        ),
        outputs=("y", "dy"),
    )
    return heaviside, surrogate, node("x", "z")


@st.composite
def interfaces(draw: st.DrawFn, entry: Function) -> Interface:
    """Draw an interface for an entry: some first inputs are states that never change, others arguments."""
    units = draw(
        st.lists(
            st.builds(
                Unit,
                text=TEXT.filter(bool),
                dimension=st.tuples(*[st.sampled_from((0.0, -0.0, 1.0, -2.0, 0.5))] * 7),
                scale=st.sampled_from((0.0, -0.0, -3.0, 6.0, -1.5)),
                factor=st.floats(1e-30, 1e30),
            ),
            unique_by=lambda unit: unit.text,
            max_size=2,
        )
    )
    leaf = st.builds(LeafTree, unit=st.sampled_from([None, *(unit.text for unit in units)]))
    count = draw(st.integers(0, len(entry.inputs)))
    states = tuple(
        State(
            path=(draw(TEXT), position),
            role=draw(st.sampled_from(("param", "other"))),
            type=draw(st.sampled_from(("ParamState", "State"))),
            tree=draw(leaf),
            returned=False,
        )
        for position in range(count)
    )
    arguments = tuple(
        Argument(name=f"{draw(st.sampled_from(('x', 'λ')))}{position}", tree=draw(leaf))
        for position in range(count, len(entry.inputs))
    )
    result = SequenceTree(
        kind=draw(st.sampled_from(("tuple", "list"))), children=tuple(draw(leaf) for _ in entry.outputs)
    )
    kind = "module" if states else "function"
    unused = (("unused", 1), ("unused", "b")) if states and draw(st.booleans()) else ()
    return Interface(kind=kind, states=states, arguments=arguments, result=result, units=tuple(units), unused=unused)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Draw a valid program of a few functions, some with derivative rules that refer to themselves."""
    callees: list[Function] = []
    rules: tuple[Function, ...] = ()
    if draw(st.booleans()):
        heaviside, surrogate, node = spike("spike", "rule")
        rules = (heaviside, surrogate)
        callees.append(Function(name="fire", inputs=("x",), types=("f32[3]",), nodes=(node,), outputs=("z",)))
    for position in range(draw(st.integers(0, 2))):
        callees.append(draw(functions(f"f{position}", tuple(callees[-1:]))))
    entry = draw(functions("main", tuple(callees)))
    table = {function.name: function for function in (entry, *callees, *rules)}
    reached = dict.fromkeys(["main"])
    waiting = ["main"]
    while waiting:
        for node in table[waiting.pop()].nodes:
            for name in node.callees():
                if name not in reached:
                    reached[name] = None
                    waiting.append(name)
    return Program(
        entry="main",
        interface=draw(interfaces(entry)),
        functions=tuple(table[name] for name in reached),
        metadata=tuple(draw(st.lists(st.tuples(TEXT, TEXT), max_size=1))),
    )


def disguise(program: Program, random: Random) -> Program:
    """Write the same program with other names, orders, copies, scopes, sources and notes."""
    copied = [function for function in program.functions if function.name != program.entry and random.random() < 0.3]
    names = [f"g{number}" for number in range(len(program.functions) + len(copied))]
    random.shuffle(names)
    choices: dict[str, list[str]] = {}
    table = []
    for function in (*program.functions, *copied):
        choices.setdefault(function.name, []).append(names.pop())
        table.append((choices[function.name][-1], function))

    def choose(old: str) -> str:
        return random.choice(choices[old])

    written = [_disguise_function(function, name, choose, random) for name, function in table]
    kept = _reachable(choices[program.entry][0], written)
    random.shuffle(kept)
    units = random.sample(program.interface.units, len(program.interface.units))
    return Program(
        entry=choices[program.entry][0],
        interface=program.interface.replace(units=tuple(units), unused=program.interface.unused[::-1]),
        functions=tuple(kept),
        metadata=(("note", str(random.random())),),
    )


def _reachable(entry: str, table: list[Function]) -> list[Function]:
    by_name = {function.name: function for function in table}
    reached, waiting = {entry}, [entry]
    while waiting:
        for node in by_name[waiting.pop()].nodes:
            for name in set(node.callees()) - reached:
                reached.add(name)
                waiting.append(name)
    return [by_name[name] for name in sorted(reached)]


def _disguise_function(function: Function, name: str, choose: Callable[[str], str], random: Random) -> Function:
    values = [*function.inputs, *(constant.name for constant in function.constants)]
    values += [output for node in function.nodes for output in node.outputs]
    numbers = random.sample(range(10 * len(values) + 10), len(values))
    names = {old: f"w{number}" for old, number in zip(values, numbers, strict=True)}
    twins = {constant.name: f"twin{names[constant.name]}" for constant in function.constants if random.random() < 0.5}

    def rename(operand: str) -> str:
        if operand in twins and random.random() < 0.5:
            return twins[operand]
        return names.get(operand, operand)

    constants = [constant.replace(name=names[constant.name]) for constant in function.constants]
    constants += [c.replace(name=twins[c.name]) for c in function.constants if c.name in twins]
    nodes = []
    for node in random_order(function.nodes, random):
        callees = {callee: choose(callee) for callee in node.callees()}
        nodes.append(
            node.with_callees(callees).replace(
                inputs=tuple(map(rename, node.inputs)),
                outputs=tuple(names[output] for output in node.outputs),
                scope=f"scope{random.random()}",
                source="elsewhere.py:1",
            )
        )
    return Function(
        name=name,
        inputs=tuple(names[old] for old in function.inputs),
        types=function.types,
        constants=tuple(random.sample(constants, len(constants))),
        nodes=tuple(nodes),
        outputs=tuple(map(rename, function.outputs)),
    )


def random_order(nodes: Sequence[Node], random: Random) -> list[Node]:
    """Put nodes in a random order in which each follows what it needs."""
    waiting = list(nodes)
    pending = {output for node in nodes for output in node.outputs}
    ordered = []
    while waiting:
        ready = [node for node in waiting if pending.isdisjoint(node.inputs)]
        node = random.choice(ready)
        waiting = [other for other in waiting if other is not node]
        pending.difference_update(node.outputs)
        ordered.append(node)
    return ordered


def chain(length: int, shape: tuple[int, ...] = (7, 4)) -> Program:
    """Make a program of one function with a given number of nodes."""
    nodes = tuple(
        Binary(op="add", inputs=(f"v{k // 2}", f"v{k}"), outputs=(f"v{k + 1}",), types=(f32(shape),))
        for k in range(length)
    )
    return program_of(Function(name="main", inputs=("v0",), types=(f32(shape),), nodes=nodes, outputs=(f"v{length}",)))


def program_of(entry: Function, *others: Function) -> Program:
    """Make a program whose arguments and results are the entry's inputs and outputs."""
    return Program(
        entry=entry.name,
        interface=Interface(
            kind="function",
            arguments=tuple(Argument(name=f"a{k}", tree=LeafTree()) for k in range(len(entry.inputs))),
            result=SequenceTree(kind="tuple", children=(LeafTree(),) * len(entry.outputs)),
        ),
        functions=(entry, *others),
    )


def constant(name: str, array: np.ndarray) -> Constant:
    """Make a constant that holds an array."""
    return Constant.of(name, TensorType(array.dtype.name, array.shape), array)


def weights(*arrays: np.ndarray) -> Program:
    """Make a program that returns constants ``c0``, ``c1``, ..."""
    constants = tuple(constant(f"c{k}", array) for k, array in enumerate(arrays))
    outputs = tuple(c.name for c in constants)
    return program_of(Function(name="main", inputs=(), types=(), constants=constants, outputs=outputs))


@functools.cache
def attribute_values(annotation: Any) -> st.SearchStrategy[Any]:
    """Draw values of a field of a model from its annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        fields = annotation.model_fields.items()
        return st.builds(annotation, **{name: attribute_values(info.annotation) for name, info in fields})
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(map(attribute_values, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return attribute_values(get_args(annotation)[0])
    if annotation is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if get_origin(annotation) is tuple:
        item, *rest = get_args(annotation)
        if rest == [...]:
            longest = 1 if _holds_models(annotation) else 3
            return st.lists(st.deferred(lambda: attribute_values(item)), max_size=longest).map(tuple)
        return st.tuples(*map(attribute_values, (item, *rest)))
    return st.from_type(annotation)


def _holds_models(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return True
    return any(map(_holds_models, get_args(annotation)))
