"""Schemas of decompositions and solutions of the matrices in the last two axes, as ``jax.lax.linalg`` has them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import FiniteFloat

from ..node import Node, Traits


class Matrices(Node):
    """Decompositions and products without attributes.

    ``geqrf`` is a QR decomposition as LAPACK gives it: the upper factor, with reflectors below it, and their factors.
    """

    op: Literal["cholesky", "cholesky_update", "geqrf", "hessenberg", "householder_product", "lu"]


class Eig(Node):
    """Eigenvalues of square matrices, and their left and right eigenvectors."""

    op: Literal["eig"] = "eig"
    compute_left_eigenvectors: bool
    compute_right_eigenvectors: bool
    enable_eigvec_derivs: bool = False
    implementation: str | None = None


class Eigh(Node):
    """Eigenvectors and eigenvalues of symmetric or Hermitian matrices, given by one triangle."""

    op: Literal["eigh"] = "eigh"
    lower: bool
    sort_eigenvalues: bool = True
    subset_by_index: tuple[int, int] | None = None
    algorithm: str | None = None


class Geqp3(Node):
    """A QR decomposition as LAPACK gives it, like ``geqrf``, of a matrix with its columns permuted.

    The operands are the matrix and which columns come first; the second result is the permutation, counted from 1.
    """

    op: Literal["geqp3"] = "geqp3"
    use_magma: bool | None = None


class LuPivotsToPermutation(Node):
    """The permutation that the row swaps of an LU decomposition make."""

    op: Literal["lu_pivots_to_permutation"] = "lu_pivots_to_permutation"
    permutation_size: int


class Ormqr(Node):
    """Product of a matrix with the orthogonal factor of a QR decomposition: operands are reflectors, taus, matrix."""

    op: Literal["ormqr"] = "ormqr"
    left: bool
    transpose: bool
    family_traits: ClassVar[Traits] = Traits(linear=(2,))


class Qr(Node):
    """QR decomposition, with the permutation of columns if `pivoting`."""

    op: Literal["qr"] = "qr"
    pivoting: bool
    full_matrices: bool
    use_magma: bool | None = None


class Schur(Node):
    """Schur form of square matrices, and the Schur vectors."""

    op: Literal["schur"] = "schur"
    compute_schur_vectors: bool
    sort_eig_vals: bool = False


class Svd(Node):
    """Singular values, then the left and the adjoint right singular vectors."""

    op: Literal["svd"] = "svd"
    full_matrices: bool
    compute_uv: bool
    subset_by_index: tuple[int, int] | None = None
    algorithm: str | None = None


class SymmetricProduct(Node):
    """``alpha * A @ A.T + beta * C``."""

    op: Literal["symmetric_product"] = "symmetric_product"
    alpha: FiniteFloat
    beta: FiniteFloat


class TriangularSolve(Node):
    """Solution of a triangular system; the first operand is the matrix, the second the right-hand sides."""

    op: Literal["triangular_solve"] = "triangular_solve"
    left_side: bool
    lower: bool
    transpose_a: bool
    conjugate_a: bool
    unit_diagonal: bool
    family_traits: ClassVar[Traits] = Traits(linear=(1,))


class Tridiagonal(Node):
    """Reduction of symmetric or Hermitian matrices to tridiagonal form."""

    op: Literal["tridiagonal"] = "tridiagonal"
    lower: bool


class TridiagonalSolve(Node):
    """Solution of a tridiagonal system; the operands are the three diagonals and the right-hand sides."""

    op: Literal["tridiagonal_solve"] = "tridiagonal_solve"
    perturb_singular: bool = False
    family_traits: ClassVar[Traits] = Traits(linear=(3,))
