"""Small edits of programs, as a modeller would make them, for the tests of what tells versions apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from brainir.ir.constant import Constant
from brainir.ir.interface import Unit
from brainir.ir.node import Node
from brainir.ir.ops import Binary, Unary
from brainir.ir.program import Function, Program
from brainir.ir.sharing import reachable_functions
from brainir.ir.types import TensorType, is_literal


def with_function(program: Program, changed: Function) -> Program:
    """Replace the function of the same name."""
    return program.replace(
        functions=tuple(changed if function.name == changed.name else function for function in program.functions)
    )


def rewire(function: Function, old: str, new: str, *, after: int = -1) -> Function:
    """Let nodes behind a place, and the outputs, use another value."""
    nodes = [
        node.replace(inputs=tuple(new if name == old else name for name in node.inputs)) if index > after else node
        for index, node in enumerate(function.nodes)
    ]
    return function.replace(
        nodes=tuple(nodes), outputs=tuple(new if name == old else name for name in function.outputs)
    )


def insert(function: Function, place: int, op: str = "neg") -> tuple[Function, str, int]:
    """Put an operation of one operand behind a node, so that whatever used its first result uses the new one.

    Returns
    -------
    Function
    str
        The value that the users had.
    int
        How many nodes and outputs use the new value.
    """
    value, kind = function.nodes[place].outputs[0], function.nodes[place].types[0]
    node = Unary(op=op, inputs=(value,), outputs=("inserted",), types=(kind,))
    users = sum(value in other.inputs for other in function.nodes) + (value in function.outputs)
    changed = rewire(function, value, "inserted", after=place)
    return changed.replace(nodes=(*changed.nodes[: place + 1], node, *changed.nodes[place + 1 :])), value, users


def delete(function: Function, place: int) -> Function | None:
    """Take a node away, so that its users use its operand of the same type; None if it has no such operand."""
    node = function.nodes[place]
    if len(node.outputs) != 1:
        return None
    for operand in node.inputs:
        if str(function.type_of(operand)) == node.types[0]:
            shorter = function.replace(nodes=(*function.nodes[:place], *function.nodes[place + 1 :]))
            return rewire(shorter, node.outputs[0], operand)
    return None


def insertable(function: Function) -> list[int]:
    """Return the places of nodes whose first result is a float that something uses."""
    used = {name for node in function.nodes for name in node.inputs} | set(function.outputs)
    return [
        place
        for place, node in enumerate(function.nodes)
        if node.outputs and node.outputs[0] in used and TensorType.parse(node.types[0]).dtype == "float32"
    ]


def middle(program: Program) -> tuple[Function, int]:
    """Return the function with most nodes, and the middle one of the places where a node can be inserted."""
    function = max(program.functions, key=lambda each: len(insertable(each)))
    places = insertable(function)
    return function, places[len(places) // 2]


# Random edits: each returns another valid program, or None where it does not apply.


def _insert(program: Program, random: Random) -> Program | None:
    function = random.choice(program.functions)
    places = insertable(function)
    if not places or any(name == "inserted" for name in function.value_types):
        return None
    return with_function(program, insert(function, random.choice(places), random.choice(("neg", "sign")))[0])


def _delete(program: Program, random: Random) -> Program | None:
    function = random.choice(program.functions)
    if not function.nodes:
        return None
    shorter = delete(function, random.randrange(len(function.nodes)))
    if shorter is None:
        return None
    changed = with_function(program, shorter)
    return changed.replace(functions=reachable_functions(changed.table, changed.entry))


def _change_node(program: Program, random: Random, change: Callable[[Function, Node], Node | None]) -> Program | None:
    function = random.choice(program.functions)
    if not function.nodes:
        return None
    place = random.randrange(len(function.nodes))
    node = change(function, function.nodes[place])
    if node is None:
        return None
    return with_function(program, function.replace(nodes=(*function.nodes[:place], node, *function.nodes[place + 1 :])))


def _swap_operands(program: Program, random: Random) -> Program | None:
    def change(function: Function, node: Node) -> Node | None:
        return node.replace(inputs=node.inputs[::-1]) if isinstance(node, Binary) else None

    return _change_node(program, random, change)


def _replace_operation(program: Program, random: Random) -> Program | None:
    def change(function: Function, node: Node) -> Node | None:
        if not isinstance(node, Binary | Unary):
            return None
        others = ("add", "mul", "sub", "max") if isinstance(node, Binary) else ("neg", "sign", "abs")
        return node.replace(op=random.choice(others))

    return _change_node(program, random, change)


def _change_operand(program: Program, random: Random) -> Program | None:
    def change(function: Function, node: Node) -> Node | None:
        if not node.inputs:
            return None
        before = [*function.inputs, *(constant.name for constant in function.constants)]
        for other in function.nodes:
            if other is node:
                break
            before += other.outputs
        at = random.randrange(len(node.inputs))
        kind = str(function.type_of(node.inputs[at]))
        fitting = [name for name in before if function.value_types[name] == kind]
        if not fitting:
            return None
        return node.replace(inputs=(*node.inputs[:at], random.choice(fitting), *node.inputs[at + 1 :]))

    return _change_node(program, random, change)


def _change_literal(program: Program, random: Random) -> Program | None:
    def change(function: Function, node: Node) -> Node | None:
        places = [at for at, name in enumerate(node.inputs) if is_literal(name) and name.endswith(":f32")]
        if not places:
            return None
        at, number = random.choice(places), random.choice(("0.25:f32", "-0.0:f32", "0.5:f32"))
        return node.replace(inputs=(*node.inputs[:at], number, *node.inputs[at + 1 :]))

    return _change_node(program, random, change)


def _change_constant(program: Program, random: Random) -> Program | None:
    function = random.choice(program.functions)
    places = [at for at, each in enumerate(function.constants) if each.data and each.type.startswith(("f32", "i32"))]
    if not places:
        return None
    at = random.choice(places)
    old = function.constants[at]
    data = bytearray(old.data or b"")
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    constants = list(function.constants)
    constants[at] = Constant(name=old.name, type=old.type, data=bytes(data))
    return with_function(program, function.replace(constants=tuple(constants)))


def _change_outputs(program: Program, random: Random) -> Program | None:
    function = random.choice(program.functions)
    at = random.randrange(len(function.outputs))
    kind = str(function.type_of(function.outputs[at]))
    fitting = [name for name, given in function.value_types.items() if given == kind]
    if not fitting:
        return None
    outputs = (*function.outputs[:at], random.choice(fitting), *function.outputs[at + 1 :])
    return with_function(program, function.replace(outputs=outputs))


def _change_interface(program: Program, random: Random) -> Program | None:
    interface = program.interface
    choices: list[Program] = []
    for at, state in enumerate(interface.states):
        role = "other" if state.role == "param" else "param"
        changed = (*interface.states[:at], state.replace(role=role), *interface.states[at + 1 :])
        choices.append(program.replace(interface=interface.replace(states=changed)))
    for at, unit in enumerate(interface.units):
        other = unit.replace(scale=random.choice((1.0, -3.0, 0.0)))
        units: Sequence[Unit] = (*interface.units[:at], other, *interface.units[at + 1 :])
        choices.append(program.replace(interface=interface.replace(units=tuple(units))))
    for at, argument in enumerate(interface.arguments):
        changed = argument.replace(name=f"renamed{at}")
        arguments = (*interface.arguments[:at], changed, *interface.arguments[at + 1 :])
        choices.append(program.replace(interface=interface.replace(arguments=arguments)))
    return random.choice(choices) if choices else None


EDITS = (
    _insert, _delete, _swap_operands, _replace_operation, _change_operand, _change_literal, _change_constant,
    _change_outputs, _change_interface,
)  # fmt: skip


def random_edit(program: Program, random: Random) -> Program:
    """Make one random edit that applies; it may turn out to change nothing."""
    for edit in random.sample(EDITS, len(EDITS)):
        if (changed := edit(program, random)) is not None:
            return changed
    return program
