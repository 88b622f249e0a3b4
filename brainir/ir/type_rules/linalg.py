"""Type rules of decompositions and solutions of matrices; axes before the last ones are a batch."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from .checks import check_count, check_kind, list_types, same_dtype
from .element_types import COMPLEX_OF, FLOAT, INEXACT, INTEGER, REAL_OF
from .registry import Callees, Shape, TypeRuleError, Types, rule

_COMPLEX_OF = {**COMPLEX_OF, **{name: name for name in REAL_OF}}


def _parts(operands: Types, ranks: tuple[int, ...], kinds: frozenset[str] = INEXACT) -> tuple[str, Shape, list[Shape]]:
    """Return element type, batch shape, and the shapes without batch of operands that have these ranks without it."""
    check_count(operands, len(ranks))
    dtype = same_dtype(operands)
    check_kind(dtype, kinds)
    if any(kind.ndim < rank for kind, rank in zip(operands, ranks, strict=True)):
        raise TypeRuleError(f"operands must have at least {ranks} axes, not {list_types(operands)}")
    batches = [kind.shape[: kind.ndim - rank] for kind, rank in zip(operands, ranks, strict=True)]
    if any(batch != batches[0] for batch in batches):
        raise TypeRuleError(f"operands must have one batch shape, not {list_types(operands)}")
    return dtype, batches[0], [kind.shape[kind.ndim - rank :] for kind, rank in zip(operands, ranks, strict=True)]


def _square(operands: Types) -> tuple[str, Shape, int]:
    dtype, batch, ((rows, columns),) = _parts(operands, (2,))
    if rows != columns:
        raise TypeRuleError(f"it takes square matrices, not {operands[0]}")
    return dtype, batch, rows


def _real(dtype: str) -> str:
    return REAL_OF.get(dtype, dtype)


@rule(ops.Matrices)
def _matrices(node: ops.Matrices, operands: Types, _: Callees) -> Types:
    match node.op:
        case "cholesky":
            _square(operands)
            return operands
        case "hessenberg":
            dtype, batch, size = _square(operands)
            return (operands[0], TensorType(dtype, (*batch, max(size - 1, 0))))
        case "cholesky_update":
            _dtype, _batch, ((rows, columns), (length,)) = _parts(operands, (2, 1), FLOAT)
            if not rows == columns == length:
                raise TypeRuleError(f"it takes a square matrix and a vector of its size, not {list_types(operands)}")
            return (operands[0],)
        case "geqrf":
            dtype, batch, ((rows, columns),) = _parts(operands, (2,))
            return (operands[0], TensorType(dtype, (*batch, min(rows, columns))))
        case "householder_product":
            _dtype, _batch, ((rows, columns), (length,)) = _parts(operands, (2, 1))
            if not length <= columns <= rows:
                raise TypeRuleError(f"reflectors and taus do not fit: {list_types(operands)}")
            return (operands[0],)
    _dtype, batch, ((rows, columns),) = _parts(operands, (2,))
    pivots, permutation = (*batch, min(rows, columns)), (*batch, rows)
    return (operands[0], TensorType("int32", pivots), TensorType("int32", permutation))


@rule(ops.Geqp3)
def _geqp3(node: ops.Geqp3, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    dtype, batch, ((rows, columns),) = _parts(operands[:1], (2,))
    check_kind(operands[1].dtype, INTEGER, "the pivots")
    if operands[1].shape != (*batch, columns):
        raise TypeRuleError(f"it takes a pivot for each column, not {list_types(operands)}")
    return (*operands, TensorType(dtype, (*batch, min(rows, columns))))


@rule(ops.Eig)
def _eig(node: ops.Eig, operands: Types, _: Callees) -> Types:
    dtype, batch, size = _square(operands)
    if dtype not in _COMPLEX_OF:
        raise TypeRuleError(f"there is no complex type for {dtype}")
    vectors = node.compute_left_eigenvectors + node.compute_right_eigenvectors
    values = TensorType(_COMPLEX_OF[dtype], (*batch, size))
    return (values, *(TensorType(_COMPLEX_OF[dtype], (*batch, size, size)),) * vectors)


@rule(ops.Eigh)
def _eigh(node: ops.Eigh, operands: Types, _: Callees) -> Types:
    dtype, batch, size = _square(operands)
    count = _subset(node.subset_by_index, size)
    return (TensorType(dtype, (*batch, size, count)), TensorType(_real(dtype), (*batch, count)))


def _subset(bounds: tuple[int, int] | None, size: int) -> int:
    if bounds is None:
        return size
    low, high = bounds
    if not 0 <= low <= high:
        raise TypeRuleError(f"subset_by_index {bounds} must be two indices in ascending order")
    return min(high - low, size)


@rule(ops.LuPivotsToPermutation)
def _lu_pivots_to_permutation(node: ops.LuPivotsToPermutation, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    if kind.dtype != "int32" or not kind.shape or node.permutation_size < kind.shape[-1]:
        raise TypeRuleError(f"it takes at most permutation_size {node.permutation_size} pivots of int32, not {kind}")
    return (TensorType("int32", (*kind.shape[:-1], node.permutation_size)),)


@rule(ops.Ormqr)
def _ormqr(node: ops.Ormqr, operands: Types, _: Callees) -> Types:
    _dtype, _batch, ((rows, _columns), _taus, shape) = _parts(operands, (2, 1, 2))
    if shape[0 if node.left else 1] != rows:
        raise TypeRuleError(f"reflectors and matrix do not fit: {list_types(operands)}")
    return (operands[2],)


@rule(ops.Qr)
def _qr(node: ops.Qr, operands: Types, _: Callees) -> Types:
    dtype, batch, ((rows, columns),) = _parts(operands, (2,))
    inner = rows if node.full_matrices else min(rows, columns)
    factors = (TensorType(dtype, (*batch, rows, inner)), TensorType(dtype, (*batch, inner, columns)))
    return (*factors, TensorType("int32", (*batch, columns))) if node.pivoting else factors


@rule(ops.Schur)
def _schur(node: ops.Schur, operands: Types, _: Callees) -> Types:
    _square(operands)
    return operands * (2 if node.compute_schur_vectors else 1)


@rule(ops.Svd)
def _svd(node: ops.Svd, operands: Types, _: Callees) -> Types:
    dtype, batch, ((rows, columns),) = _parts(operands, (2,))
    rank = _subset(node.subset_by_index, min(rows, columns))
    values = TensorType(_real(dtype), (*batch, rank))
    if not node.compute_uv:
        return (values,)
    left, right = (rows, columns) if node.full_matrices else (rank, rank)
    return (values, TensorType(dtype, (*batch, rows, left)), TensorType(dtype, (*batch, right, columns)))


@rule(ops.SymmetricProduct)
def _symmetric_product(_node: ops.SymmetricProduct, operands: Types, _: Callees) -> Types:
    _dtype, _batch, ((rows, _columns), square) = _parts(operands, (2, 2), FLOAT)
    if square != (rows, rows):
        raise TypeRuleError(f"the second operand must be a square matrix of the first's rows: {list_types(operands)}")
    return (operands[1],)


@rule(ops.TriangularSolve)
def _triangular_solve(node: ops.TriangularSolve, operands: Types, _: Callees) -> Types:
    _dtype, _batch, ((rows, columns), sides) = _parts(operands, (2, 2))
    if rows != columns or sides[-2 if node.left_side else -1] != rows:
        raise TypeRuleError(f"the matrix and the right-hand sides do not fit: {list_types(operands)}")
    return (operands[1],)


@rule(ops.Tridiagonal)
def _tridiagonal(_node: ops.Tridiagonal, operands: Types, _: Callees) -> Types:
    dtype, batch, size = _square(operands)
    if not size:
        raise TypeRuleError("it takes matrices that are not empty")
    real, beside = _real(dtype), (*batch, size - 1)
    return (operands[0], TensorType(real, (*batch, size)), TensorType(real, beside), TensorType(dtype, beside))


@rule(ops.TridiagonalSolve)
def _tridiagonal_solve(_node: ops.TridiagonalSolve, operands: Types, _: Callees) -> Types:
    _dtype, _batch, (lower, diagonal, upper, sides) = _parts(operands, (1, 1, 1, 2))
    if not lower == diagonal == upper == sides[:-1]:
        raise TypeRuleError(f"the diagonals and the right-hand sides do not fit: {list_types(operands)}")
    return (operands[3],)
