"""Attributes of decompositions and solutions of matrices."""

from __future__ import annotations

from typing import Any

from ...ir.ops import Matrices
from .registry import Attributes, UnsupportedError, reads, rule

rule(*Matrices.ops())(reads())
rule("lu_pivots_to_permutation")(reads(permutation_size=int))
rule("ormqr")(reads(left=bool, transpose=bool))
rule("symmetric_product")(reads(alpha=float, beta=float))
rule("triangular_solve")(reads(left_side=bool, lower=bool, transpose_a=bool, conjugate_a=bool, unit_diagonal=bool))
rule("tridiagonal")(reads(lower=bool))


@rule("geqp3")
def _geqp3(*, use_magma: bool | None = None) -> Attributes:
    return {"use_magma": None if use_magma is None else bool(use_magma)}


@rule("eig")
def _eig(
    *,
    compute_left_eigenvectors: bool,
    compute_right_eigenvectors: bool,
    implementation: Any = None,
    enable_eigvec_derivs: bool = False,
) -> Attributes:
    return {
        "compute_left_eigenvectors": bool(compute_left_eigenvectors),
        "compute_right_eigenvectors": bool(compute_right_eigenvectors),
        "enable_eigvec_derivs": bool(enable_eigvec_derivs),
        "implementation": _member(implementation),
    }


@rule("eigh")
def _eigh(*, lower: bool, sort_eigenvalues: bool, subset_by_index: Any, algorithm: Any = None) -> Attributes:
    return {
        "lower": bool(lower),
        "sort_eigenvalues": bool(sort_eigenvalues),
        "subset_by_index": _range(subset_by_index),
        "algorithm": _member(algorithm),
    }


@rule("qr")
def _qr(*, pivoting: bool, full_matrices: bool, use_magma: bool | None = None) -> Attributes:
    return {
        "pivoting": bool(pivoting),
        "full_matrices": bool(full_matrices),
        "use_magma": None if use_magma is None else bool(use_magma),
    }


@rule("schur")
def _schur(*, compute_schur_vectors: bool, sort_eig_vals: bool, select_callable: Any = None) -> Attributes:
    if select_callable is not None:
        raise UnsupportedError("a Python function selects eigenvalues, which JAX has on no platform; leave it out")
    return {"compute_schur_vectors": bool(compute_schur_vectors), "sort_eig_vals": bool(sort_eig_vals)}


@rule("svd")
def _svd(*, full_matrices: bool, compute_uv: bool, subset_by_index: Any, algorithm: Any = None) -> Attributes:
    return {
        "full_matrices": bool(full_matrices),
        "compute_uv": bool(compute_uv),
        "subset_by_index": _range(subset_by_index),
        "algorithm": _member(algorithm),
    }


@rule("tridiagonal_solve")
def _tridiagonal_solve(*, perturb_singular: bool = False) -> Attributes:
    return {"perturb_singular": bool(perturb_singular)}


def _member(value: Any) -> str | None:
    """Return the name of a member of an enumeration."""
    return None if value is None else str(value.name)


def _range(bounds: Any) -> tuple[int, int] | None:
    return None if bounds is None else (int(bounds[0]), int(bounds[1]))
