"""What a notebook shows of programs, analyses and differences: well-formed HTML in which the text stays text."""

from html.parser import HTMLParser
from typing import Any

import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.program import Program


class Reader(HTMLParser):
    """Collects text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("br", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def lowered(leak: float = 0.9) -> Program:
    def leaky(params: Any, hidden: Any, x: Any) -> Any:
        h = leak * hidden["<b>h"] + params["w & u"] @ x
        return {"<b>h": h}, jnp.tanh(h)

    return brainir.lower_step(leaky, {"w & u": jnp.ones((4, 3))}, {"<b>h": jnp.zeros(4)}, jnp.ones(3))


def shown(name: str) -> Any:
    program = lowered()
    match name:
        case "program":
            return program
        case "diff":
            return brainir.diff(lowered(0.5), program)
        case "group":
            return brainir.find_hidden_groups(program)[0]
        case "relation":
            return brainir.find_hidden_param_op_relations(program)[0]
        case "why":
            return brainir.why(program, "w & u")
        case "learner":
            return brainir.compile_learner(program, loss=lambda out, target: jnp.sum(out)).report()
    return getattr(brainir, name)(program)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("program", "w & u"),
        ("diff", "0.5"),
        ("group", "<b>h"),
        ("relation", "w & u"),
        ("why", "w & u"),
        ("learner", "w & u"),
        ("cost", "flops"),
        ("check_units", "no conflict"),
        ("module_info", "<b>h"),
        ("position_dependence", "<b>h"),
        ("add_hidden_perturbation", "<b>h"),
    ],
)
def test_notebooks_show_it_as_html(name: str, text: str) -> None:
    html = shown(name)._repr_html_()
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert text in reader.text
    assert "<b>h" not in html
