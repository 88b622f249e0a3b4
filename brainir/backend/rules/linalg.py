"""JAX calls of decompositions and solutions of matrices."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ...ir.ops import Matrices
from ..expressions import Expression, Literal
from .registry import Types, call, first_of, member, rule


@rule("geqrf", "geqp3")
def _own(node: Node, types: Types) -> Expression:
    return call(f"prelude.{node.op}", node, **node.attributes())


@rule("lu_pivots_to_permutation", "ormqr", "qr", "symmetric_product", "tridiagonal")
def _public(node: Node, types: Types) -> Expression:
    return call(f"lax.linalg.{node.op}", node, **node.attributes())


@rule(*(op for op in Matrices.ops() if op != "geqrf"), "triangular_solve")
def _bound(node: Node, types: Types) -> Expression:
    # The public functions symmetrize, cut off a triangle, or drop what says nothing of a real matrix.
    return call(f"lax.linalg.{node.op}_p.bind", node, **node.attributes())


@rule("eig")
def _eig(node: Any, types: Types) -> Expression:
    keywords: dict[str, Any] = {
        "compute_left_eigenvectors": node.compute_left_eigenvectors,
        "compute_right_eigenvectors": node.compute_right_eigenvectors,
    }
    if node.enable_eigvec_derivs:  # not in every JAX
        keywords["enable_eigvec_derivs"] = True
    if node.implementation is not None:
        keywords["implementation"] = member("lax.linalg.EigImplementation", node.implementation)
    return first_of(node, call("lax.linalg.eig", node, **keywords))


@rule("eigh")
def _eigh(node: Any, types: Types) -> Expression:
    keywords: dict[str, Any] = {
        "lower": node.lower,
        "symmetrize_input": False,
        "sort_eigenvalues": node.sort_eigenvalues,
        "subset_by_index": node.subset_by_index,
    }
    if node.algorithm is not None:  # not in every JAX
        keywords["implementation"] = member("lax.linalg.EighImplementation", node.algorithm)
    return call("lax.linalg.eigh", node, **keywords)


@rule("schur")
def _schur(node: Node, types: Types) -> Expression:
    return first_of(node, call("lax.linalg.schur", node, **node.attributes()))


@rule("svd")
def _svd(node: Any, types: Types) -> Expression:
    # The public function puts the results in another order.
    algorithm = Literal(None) if node.algorithm is None else member("lax.linalg.SvdAlgorithm", node.algorithm)
    return first_of(node, call("lax.linalg.svd_p.bind", node, **{**node.attributes(), "algorithm": algorithm}))


@rule("tridiagonal_solve")
def _tridiagonal_solve(node: Any, types: Types) -> Expression:
    keywords = {"perturb_singular": True} if node.perturb_singular else {}  # not in every JAX
    return call("lax.linalg.tridiagonal_solve", node, **keywords)
