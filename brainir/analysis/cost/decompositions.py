"""What matrix decompositions cost: they are calls of LAPACK, which XLA does not count.

Finite algorithms have the counts of Blackford and Dongarra, Installation Guide for LAPACK (LAPACK Working Note 41,
appendix C), for QR and the reductions without terms of lower order. Those that iterate until they converge have the
usual counts of Golub and Van Loan, Matrix Computations, 4th edition, sections 7.5, 8.3 and 8.6, and are marked as
estimates, since the number of iterations depends on the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ...ir.types import TensorType

__all__ = ["FINITE", "ITERATIVE"]

Types: TypeAlias = Sequence[TensorType]


def _cholesky(node: Any, operands: Types) -> float:
    n = operands[0].shape[-1]
    return n * (n + 1) * (2 * n + 1) / 6


def _lu(node: Any, operands: Types) -> float:
    """Count, for each pivot, the divisions below it, and a product and a difference for each element after it."""
    m, n = operands[0].shape[-2:]
    return sum((m - k) * (2 * (n - k) + 1) for k in range(1, min(m, n) + 1))


def _geqrf(node: Any, operands: Types) -> float:
    return _triangularization(*operands[0].shape[-2:])


def _triangularization(m: int, n: int) -> float:
    long, short = max(m, n), min(m, n)
    return 2 * long * short**2 - 2 * short**3 / 3


def _orthogonal(m: int, n: int, k: int) -> float:
    """Return the count for the first `n` columns of a product of `k` reflectors of `m` elements."""
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 * k**3 / 3


def _householder_product(node: Any, operands: Types) -> float:
    m, n = operands[0].shape[-2:]
    return _orthogonal(m, n, operands[1].shape[-1])


def _qr(node: Any, operands: Types) -> float:
    m, n = operands[0].shape[-2:]
    k = min(m, n)
    return _triangularization(m, n) + _orthogonal(m, m if node.full_matrices else k, k)


def _ormqr(node: Any, operands: Types) -> float:
    m, n = operands[2].shape[-2:]
    k = operands[1].shape[-1]
    long, other = (m, n) if node.left else (n, m)
    return 4 * long * other * k - 2 * other * k**2


def _triangular_solve(node: Any, operands: Types) -> float:
    """Count a product and a difference for each element beside the diagonal, and a division for each on it."""
    n = operands[0].shape[-1]
    sides = operands[1].shape[-1 if node.left_side else -2]
    return n * (n - 1 if node.unit_diagonal else n) * sides


def _eig(node: Any, operands: Types) -> float:
    vectors = node.compute_left_eigenvectors or node.compute_right_eigenvectors
    return (25 if vectors else 10) * operands[0].shape[-1] ** 3


def _schur(node: Any, operands: Types) -> float:
    return (25 if node.compute_schur_vectors else 10) * operands[0].shape[-1] ** 3


def _svd(node: Any, operands: Types) -> float:
    m, n = max(operands[0].shape[-2:]), min(operands[0].shape[-2:])
    if not node.compute_uv:
        return 4 * m * n**2 - 4 * n**3 / 3
    return 4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if node.full_matrices else 14 * m * n**2 + 8 * n**3


def _counted(rule: Callable[[Any, Types], float]) -> Callable[[Any, Types], int]:
    """Return a rule that counts all matrices of a batch; a complex product and sum count as four real ones."""

    def count(node: Any, operands: Types) -> int:
        batch = math.prod(operands[0].shape[:-2])
        return round(rule(node, operands)) * batch * (4 if operands[0].dtype.startswith("complex") else 1)

    return count


FINITE: dict[str, Callable[[Any, Types], int]] = {
    "cholesky": _counted(_cholesky),
    "geqp3": _counted(_geqrf),
    "geqrf": _counted(_geqrf),
    "hessenberg": _counted(lambda node, operands: 10 * operands[0].shape[-1] ** 3 / 3),
    "householder_product": _counted(_householder_product),
    "lu": _counted(_lu),
    "ormqr": _counted(_ormqr),
    "qr": _counted(_qr),
    "triangular_solve": _counted(_triangular_solve),
    "tridiagonal": _counted(lambda node, operands: 4 * operands[0].shape[-1] ** 3 / 3),
}
"""Operations that take as many steps for every matrix of a size."""

ITERATIVE: dict[str, Callable[[Any, Types], int]] = {
    "eig": _counted(_eig),
    "eigh": _counted(lambda node, operands: 9 * operands[0].shape[-1] ** 3),
    "schur": _counted(_schur),
    "svd": _counted(_svd),
}
"""Operations that iterate until they converge."""
