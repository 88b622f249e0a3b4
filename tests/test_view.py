"""Pictures as text: what they hold, and that the tools that read them would."""

import html
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir import view
from brainir.view.payload import page_data


def _program(leak: float = 0.9, *, squashed: bool = False) -> brainir.Program:
    def leaky(params: dict[str, jax.Array], hidden: dict[str, jax.Array], x: jax.Array) -> tuple[object, jax.Array]:
        with jax.named_scope("cell"), jax.named_scope("dense"):
            y = params["w"] @ x
        h = leak * hidden["h"] + (jnp.tanh(y) if squashed else y)
        return {"h": h}, jnp.tanh(h)

    return brainir.lower_step(leaky, {"w": jnp.ones((4, 3))}, {"h": jnp.zeros(4)}, jnp.ones(3))


def _chain(length: int) -> brainir.Program:
    def chain(x: jax.Array) -> jax.Array:
        for _ in range(length):
            x = jnp.sin(x)
        return x

    return brainir.lower(chain, jnp.ones(3))


def test_dot_has_a_box_for_each_input_node_and_output_and_a_cluster_for_each_scope() -> None:
    dot = view.to_dot(_program())
    assert dot.count("[label=") == 3 + 4 + 2
    assert dot.count(" -> ") == 6 + 2
    assert 'subgraph "cluster_cell" {' in dot
    assert 'subgraph "cluster_cell/dense" {' in dot


def _stand_in_for_graphviz(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = folder / "dot"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_svg_is_what_graphviz_draws_of_the_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program()
    if shutil.which("dot") is not None:
        svg = view.to_svg(program)
        assert (svg.count('class="node"'), svg.count('class="edge"')) == (9, 8)
    _stand_in_for_graphviz(tmp_path, monkeypatch, 'echo "<svg $*>"; cat; echo "</svg>"')
    assert view.to_svg(program) == f"<svg -Tsvg>\n{view.to_dot(program)}</svg>\n"


def test_what_graphviz_complains_of_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in_for_graphviz(tmp_path, monkeypatch, 'cat > /dev/null; echo "syntax error in line 1" >&2; exit 1')
    with pytest.raises(brainir.BrainIRError, match="Graphviz failed: syntax error in line 1"):
        view.to_svg(_program())


def test_without_graphviz_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(brainir.BrainIRError, match="needs Graphviz"):
        view.to_svg(_program())


def test_a_notebook_shows_the_beginning_of_a_long_function() -> None:
    shown = _chain(1500)._repr_html_()
    assert "1,500 nodes</summary>" in shown
    assert "... 503 more lines; print shows all</pre>" in shown  # of the nodes, def, return and the brace
    assert "more lines" not in _chain(900)._repr_html_()
    assert repr(_chain(1)) == "<brainir.Program chain: 1 function, 1 node>"


def test_mermaid_is_for_small_graphs() -> None:
    text = view.to_mermaid(_program())
    assert text.startswith("flowchart TD\n")
    assert text.count(" --> ") == 8
    with pytest.raises(brainir.BrainIRError, match="202 boxes"):
        view.to_mermaid(_chain(200))


def test_model_explorer_has_a_graph_for_each_function_with_edges_between_its_nodes() -> None:
    program = brainir.lower(lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), jnp.ones(3))
    collection = json.loads(view.to_model_explorer(program))
    assert {graph["id"] for graph in collection["graphs"]} == set(program.table)
    for graph in collection["graphs"]:
        known = {node["id"] for node in graph["nodes"]}
        used = {edge["sourceNodeId"] for node in graph["nodes"] for edge in node.get("incomingEdges", [])}
        assert used <= known
    (cond,) = [node for graph in collection["graphs"] for node in graph["nodes"] if node["label"] == "cond"]
    assert set(cond["subgraphIds"]) == set(program.table) - {program.entry}


def test_text_of_a_program_cannot_leave_the_data_of_the_page() -> None:
    text = brainir.dumps(_program()).replace("(leaky)", "</script><script>alert(1)</script>")
    page = view.to_html(brainir.loads(text))
    assert "alert(1)" in page
    assert page.count("</script>") == 2
    assert view.to_html(_program(), title="<b>&").count("&lt;b&gt;&amp;") == 2


def test_page_holds_every_box_and_edge_and_the_way_of_each_parameter() -> None:
    program = _program()
    data = page_data(program)
    (side,) = data["sides"]
    (function,) = side["functions"]
    assert [box["key"] for box in function["boxes"]] == ["w", "h", "x", "v0", "v1", "h_new", "v2", "=0", "=1"]
    assert len(function["edges"]) == 8
    assert data["mode"] == "scope"
    # v1 is the leak, v2 the output: neither lies between the weight and the new state.
    assert side["whys"]["w"]["values"] == ["h_new", "v0", "w"]
    assert side["whys"]["w"]["outputs"] == ["new h"]
    assert [box["group"] for box in function["boxes"] if "group" in box] == [0, 0, 0]


def test_a_program_that_breaks_the_rules_of_a_step_is_shown_without_answers() -> None:
    program = brainir.lower_step(
        lambda params, hidden: (hidden, params["w"] * 0.9), {"w": jnp.ones(3)}, {"h": jnp.zeros(3)}
    )
    entry, states = program.entry_function, program.interface.states
    written = program.with_entry(
        entry.replace(outputs=(entry.outputs[-1], *entry.outputs)),
        program.interface.replace(states=tuple(state.replace(returned=True) for state in states)),
    )
    brainir.verify(written)
    (side,) = page_data(written)["sides"]
    assert side["whys"]["w"]["text"] == ""
    assert len(side["states"]) == 2


def test_page_of_two_programs_marks_what_differs_on_each_side() -> None:
    old, new = _program(), _program(0.8, squashed=True)
    data = page_data(new, old)
    marks = [
        {box["results"][0]: box["mark"] for box in side["functions"][0]["boxes"] if box["mark"]}
        for side in data["sides"]
    ]
    (tanh,) = [node.outputs[0] for node in new.entry_function.nodes if node.op == "tanh" and node.outputs[0] != "v3"]
    assert marks[1][tanh] == "added"
    assert marks[0]["v1"] == marks[1]["v1"] == "changed"
    assert [side["label"] for side in data["sides"]] == ["old", "new"]
    assert page_data(old, old)["changes"] == []


def test_facts_show_themselves_in_a_notebook() -> None:
    (group,) = brainir.find_hidden_groups(_program())
    assert group._repr_html_() == f"<pre>{html.escape(str(group))}</pre>"
    assert "&gt;" in group._repr_html_()


def test_functions_and_nodes_print_as_in_their_program() -> None:
    program = brainir.lower(lambda x: jax.jit(jnp.tanh)(x) * 2.0, jnp.ones(3))
    whole = str(program)
    for function in program.functions:
        assert str(function) in whole
        assert str(function).startswith(f"def {function.name}(")
        for node in function.nodes:
            assert f"  {node}" in str(function)
