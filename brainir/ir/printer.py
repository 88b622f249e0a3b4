"""Programs as text for people, and as HTML for notebooks."""

from __future__ import annotations

import hashlib
import html
import itertools
from collections.abc import Iterable, Sequence

from .constant import Constant
from .interface import Interface, State
from .model import Model, StatePath
from .node import Node
from .ops import MeshShape, Sharding, SpreadSpec
from .program import Function, Program, Value
from .trees import (
    ClassName,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Static,
    StaticDict,
    Tree,
    leaf_paths,
)
from .wording import counted

__all__ = [
    "format_attribute",
    "format_constant",
    "format_function",
    "format_html",
    "format_node",
    "format_operand",
    "format_path",
    "format_program",
    "format_tree",
]

_MOST_LINES = 1000


def format_path(path: StatePath) -> str:
    """Write a state path as one dotted name; unwieldy keys are shortened, and unlike ones stay unlike."""
    return ".".join(text if len(text := str(key)) <= 24 else _shortened(text) for key in path) or "()"


def _shortened(key: str) -> str:
    return f"<{key[:20].strip()}…{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:6]}>"


def format_node(node: Node, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> str:
    """Write one node on one line, as ``y: f32[4] = dot_general[...] x W``, with its operands and results or others."""
    inputs, outputs = node.inputs if inputs is None else inputs, node.outputs if outputs is None else outputs
    results = ", ".join([f"{name}: {kind}" for name, kind in zip(outputs, node.types, strict=False)]) or "()"
    attributes = _attributes(node) if node.attribute_names() else ""
    operands = " ".join(map(format_operand, inputs))
    return f"{results} = {node.op}{attributes} {operands}".rstrip()


def format_operand(operand: str) -> str:
    """Write an operand: the name of a value, or the number of a literal without its type."""
    return operand.partition(":")[0]


def _attributes(node: Node) -> str:
    shown = [
        f"{name}={format_attribute(value)}"
        for name, value in node.attributes().items()
        if value is not None and value is not False and value != () and not _is_default_zero(node, name, value)
    ]
    return f"[{', '.join(shown)}]" if shown else ""


def _is_default_zero(node: Node, name: str, value: object) -> bool:
    return (value == 0 or value == "") and not type(node).model_fields[name].is_required()


def format_attribute(value: object) -> str:
    """Write the value of an attribute; fields of records at their default are left out."""
    if isinstance(value, tuple):
        return f"({','.join(map(format_attribute, value))})"
    if isinstance(value, LeafTree | NoneTree | SequenceTree | DictTree | NamedTupleTree | DataclassTree | CustomTree):
        return format_tree(value)
    if isinstance(value, MeshShape):
        return _format_mesh(value)
    if isinstance(value, Sharding):
        return f"{_format_spec(value)}@{_format_mesh(value.mesh)}"
    if isinstance(value, SpreadSpec):
        return _format_spec(value)
    if isinstance(value, Model):
        fields = type(value).model_fields
        given = ((name, getattr(value, name)) for name in fields)
        shown = (f"{name}={format_attribute(each)}" for name, each in given if each != fields[name].default)
        return f"{{{', '.join(shown)}}}"
    return str(value)


def _format_mesh(mesh: MeshShape) -> str:
    """Write a mesh as its axes by kind, ``explicit(x=4,y=2)``."""
    axes = zip(mesh.names, mesh.sizes, mesh.types, strict=False)
    kinds = itertools.groupby(axes, key=lambda axis: axis[2])
    return "+".join(f"{kind}({','.join(f'{name}={size}' for name, size, _ in group)})" for kind, group in kinds) or "()"


def _format_spec(given: Sharding | SpreadSpec) -> str:
    """Write how an array lies on a mesh, ``P(x,None)``."""
    said: dict[str, object] = {"unreduced": given.unreduced, "reduced": given.reduced}
    if given.unreduced_kind != "sum":
        said["unreduced_kind"] = given.unreduced_kind
    if isinstance(given, Sharding):
        said["memory"] = given.memory
    parts = [format_attribute(entry) for entry in given.spec]
    parts += [f"{name}={format_attribute(value)}" for name, value in said.items() if value]
    return f"P({','.join(parts)})"


def format_tree(tree: Tree | None) -> str:
    """Write a tree as Python would write its value, with ``*`` and the unit for each leaf."""
    if tree is None or isinstance(tree, NoneTree):
        return "None"
    if isinstance(tree, LeafTree):
        return f"*{tree.unit or ''}"
    children = [format_tree(child) for child in tree.children]
    if isinstance(tree, SequenceTree):
        joined = ", ".join(children)
        return f"[{joined}]" if tree.kind == "list" else f"({joined}{',' if len(children) == 1 else ''})"
    keys = tree.keys if isinstance(tree, DictTree | CustomTree) else tree.fields
    inner = [f"{key}: {child}" for key, child in zip(keys, children, strict=True)]
    if isinstance(tree, DictTree):
        return f"{'' if tree.kind == 'dict' else 'OrderedDict'}{{{', '.join(inner)}}}"
    if isinstance(tree, DataclassTree):
        inner += [f"{name}={_format_static(value)}" for name, value in tree.static]
    if isinstance(tree, CustomTree) and tree.aux is not None:
        inner.append(f"aux={_format_static(tree.aux.value)}")
    number = f"#{tree.origin}" if isinstance(tree, CustomTree) else ""
    return f"{tree.type}{number}({', '.join(inner)})"


def _format_static(value: Static) -> str:
    if isinstance(value, ClassName):
        return value.type
    if isinstance(value, StaticDict):
        items = ", ".join(f"{key!r}: {_format_static(held)}" for key, held in value.items)
        return f"{'OrderedDict' if value.ordered else ''}{{{items}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_format_static, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def format_function(function: Function) -> str:
    """Write a function: its signature, constants and nodes, each with the model's line."""
    inputs = ", ".join(f"{name}: {kind}" for name, kind in zip(function.inputs, function.types, strict=False))
    lines = [f"def {function.name}({inputs}) {{"]
    lines += [f"  {format_constant(constant)}" for constant in function.constants]
    for node in function.nodes:
        where = " ".join(part for part in (node.scope, node.source) if part)
        lines.append(f"  {format_node(node)}" + (f"  # {where}" if where else ""))
    return "\n".join([*lines, f"  return {', '.join(function.outputs)}", "}"])


def format_constant(constant: Constant) -> str:
    """Write a constant on one line, with its numbers or, if they are many, their hash."""
    stored = constant.model_dump()
    shown = stored.get("values") or f"sha256 {constant.digest()[:12]}"
    return f"{constant.name}: {constant.type} = constant({shown})"


def format_program(program: Program) -> str:
    """Write a program: states, arguments, result, then every function."""
    blocks = [f"program {program.entry}  # {program.interface.kind}, {counted(program.node_count(), 'node')}"]
    states = [
        f"  {state.role:<6} {format_path(state.path)}: {_values(state.tree, old)}"
        + (f" -> {', '.join(value.name for value in new)}" if state.returned else "")
        for (state, old), (_, new) in zip(program.state_inputs(), program.state_outputs(), strict=True)
    ]
    if states:
        blocks.append("\n".join(["states:", *states]))
    return "\n\n".join([*blocks, *(format_function(function) for function in program.functions)]) + "\n"


def _values(tree: Tree, values: Iterable[Value]) -> str:
    return ", ".join(
        f"{value.name} {value.type}{f' {leaf.unit}' if leaf.unit else ''}"
        for (_, leaf), value in zip(leaf_paths(tree), values, strict=True)
    )


def format_html(program: Program) -> str:
    """Write a program as an HTML fragment: a table of its states, and each function folded."""
    rows = "".join(_state_row(state, old) for state, old in program.state_inputs())
    table = f"<table><tr><th>role</th><th>state</th><th>value</th></tr>{rows}</table>" if rows else ""
    functions = "".join(
        f"<details{' open' if function.name == program.entry and len(function.nodes) <= 200 else ''}>"
        f"<summary><code>{html.escape(function.name)}</code> · {counted(len(function.nodes), 'node')}</summary>"
        f"<pre>{html.escape(_beginning(format_function(function)))}</pre></details>"
        for function in program.functions
    )
    title = f"<b>{html.escape(program.entry)}</b>{_summary(program.interface)}"
    return f"<div class='brainir-program'>{title}{table}{functions}</div>"


def _beginning(text: str) -> str:
    """Return as much of a text as a notebook can hold without getting slow."""
    lines = text.splitlines()
    left = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], f"... {left:,} more lines; print shows all"]) if left > 0 else text


def _summary(interface: Interface) -> str:
    names = ", ".join(argument.name for argument in interface.arguments)
    return f" <span>{interface.kind}, arguments: {html.escape(names or 'none')}</span>"


def _state_row(state: State, values: tuple[Value, ...]) -> str:
    cells = (state.role, format_path(state.path), _values(state.tree, values))
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
