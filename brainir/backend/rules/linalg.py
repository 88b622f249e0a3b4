"""JAX calls of decompositions and solutions of matrices."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ...ir.ops import Matrices
from ..expressions import Expression, Literal
from .registry import Types, call, first_of, member, rule


@rule("geqrf")
def _geqrf(node: Node, types: Types) -> Expression:
    return call("prelude.geqrf", node)


@rule("geqp3")
def _geqp3(node: Any, types: Types) -> Expression:
    return call("prelude.geqp3", node, use_magma=node.use_magma)


@rule(*(op for op in Matrices.ops() if op != "geqrf"))
def _matrices(node: Node, types: Types) -> Expression:
    # The public functions symmetrize and cut off a triangle, or do the same.
    return call(f"lax.linalg.{node.op}_p.bind", node)


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


@rule("lu_pivots_to_permutation")
def _lu_pivots_to_permutation(node: Any, types: Types) -> Expression:
    return call("lax.linalg.lu_pivots_to_permutation", node, permutation_size=node.permutation_size)


@rule("ormqr")
def _ormqr(node: Any, types: Types) -> Expression:
    return call("lax.linalg.ormqr", node, left=node.left, transpose=node.transpose)


@rule("qr")
def _qr(node: Any, types: Types) -> Expression:
    return call(
        "lax.linalg.qr", node, pivoting=node.pivoting, full_matrices=node.full_matrices, use_magma=node.use_magma
    )


@rule("schur")
def _schur(node: Any, types: Types) -> Expression:
    keywords = {"compute_schur_vectors": node.compute_schur_vectors, "sort_eig_vals": node.sort_eig_vals}
    return first_of(node, call("lax.linalg.schur", node, **keywords))


@rule("svd")
def _svd(node: Any, types: Types) -> Expression:
    # The public function puts the results in another order.
    algorithm = Literal(None) if node.algorithm is None else member("lax.linalg.SvdAlgorithm", node.algorithm)
    results = call(
        "lax.linalg.svd_p.bind",
        node,
        full_matrices=node.full_matrices,
        compute_uv=node.compute_uv,
        subset_by_index=node.subset_by_index,
        algorithm=algorithm,
    )
    return first_of(node, results)


@rule("symmetric_product")
def _symmetric_product(node: Any, types: Types) -> Expression:
    return call("lax.linalg.symmetric_product", node, alpha=node.alpha, beta=node.beta)


@rule("triangular_solve")
def _triangular_solve(node: Any, types: Types) -> Expression:
    names = ("left_side", "lower", "transpose_a", "conjugate_a", "unit_diagonal")
    # The public function drops conjugate_a of a real matrix.
    return call("lax.linalg.triangular_solve_p.bind", node, **{name: getattr(node, name) for name in names})


@rule("tridiagonal")
def _tridiagonal(node: Any, types: Types) -> Expression:
    return call("lax.linalg.tridiagonal", node, lower=node.lower)


@rule("tridiagonal_solve")
def _tridiagonal_solve(node: Any, types: Types) -> Expression:
    keywords = {"perturb_singular": True} if node.perturb_singular else {}  # not in every JAX
    return call("lax.linalg.tridiagonal_solve", node, **keywords)
