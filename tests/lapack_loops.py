"""LAPACK's unblocked algorithms on numbers that count what is done with them, as a reference for costs.

The loops follow dlarfg, dlarf, dgeqr2, dorg2r, dorm2r, dgehd2 and dsytd2 and the matrix-vector products inside them:
sums of products start from zero, and the one that begins a reflector is multiplied like its other elements.
"""

from __future__ import annotations

import math
from typing import ClassVar, TypeAlias

import numpy as np

Matrix: TypeAlias = "list[list[Counted]]"


class Counted:
    """A number that counts products, quotients and roots, and sums and differences."""

    products: ClassVar[int] = 0
    sums: ClassVar[int] = 0

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __mul__(self, other: Counted) -> Counted:
        Counted.products += 1
        return Counted(self.value * other.value)

    def __truediv__(self, other: Counted) -> Counted:
        Counted.products += 1
        return Counted(self.value / other.value)

    def __add__(self, other: Counted) -> Counted:
        Counted.sums += 1
        return Counted(self.value + other.value)

    def __sub__(self, other: Counted) -> Counted:
        Counted.sums += 1
        return Counted(self.value - other.value)

    def __neg__(self) -> Counted:
        return Counted(-self.value)

    def root(self) -> Counted:
        Counted.products += 1
        return Counted(math.sqrt(self.value))


ONE = Counted(1.0)


def reset() -> None:
    Counted.products = Counted.sums = 0


def matrix(m: int, n: int) -> Matrix:
    rows = np.random.default_rng(0).normal(size=(m, n))
    return [[Counted(each) for each in row] for row in rows]


def values(a: Matrix) -> np.ndarray:
    return np.array([[each.value for each in row] for row in a])


def norm(x: list[Counted]) -> Counted:
    total = x[0] * x[0]
    for each in x[1:]:
        total = total + each * each
    return total.root()


def inner(x: list[Counted], y: list[Counted]) -> Counted:
    total = Counted(0.0)
    for one, two in zip(x, y, strict=True):
        total = total + one * two
    return total


def reflector(x: list[Counted]) -> tuple[Counted, Counted, list[Counted]]:
    """Return beta, tau and v with ``(1 - tau v v') x = beta e_1`` (dlarfg)."""
    if len(x) == 1:
        return x[0], Counted(0.0), [ONE]
    beta = norm([x[0], norm(x[1:])])
    beta = -beta if x[0].value > 0 else beta
    tau, scale = (beta - x[0]) / beta, ONE / (x[0] - beta)
    return beta, tau, [ONE, *(each * scale for each in x[1:])]


def apply_left(v: list[Counted], tau: Counted, a: Matrix, row: int, columns: range) -> None:
    for j in columns:
        w = tau * inner(v, [a[row + i][j] for i in range(len(v))])
        for i, each in enumerate(v):
            a[row + i][j] = a[row + i][j] - each * w


def transposed(a: Matrix) -> Matrix:
    return [list(column) for column in zip(*a, strict=True)]


def apply_right(v: list[Counted], tau: Counted, a: Matrix, column: int, rows: range) -> None:
    turned = transposed(a)
    apply_left(v, tau, turned, column, rows)
    a[:] = transposed(turned)


def geqrf(a: Matrix) -> list[tuple[Counted, list[Counted]]]:
    """Turn a matrix into its triangle, and return the reflectors."""
    m, n = len(a), len(a[0])
    found = []
    for k in range(min(m, n)):
        beta, tau, v = reflector([a[i][k] for i in range(k, m)])
        apply_left(v, tau, a, k, range(k + 1, n))
        a[k][k] = beta
        for i in range(k + 1, m):
            a[i][k] = Counted(0.0)
        found.append((tau, v))
    return found


def orgqr(reflectors: list[tuple[Counted, list[Counted]]], m: int, n: int) -> Matrix:
    """Return the first columns of the product of reflectors."""
    q = [[Counted(float(i == j)) for j in range(n)] for i in range(m)]
    for k in reversed(range(len(reflectors))):
        tau, v = reflectors[k]
        apply_left(v, tau, q, k, range(k + 1, n))
        q[k][k] = ONE - tau
        for i in range(1, m - k):
            q[k + i][k] = -tau * v[i]
    return q


def ormqr(reflectors: list[tuple[Counted, list[Counted]]], c: Matrix) -> None:
    for k, (tau, v) in enumerate(reflectors):
        apply_left(v, tau, c, k, range(len(c[0])))


def gehrd(a: Matrix) -> None:
    n = len(a)
    for k in range(n - 2):
        beta, tau, v = reflector([a[i][k] for i in range(k + 1, n)])
        apply_right(v, tau, a, k + 1, range(n))
        apply_left(v, tau, a, k + 1, range(k + 1, n))
        a[k + 1][k] = beta
        for i in range(k + 2, n):
            a[i][k] = Counted(0.0)
