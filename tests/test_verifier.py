"""Each invariant of the IR, broken once in a program that holds them all otherwise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import brainir
from brainir.ir import ops
from brainir.ir.constant import Constant
from brainir.ir.errors import VerificationError
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.node import Node
from brainir.ir.program import Function, Program
from brainir.ir.trees import CustomTree, DataclassTree, DictTree, LeafTree, NamedTupleTree, NoneTree, SequenceTree
from brainir.ir.types import TensorType
from brainir.ir.verifier import ensure_verified, verify

LEAF = LeafTree()
MILLIVOLT = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
F32_4 = TensorType.parse("f32[4]")


def call(schema: type[Node], inputs: str, outputs: str, types: str, /, **attributes: Any) -> Node:
    """Make a node from names separated by blanks."""
    texts = tuple(inputs.split()), tuple(outputs.split()), tuple(types.split())
    return schema(inputs=texts[0], outputs=texts[1], types=texts[2], source="model.py:7 (update)", **attributes)


def step() -> Program:
    """A cell with a surrogate spike: h, v = W @ h + x, spike(h) as a step of three states."""
    main = Function(
        name="step",
        inputs=("W", "h", "v", "x"),
        types=("f32[4,4]", "f32[4]", "f32[4,2]", "f32[4]"),
        constants=(Constant.of("k", F32_4, np.arange(4, dtype=np.float32)),),
        nodes=(
            call(ops.DotGeneral, "W h", "a", "f32[4]", dimension_numbers=(((1,), (0,)), ((), ()))),
            call(ops.Binary, "a x", "b", "f32[4]", op="add"),
            call(ops.Binary, "b k", "c", "f32[4]", op="mul"),
            call(ops.CustomJvp, "c", "s", "f32[4]", function="spike", jvp="spike_jvp"),
            call(ops.Binary, "v 0.5:f32", "w", "f32[4,2]", op="mul"),
        ),
        outputs=("b", "w", "s"),
    )
    spike = Function(
        name="spike",
        inputs=("x",),
        types=("f32[4]",),
        nodes=(
            call(ops.Compare, "x 0.0:f32", "p", "bool[4]", op="gt"),
            call(ops.ConvertElementType, "p", "y", "f32[4]", new_dtype="float32"),
        ),
        outputs=("y",),
    )
    rule = Function(
        name="spike_jvp",
        inputs=("x", "dx"),
        types=("f32[4]", "f32[4]"),
        nodes=(
            # A rule may use the function that it belongs to, custom derivative and all.
            call(ops.CustomJvp, "x", "y", "f32[4]", function="spike", jvp="spike_jvp"),
            call(ops.UnaryAccuracy, "x", "t", "f32[4]", op="tanh"),
            call(ops.Binary, "t dx", "dy", "f32[4]", op="mul"),
        ),
        outputs=("y", "dy"),
    )
    interface = Interface(
        kind="step",
        states=(
            State(path=("W",), role="param", type="param", tree=LEAF, returned=False),
            State(path=("h",), role="hidden", type="hidden", tree=LeafTree(unit="mV")),
            State(path=("v",), role="hidden", type="hidden", tree=LEAF, num_state=2),
        ),
        arguments=(Argument(name="x", tree=LEAF),),
        result=DictTree(kind="dict", keys=("spikes", 1), children=(LEAF, NoneTree())),
        units=(MILLIVOLT,),
        params=DictTree(kind="dict", keys=("W",), children=(LEAF,)),
        hidden=NamedTupleTree(type="model:Hidden", fields=("h", "v"), children=(LeafTree(unit="mV"), LEAF)),
    )
    return Program(entry="step", interface=interface, functions=(main, spike, rule))


def with_function(program: Program, position: int, **changes: Any) -> Program:
    functions = list(program.functions)
    functions[position] = functions[position].replace(**changes)
    return program.replace(functions=tuple(functions))


def with_node(program: Program, position: int, node: int, **changes: Any) -> Program:
    nodes = list(program.functions[position].nodes)
    nodes[node] = nodes[node].replace(**changes)
    return with_function(program, position, nodes=tuple(nodes))


def with_interface(program: Program, **changes: Any) -> Program:
    return program.replace(interface=program.interface.replace(**changes))


def with_state(program: Program, position: int, **changes: Any) -> Program:
    states = list(program.interface.states)
    states[position] = states[position].replace(**changes)
    return with_interface(program, states=tuple(states))


def with_constant(program: Program, **changes: Any) -> Program:
    constant = Constant(**{"name": "k", "type": "f32[4]", "data": bytes(16), **changes})
    return with_function(program, 0, constants=(constant,))


def with_result(program: Program, tree: Any) -> Program:
    return with_interface(program, result=tree)


def deep_tree(depth: int) -> Any:
    tree: Any = LEAF
    for _ in range(depth):
        tree = SequenceTree.model_construct(kind="tuple", children=(tree,))
    return tree


def dataclass_tree(**changes: Any) -> DataclassTree:
    fields: dict[str, Any] = {"type": "m:C", "fields": ("a",), "children": (LEAF,), "static": (("n", 1),)}
    return DataclassTree(**{**fields, **changes})


def custom_tree(**changes: Any) -> CustomTree:
    fields: dict[str, Any] = {"type": "m:C", "keys": ("a",), "children": (LEAF,), "origin": 0}
    return CustomTree(**{**fields, **changes})


def with_containers(program: Program, first: CustomTree, second: CustomTree) -> Program:
    return with_interface(program, result=second, arguments=(Argument(name="x", tree=first),))


def recursive(program: Program) -> Program:
    """The spike function calls itself through a second function."""
    first = call(ops.Call, "x", "y", "f32[4]", function="other")
    second = Function(
        name="other",
        inputs=("x",),
        types=("f32[4]",),
        nodes=(call(ops.Call, "x", "y", "f32[4]", function="spike"),),
        outputs=("y",),
    )
    program = with_function(program, 1, nodes=(first,))
    return program.replace(functions=(*program.functions, second))


def test_a_program_that_holds_every_invariant_passes():
    verify(step())


def test_other_kinds_of_interface_pass():
    program = step()
    states = program.interface.states
    verify(with_interface(program, kind="module", params=None, hidden=None, unused=(("layer", 0, "b"),)))
    arguments = tuple(Argument(name=str(state.path[0]), tree=state.tree) for state in states)
    everything = SequenceTree(kind="tuple", children=(LEAF, dataclass_tree(), LEAF))
    function = Interface(
        kind="function",
        arguments=(*arguments, *program.interface.arguments),
        result=everything,
        units=(MILLIVOLT,),
    )
    verify(program.replace(interface=function))


def test_weak_types_of_states_and_results_do_not_count():
    program = with_node(step(), 0, 1, types=("~f32[4]",))
    verify(program)


def test_constants_may_be_left_out():
    verify(with_constant(step(), data=None, sha256="0" * 64))


def test_literals_may_be_outputs():
    program = with_function(step(), 0, outputs=("b", "w", "1.0:f32"))
    verify(program.replace(functions=program.functions))


# What to break -> (how, where the message says it is, what the message says)
BROKEN: dict[str, tuple[Callable[[Program], Program], str, str]] = {
    # the table of functions
    "function name": (
        lambda p: with_function(p, 1, name="my spike"),
        "'my spike'",
        "not a Python identifier",
    ),
    "keyword as name": (lambda p: with_function(p, 1, name="lambda"), "'lambda'", "not a Python identifier"),
    "name not in normal form": (lambda p: with_function(p, 1, name="ﬁ"), "'ﬁ'", "not a Python identifier"),
    "function twice": (
        lambda p: p.replace(functions=(*p.functions, p.functions[1])),
        "'spike'",
        "two functions are named",
    ),
    "no entry": (lambda p: p.replace(entry="main"), "'main'", "not in the table"),
    "no functions": (lambda p: p.replace(functions=()), "'step'", "not in the table"),
    "reference to nothing": (
        lambda p: with_node(p, 0, 3, function="spiky"),
        "function 'step', node 3 (custom_jvp)",
        "function refers to a function 'spiky'",
    ),
    "rule that is nothing": (
        lambda p: with_node(p, 0, 3, jvp="spiky"),
        "function 'step', node 3 (custom_jvp)",
        "jvp refers to a function 'spiky'",
    ),
    "unused function": (
        lambda p: p.replace(functions=(*p.functions, p.functions[1].replace(name="old"))),
        "function 'old'",
        "nothing refers to it",
    ),
    "recursion": (recursive, "function 'other'", "spike -> other -> spike"),
    "recursion of one": (
        lambda p: with_function(p, 1, nodes=(call(ops.Call, "x", "y", "f32[4]", function="spike"),)),
        "function 'spike'",
        "spike -> spike",
    ),
    # values
    "value name": (
        lambda p: with_node(p, 0, 4, outputs=("2w",)),
        "function 'step', node 4 (mul)",
        "'2w' cannot name a value",
    ),
    "long value name": (lambda p: with_function(p, 1, inputs=("x" * 201,)), "'spike'", "cannot name a value"),
    "value name that is no ASCII": (
        lambda p: with_function(p, 1, inputs=("τ",)),
        "'spike'",
        "cannot name a value",
    ),
    "value twice": (
        lambda p: with_node(p, 0, 2, outputs=("a",)),
        "node 2 (mul)",
        "'a' is defined a second time",
    ),
    "value with the name of an input": (
        lambda p: with_node(p, 0, 2, outputs=("x",)),
        "node 2 (mul)",
        "'x' is defined a second time",
    ),
    "constant with the name of an input": (
        lambda p: with_constant(p, name="x"),
        "function 'step'",
        "'x' is defined a second time",
    ),
    "use before definition": (
        lambda p: with_node(p, 0, 1, inputs=("c", "x")),
        "node 1 (add)",
        "'c' is used before it is defined",
    ),
    "use of its own result": (
        lambda p: with_node(p, 0, 1, inputs=("b", "x")),
        "node 1 (add)",
        "'b' is used before it is defined",
    ),
    "value of another function": (
        lambda p: with_node(p, 1, 0, inputs=("W", "0.0:f32")),
        "function 'spike', node 0 (gt)",
        "'W' is not defined in this function",
    ),
    "output that is nothing": (
        lambda p: with_function(p, 1, outputs=("z",)),
        "function 'spike'",
        "the output 'z' is not defined",
    ),
    "literal": (
        lambda p: with_node(p, 0, 4, inputs=("v", "half:f32")),
        "node 4 (mul)",
        "the literal 'half:f32'",
    ),
    "output literal": (
        lambda p: with_function(p, 0, outputs=("b", "w", "1:f32")),
        "'step'",
        "literal '1:f32'",
    ),
    "type": (lambda p: with_node(p, 0, 1, types=("f32[4",)), "node 1 (add)", "the type of 'b'"),
    "type of an input": (lambda p: with_function(p, 1, types=("f31[4]",)), "function 'spike'", "f31"),
    "rank": (lambda p: with_function(p, 1, types=(f"f32[{'1,' * 64}1]",)), "function 'spike'", "65 axes"),
    "types of a node": (
        lambda p: with_node(p, 0, 1, types=("f32[4]", "f32[4]")),
        "node 1 (add)",
        "1 outputs have 2 types",
    ),
    "types of inputs": (lambda p: with_function(p, 1, types=()), "function 'spike'", "1 inputs have 0 types"),
    "line break in a scope": (lambda p: with_node(p, 0, 1, scope="a\nb"), "node 1 (add)", "line break"),
    "line break in a source": (lambda p: with_node(p, 0, 1, source="a\u2028b"), "node 1 (add)", "line break"),
    # constants
    "bytes of a constant": (
        lambda p: with_constant(p, data=bytes(15)),
        "'step'",
        "has 15 bytes, but f32[4] takes 16",
    ),
    "constant without bytes": (
        lambda p: with_constant(p, data=None),
        "'step'",
        "either its bytes or their sha256",
    ),
    "constant with bytes and hash": (
        lambda p: with_constant(p, sha256="0" * 64),
        "'step'",
        "either its bytes or their sha256",
    ),
    "hash": (lambda p: with_constant(p, data=None, sha256="0" * 63 + "G"), "'step'", "64 hexadecimal digits"),
    "boolean that is neither": (
        lambda p: with_constant(p, type="bool[2]", data=b"\x01\x02"),
        "'step'",
        "not an element of bool",
    ),
    "key of an unknown kind": (
        lambda p: with_constant(p, type="key<mine>[]", data=b""),
        "'step'",
        "not known",
    ),
    # types
    "declared shape": (
        lambda p: with_node(p, 0, 1, types=("f32[5]",)),
        "node 1 (add)",
        "'b' is declared f32[5], but its operands and attributes give f32[4]",
    ),
    "declared element type": (lambda p: with_node(p, 0, 1, types=("f64[4]",)), "node 1 (add)", "give f32[4]"),
    "number of results": (
        lambda p: with_node(p, 0, 1, outputs=("b", "bb"), types=("f32[4]", "f32[4]")),
        "node 1 (add)",
        "it has 2 outputs, but its operands and attributes give 1",
    ),
    "operands": (lambda p: with_node(p, 0, 1, inputs=("a",)), "node 1 (add)", "takes 2 operands, not 1"),
    "operand types": (lambda p: with_node(p, 0, 1, inputs=("a", "W")), "node 1 (add)", "f32[4,4]"),
    "attribute": (
        lambda p: with_node(p, 0, 0, dimension_numbers=(((2,), (0,)), ((), ()))),
        "node 0 (dot_general)",
        "from 0 up to 1",
    ),
    "signature": (
        lambda p: with_node(p, 0, 3, function="spike_jvp"),
        "node 3 (custom_jvp)",
        "inputs of spike_jvp",
    ),
    "signature of a rule": (
        lambda p: with_function(p, 2, outputs=("y",)),
        "node 3 (custom_jvp)",
        "the outputs of spike_jvp (results, then tangents) must be 2 values, not 1",
    ),
    "axis without end": (
        lambda p: with_function(
            p,
            1,
            nodes=(
                call(ops.Compare, "x 0.0:f32", "p", "bool[4]", op="gt"),
                call(ops.Pad, "x 0.0:f32", "y", "f32[4]", padding_config=((10**4000, 0, 0),)),
            ),
        ),
        "function 'spike', node 1 (pad)",
        "an axis that is too long",
    ),
    # the interface
    "input leaves": (lambda p: with_interface(p, arguments=()), "interface", "3 input leaves, but the entry"),
    "output leaves": (lambda p: with_result(p, NoneTree()), "interface", "2 output leaves, but the entry"),
    "state that changes its shape": (
        lambda p: with_function(p, 0, outputs=("W", "w", "s")),
        "state h",
        "it is f32[4], but its new value 'W' is f32[4,4]",
    ),
    "state that changes its element type": (
        lambda p: with_function(
            p,
            0,
            nodes=(
                *p.functions[0].nodes,
                call(ops.ConvertElementType, "b", "d", "f16[4]", new_dtype="float16"),
            ),
            outputs=("d", "w", "s"),
        ),
        "state h",
        "its new value 'd' is f16[4]",
    ),
    "state path twice": (lambda p: with_state(p, 1, path=("v",)), "interface", "two states"),
    "unused path of a state": (
        lambda p: with_interface(p, kind="module", params=None, hidden=None, unused=(("h",),)),
        "interface",
        "two states (or unused paths) are named ('h',)",
    ),
    "unit that is not listed": (
        lambda p: with_interface(p, units=()),
        "state h",
        "'mV' is not in Interface.units",
    ),
    "unit of a params tree": (
        lambda p: with_interface(p, params=DictTree(kind="dict", keys=("W",), children=(LeafTree(unit="nS"),))),
        "params",
        "'nS' is not in Interface.units",
    ),
    "unit twice": (lambda p: with_interface(p, units=(MILLIVOLT, MILLIVOLT)), "interface", "two units"),
    "argument name": (
        lambda p: with_interface(p, arguments=(Argument(name="x y", tree=LEAF),)),
        "interface",
        "the argument name 'x y'",
    ),
    "argument twice": (
        lambda p: with_interface(p, arguments=(Argument(name="x", tree=LEAF), Argument(name="x", tree=NoneTree()))),
        "interface",
        "two arguments are named 'x'",
    ),
    "keys of a dict": (
        lambda p: with_result(p, DictTree(kind="dict", keys=("a", "b"), children=(LEAF,))),
        "result",
        "2 keys and 1 children",
    ),
    "key twice": (
        lambda p: with_result(p, DictTree(kind="dict", keys=("a", "a"), children=(LEAF, NoneTree()))),
        "result",
        "a key appears twice",
    ),
    "fields of a namedtuple": (
        lambda p: with_result(p, NamedTupleTree(type="m:C", fields=(), children=(LEAF,))),
        "result",
        "0 keys and 1 children",
    ),
    "field name": (
        lambda p: with_result(p, dataclass_tree(fields=("1",))),
        "result",
        "not the name of a field",
    ),
    "static field name": (
        lambda p: with_result(p, dataclass_tree(static=(("class", 1),))),
        "result",
        "not the name of a field",
    ),
    "field twice": (
        lambda p: with_result(p, dataclass_tree(static=(("a", 1),))),
        "result",
        "a field appears twice",
    ),
    "class of a container": (lambda p: with_result(p, custom_tree(type="os; x")), "result", "does not name a class"),
    "parts of a container": (lambda p: with_result(p, custom_tree(keys=())), "result", "0 keys and 1 children"),
    "part twice": (
        lambda p: with_result(p, custom_tree(keys=("a", "a"), children=(LEAF, LEAF))),
        "result",
        "a key appears twice",
    ),
    "container of no argument": (lambda p: with_result(p, custom_tree()), "interface", "no argument has a m:C like"),
    "containers that are not alike": (
        lambda p: with_containers(p, custom_tree(), custom_tree(keys=("b",))),
        "interface",
        "no argument has a m:C like",
    ),
    "class": (lambda p: with_result(p, dataclass_tree(type="os; x")), "result", "does not name a class"),
    "grouped parameter": (lambda p: with_state(p, 0, num_state=4), "state W", "does not fit a param state"),
    "num_state of 0": (lambda p: with_state(p, 2, num_state=0), "state v", "num_state 0"),
    "num_state and shape": (lambda p: with_state(p, 2, num_state=3), "state v", "num_state is 3"),
    "step without trees": (lambda p: with_interface(p, hidden=None), "interface", "needs the trees"),
    "trees and states": (
        lambda p: with_interface(p, hidden=LEAF),
        "interface",
        "1 + 1 leaves, the states 3",
    ),
    "roles and places": (lambda p: with_state(p, 0, role="hidden"), "state W", "'hidden' is out of place"),
    "module with trees": (lambda p: with_interface(p, kind="module"), "interface", "belong to a step"),
    "function with states": (
        lambda p: with_interface(p, kind="function", params=None, hidden=None),
        "interface",
        "a function has no states",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_invariant_is_reported_with_place_and_reason(name):
    broken, where, what = BROKEN[name]
    with pytest.raises(VerificationError) as caught:
        verify(broken(step()))
    first, *rest = str(caught.value).splitlines()
    assert where in first
    assert what in first
    assert rest[-1].startswith("  to do: ")


def test_a_hidden_state_is_one_array():
    program = step()
    pair = SequenceTree(kind="list", children=(LEAF, LEAF))
    states = (
        program.interface.states[0],
        program.interface.states[1].replace(tree=pair, type="HiddenState"),
    )
    hidden = SequenceTree(kind="list", children=(LEAF, LEAF))
    main = program.functions[0]
    broken = with_function(
        with_interface(program, states=states, hidden=hidden),
        0,
        inputs=("W", "h", "v", "x"),
        nodes=main.nodes,
    )
    with pytest.raises(VerificationError, match="a hidden state is one array, not 2"):
        verify(broken)
    verify(with_state(broken, 1, type="HiddenTreeState"))


def test_the_message_shows_the_lines_around_the_node_and_the_line_of_the_model():
    with pytest.raises(VerificationError) as caught:
        verify(with_node(step(), 0, 2, types=("f32[9]",)))
    assert str(caught.value).splitlines() == [
        "function 'step', node 2 (mul): 'c' is declared f32[9], but its operands and attributes give f32[4]",
        "        0 | a: f32[4] = dot_general[dimension_numbers=(((1),(0)),((),()))] W h",
        "        1 | b: f32[4] = add a x",
        "  >     2 | c: f32[9] = mul b k",
        "        3 | s: f32[4] = custom_jvp[function=spike, jvp=spike_jvp] c",
        "        4 | w: f32[4,2] = mul v 0.5",
        "  model: model.py:7 (update)",
        "  to do: write the types that follow",
    ]


def test_long_and_unprintable_text_does_not_flood_the_message():
    with pytest.raises(VerificationError) as caught:
        verify(with_node(step(), 0, 2, inputs=("b", "x" * 10_000 + "\n\x1b[31m")))
    assert len(str(caught.value)) < 3000
    assert "\x1b" not in str(caught.value)


def test_trees_deeper_than_the_limit_are_refused_without_recursion():
    with pytest.raises(VerificationError, match="the tree is deeper than 90"):
        verify(step().model_copy(update={"interface": step().interface.model_copy(update={"result": deep_tree(5000)})}))


def chain(length: int, last: str) -> Program:
    """Functions that call the next one, and the last of them `last`."""
    functions = tuple(
        Function(
            name=f"f{k}",
            inputs=("x",),
            types=("f32[4]",),
            nodes=(call(ops.Call, "x", "y", "f32[4]", function=f"f{k + 1}" if k + 1 < length else last),),
            outputs=("y",),
        )
        for k in range(length)
    )
    leaf = Function(name="leaf", inputs=("x",), types=("f32[4]",), outputs=("x",))
    interface = Interface(kind="function", arguments=(Argument(name="x", tree=LEAF),), result=LEAF)
    used = (leaf,) if last == "leaf" else ()
    return Program(entry="f0", interface=interface, functions=(*functions, *used))


@pytest.mark.parametrize("use", [verify, brainir.to_callable, brainir.to_source])
def test_what_is_no_program_is_refused_with_the_way_to_one(use):
    with pytest.raises(VerificationError, match=r"not a brainir\.Program but str; .*brainir\.load reads one"):
        use("model.json")


def test_chains_of_calls_may_have_200_levels_and_cycles_none():
    verify(chain(199, "leaf"))
    with pytest.raises(VerificationError, match="nest more than 200 levels deep"):
        verify(chain(5000, "leaf"))
    with pytest.raises(VerificationError, match="the functions run each other without end"):
        verify(chain(5000, "f0"))


def test_calls_with_long_signatures_are_compared_once_and_not_once_for_each_branch():
    """Time would be cubic in the numbers of branches, operands and nodes if each were compared by value."""
    names = tuple(f"x{k}" for k in range(400))
    branches = tuple(Function(name=f"f{k}", inputs=names, types=("f32[]",) * 400, outputs=names) for k in range(400))
    assert len({id(branch.signature[0]) for branch in branches}) == 1
    assert len({id(branch.signature[1]) for branch in branches}) == 1


@pytest.mark.parametrize("check", [verify, ensure_verified])
def test_a_function_that_was_checked_is_checked_again_beside_other_functions(check):
    program = chain(1, "leaf")
    verify(program)
    caller, leaf = program.functions
    other = leaf.replace(types=("f32[3]",))
    verify(Program(entry="leaf", interface=program.interface, functions=(other,)))
    with pytest.raises(
        VerificationError, match=r"operands \(inputs of leaf\): number 0 must be f32\[3\], not f32\[4\]"
    ):
        check(program.model_copy(update={"functions": (caller, other)}))
    with pytest.raises(VerificationError, match="function refers to a function 'leaf' that"):
        check(program.model_copy(update={"functions": (caller,)}))
    check(program.model_copy(update={"functions": (caller, leaf.replace(outputs=("x",)))}))


@pytest.mark.parametrize("check", [verify, ensure_verified])
def test_a_copy_of_a_program_that_was_checked_is_checked_again(check):
    program = step()
    verify(program)
    main, *rest = program.functions
    with pytest.raises(VerificationError, match="'nowhere' is not defined"):
        check(program.model_copy(update={"functions": (main.model_copy(update={"outputs": ("nowhere",)}), *rest)}))
    with pytest.raises(VerificationError, match="the entry 'nowhere' is not in the table"):
        check(program.model_copy(update={"entry": "nowhere"}))
    with pytest.raises(VerificationError, match="interface"):
        check(program.replace(interface=chain(1, "leaf").interface))


@pytest.mark.parametrize("changed", [Function.model_copy, lambda function, update: Function.model_construct(**update)])
def test_a_list_that_a_record_was_made_with_can_be_changed_and_the_record_not(changed: Callable[..., Function]) -> None:
    program = step()
    main, *others = program.functions
    nodes = list(main.nodes)
    fields = {name: getattr(main, name) for name in Function.model_fields}
    program = program.model_copy(update={"functions": [changed(main, update={**fields, "nodes": nodes}), *others]})
    ensure_verified(program)
    nodes[0] = call(ops.Binary, "x nowhere", "a", "f32[4]", op="add")
    verify(program)
    assert program.function("step").nodes == main.nodes


def test_what_was_changed_in_place_is_found_where_verify_is_called():
    program = step()
    verify(program)
    object.__setattr__(program.entry_function.nodes[0], "types", ("f32[3]",))
    ensure_verified(program)
    for check in (verify, ensure_verified):
        with pytest.raises(VerificationError, match=r"declared f32\[3\]"):
            check(program)
