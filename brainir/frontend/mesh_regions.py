"""Equations traced under another mesh than what is around them, such as those of ``jax.sharding.auto_axes``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax.extend.core import Primitive

from .jax_compat import Equation, Literal, OpenJaxpr, mesh_around, without_scopes
from .rules import Attributes
from .rules.shardings import is_explicit, mesh_shape

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["RULES", "equations_here"]

_USE_MESH = Primitive("use_mesh")


def _use_mesh(lowering: Lowering, equation: Equation) -> Attributes:
    jaxpr, mesh = equation.params["jaxpr"], equation.params["mesh"]
    return {"function": lowering.region(jaxpr, mesh), "mesh": mesh_shape(mesh)}


RULES = {_USE_MESH.name: ("use_mesh", _use_mesh)}
"""Operation and rule of what stands for equations under another mesh, by its name; it is no primitive of JAX."""


def equations_here(jaxpr: OpenJaxpr) -> Sequence[Equation]:
    """Return the equations of a jaxpr, with one ``use_mesh`` for each run of them that was traced under another mesh.

    Which mesh that is matters where axes are explicit: JAX refuses operands that lie on another one than that around.
    """
    here = jax.sharding.get_abstract_mesh()
    if not any(_differs(mesh_around(equation), here) for equation in jaxpr.equations):
        return jaxpr.equations
    runs = [(mesh, [*equations]) for mesh, equations in itertools.groupby(jaxpr.equations, mesh_around)]
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    found: list[list[Equation]] = []
    for mesh, equations in reversed(runs):
        found.append([_region(jaxpr, mesh, equations, needed)] if _differs(mesh, here) else equations)
        needed.update(atom for equation in equations for atom in equation.invars if not isinstance(atom, Literal))
    return [equation for equations in reversed(found) for equation in equations]


def _differs(mesh: Any, here: Any) -> bool:
    return mesh is not here and mesh != here and (is_explicit(mesh) or is_explicit(here))


def _region(jaxpr: OpenJaxpr, mesh: Any, equations: Sequence[Equation], needed: set[Any]) -> Equation:
    """Return an equation that runs some equations of a jaxpr under a mesh, and gives what is needed after them."""
    made = {var: None for equation in equations for var in equation.outvars}
    read = {atom: None for equation in equations for atom in equation.invars if not isinstance(atom, Literal)}
    inputs, outputs = [var for var in read if var not in made], [var for var in made if var in needed]
    inner = jaxpr._replace(invars=inputs, outvars=outputs, constvars=(), consts=(), equations=equations)
    # The scopes of the equations are in the function.
    region = without_scopes(equations[0])
    return region.replace(primitive=_USE_MESH, invars=inputs, outvars=outputs, params={"jaxpr": inner, "mesh": mesh})
