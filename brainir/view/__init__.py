"""Pictures of programs: a page to click through, and graphs for Graphviz, Mermaid and Model Explorer. Needs no JAX."""

from .diagrams import to_dot, to_mermaid, to_svg
from .model_explorer import to_model_explorer
from .page import to_html

__all__ = ["to_dot", "to_html", "to_mermaid", "to_model_explorer", "to_svg"]
