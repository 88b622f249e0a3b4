"""What matrix decompositions cost: they are calls of LAPACK, which XLA does not count.

Finite algorithms count the products and sums of Blackford and Dongarra, Installation Guide for LAPACK (LAPACK Working
Note 41), appendix C, which are those of LAPACK's own loops; a division or a root counts as a product. `lu` divides
where LAPACK multiplies by a reciprocal. Tridiagonal systems are not in that note: they count as in Golub and Van Loan,
Matrix Computations, 4th edition, section 4.3.

What iterates until it has converged has the usual counts of the same book, sections 7.5 (Schur form), 8.3 (symmetric
matrices) and 8.6 (singular values, by the cheaper of its two ways). They are estimates: how many iterations there are
depends on the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...ir.types import TensorType

__all__ = ["FINITE", "ITERATIVE"]

Types: TypeAlias = Sequence[TensorType]


class _Count(NamedTuple):
    """Products and sums."""

    products: float
    sums: float

    def and_then(self, other: _Count) -> _Count:
        return _Count(self.products + other.products, self.sums + other.sums)


def _cholesky(node: Any, operands: Types) -> _Count:
    n = operands[0].shape[-1]
    return _Count(n**3 / 6 + n**2 / 2 + n / 3, n**3 / 6 - n / 6)


def _lu(node: Any, operands: Types) -> _Count:
    """Count, for each pivot, the divisions below it, and a product and a difference for each element after it."""
    m, n = operands[0].shape[-2:]
    below = sum(m - k for k in range(1, min(m, n) + 1))
    after = sum((m - k) * (n - k) for k in range(1, min(m, n) + 1))
    return _Count(below + after, after)


def _geqrf(node: Any, operands: Types) -> _Count:
    return _triangularization(*operands[0].shape[-2:])


def _triangularization(m: int, n: int) -> _Count:
    if m >= n:
        both = m * n**2 - n**3 / 3 + n**2 / 2
        return _Count(both + m * n + 23 * n / 6, both + 5 * n / 6)
    both = n * m**2 - m**3 / 3 - m**2 / 2 + n * m
    return _Count(both + n * m + 23 * m / 6, both + 5 * m / 6)


def _orthogonal(m: int, n: int, k: int) -> _Count:
    """Return the count for the first `n` columns of a product of `k` reflectors of `m` elements."""
    both = 2 * m * n * k - (m + n) * k**2 + 2 * k**3 / 3
    return _Count(both + 2 * n * k - k**2 - 5 * k / 3, both + n * k - m * k + k / 3)


def _householder_product(node: Any, operands: Types) -> _Count:
    m, n = operands[0].shape[-2:]
    return _orthogonal(m, n, operands[1].shape[-1])


def _qr(node: Any, operands: Types) -> _Count:
    m, n = operands[0].shape[-2:]
    k = min(m, n)
    return _triangularization(m, n).and_then(_orthogonal(m, m if node.full_matrices else k, k))


def _ormqr(node: Any, operands: Types) -> _Count:
    """Count reflectors applied to columns, or, from the right, to rows."""
    long, others = operands[2].shape[-2:] if node.left else operands[2].shape[-2:][::-1]
    k = operands[1].shape[-1]
    both = 2 * long * others * k - others * k**2 + others * k
    return _Count(both + others * k, both)


def _triangular_solve(node: Any, operands: Types) -> _Count:
    """Count a product and a difference for each element beside the diagonal, and a division for each on it."""
    n = operands[0].shape[-1]
    sides = operands[1].shape[-1 if node.left_side else -2]
    beside = sides * n * (n - 1) / 2
    return _Count(beside if node.unit_diagonal else beside + sides * n, beside)


def _hessenberg(node: Any, operands: Types) -> _Count:
    n = operands[0].shape[-1]
    return _Count(5 * n**3 / 3 + n**2 / 2 - 7 * n / 6 - 13, 5 * n**3 / 3 - n**2 - 2 * n / 3 - 8)


def _tridiagonal(node: Any, operands: Types) -> _Count:
    n = operands[0].shape[-1]
    return _Count(2 * n**3 / 3 + 5 * n**2 / 2 - n / 6 - 15, 2 * n**3 / 3 + n**2 - 8 * n / 3 - 4)


def _tridiagonal_solve(node: Any, operands: Types) -> _Count:
    """Count elimination down the diagonals and substitution up, without exchanges of rows."""
    n, sides = operands[3].shape[-2:]
    return _Count((n - 1) * (2 + 3 * sides) + sides, (n - 1) * (1 + 2 * sides))


def _halves(operations: float) -> _Count:
    return _Count(operations / 2, operations / 2)


def _eig(node: Any, operands: Types) -> _Count:
    vectors = node.compute_left_eigenvectors or node.compute_right_eigenvectors
    return _halves((25 if vectors else 10) * operands[0].shape[-1] ** 3)


def _eigh(node: Any, operands: Types) -> _Count:
    return _halves(9 * operands[0].shape[-1] ** 3)


def _schur(node: Any, operands: Types) -> _Count:
    return _halves((25 if node.compute_schur_vectors else 10) * operands[0].shape[-1] ** 3)


def _svd(node: Any, operands: Types) -> _Count:
    """Count by the way of Golub and Reinsch, or by a QR decomposition first, which pays for long matrices."""
    m, n = max(operands[0].shape[-2:]), min(operands[0].shape[-2:])
    if not node.compute_uv:
        return _halves(min(4 * m * n**2 - 4 * n**3 / 3, 2 * m * n**2 + 2 * n**3))
    if node.full_matrices:
        return _halves(4 * m**2 * n + min(8 * m * n**2 + 9 * n**3, 22 * n**3))
    return _halves(min(14 * m * n**2 + 8 * n**3, 6 * m * n**2 + 20 * n**3))


def _counted(rule: Callable[[Any, Types], _Count]) -> Callable[[Any, Types], int]:
    """Return a rule that counts all matrices of a batch; a complex product counts six real operations, a sum two."""

    def count(node: Any, operands: Types) -> int:
        products, sums = (max(each, 0) for each in rule(node, operands))
        each = 6 * products + 2 * sums if operands[0].is_complex else products + sums
        return round(each) * math.prod(operands[0].shape[:-2])

    return count


FINITE: dict[str, Callable[[Any, Types], int]] = {
    "cholesky": _counted(_cholesky),
    "geqp3": _counted(_geqrf),
    "geqrf": _counted(_geqrf),
    "hessenberg": _counted(_hessenberg),
    "householder_product": _counted(_householder_product),
    "lu": _counted(_lu),
    "ormqr": _counted(_ormqr),
    "qr": _counted(_qr),
    "triangular_solve": _counted(_triangular_solve),
    "tridiagonal": _counted(_tridiagonal),
    "tridiagonal_solve": _counted(_tridiagonal_solve),
}
"""Operations that take as many steps for every matrix of a size."""

ITERATIVE: dict[str, Callable[[Any, Types], int]] = {
    "eig": _counted(_eig),
    "eigh": _counted(_eigh),
    "schur": _counted(_schur),
    "svd": _counted(_svd),
}
"""Operations that iterate until they converge."""
