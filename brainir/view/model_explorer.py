"""Programs for Google's Model Explorer: its JSON graph collection."""

from __future__ import annotations

import json
from typing import Any

from ..ir.printer import format_attribute
from ..ir.program import Function, Program, require_program
from .graph import COLOURS, Box, boxes, edges

__all__ = ["to_model_explorer"]

_COLOURED = ("hidden", "param", "argument", "output")


def to_model_explorer(program: Program) -> str:
    """Write every function as a graph of a Model Explorer collection.

    Name scopes become namespaces; types, attributes and the model's line become attributes of nodes. A node that runs
    other functions refers to their graphs.

    Parameters
    ----------
    program : Program

    Returns
    -------
    str
        JSON.
    """
    require_program(program)
    graphs = [_graph(program, function) for function in program.functions]
    return json.dumps({"label": program.entry, "graphs": graphs}, ensure_ascii=False)


def _graph(program: Program, function: Function) -> dict[str, Any]:
    incoming: dict[str, list[dict[str, str]]] = {}
    for edge in edges(function):
        incoming.setdefault(edge.target, []).append(
            {"sourceNodeId": edge.source, "sourceNodeOutputId": edge.value, "targetNodeInputId": edge.value}
        )
    nodes = [_node(box, function, incoming.get(box.key, [])) for box in boxes(program, function)]
    return {"id": function.name, "nodes": nodes}


def _node(box: Box, function: Function, incoming: list[dict[str, str]]) -> dict[str, Any]:
    node: dict[str, Any] = {"id": box.key, "label": box.title, "namespace": "/".join(box.groups)}
    if incoming:
        node["incomingEdges"] = incoming
    attributes = [{"key": "kind", "value": box.kind}, {"key": "type", "value": box.detail}]
    outputs = [box.key] if box.node is None else list(box.node.outputs)
    if box.node is not None:
        attributes += [
            {"key": name, "value": format_attribute(value)}
            for name, value in box.node.attributes().items()
            if value is not None
        ]
        if box.node.source:
            attributes.append({"key": "source", "value": box.node.source})
        if callees := list(dict.fromkeys(box.node.callees())):
            node["subgraphIds"] = callees
    node["attrs"] = attributes
    if box.kind != "output":
        node["outputsMetadata"] = [
            {"id": name, "attrs": [{"key": "tensor_shape", "value": function.value_types[name]}]} for name in outputs
        ]
    if box.kind in _COLOURED:
        node["style"] = {"backgroundColor": COLOURS[box.kind]}
    return node
