"""Programs whose derivative rules are unusual: rules of rules, rules that grow, rules that cannot be traced."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax.experimental import sparse

from tests.case import Case

__all__ = ["DERIVATIVE_PROGRAMS"]

X = jnp.asarray(np.random.default_rng(11).normal(size=4), jnp.float32)
M = jnp.asarray(np.random.default_rng(12).normal(size=(3, 4)), jnp.float32)


@jax.custom_vjp
def _growing(x: Any) -> Any:
    return jnp.sum(jnp.sin(x))


def _growing_bwd(x: Any, ct: Any) -> tuple[Any]:
    # As an adjoint equation does: the rule calls the function on a larger state, so that no two orders are alike.
    return (ct * jnp.cos(x) + 0 * _growing(jnp.concatenate([x, x])),)


_growing.defvjp(lambda x: (_growing(x), x), _growing_bwd)


@jax.custom_vjp
def _weighted(x: Any) -> Any:
    return x * M[0]


# M becomes a constant of the function, and an operand where JAX traces the equation again.
_weighted.defvjp(lambda x: (_weighted(x), x), lambda x, ct: (2 * ct * x,))


def _traced_again(x: Any) -> Any:
    closed = jax.make_jaxpr(_weighted)(x)
    return jax.core.eval_jaxpr(closed.jaxpr, closed.consts, x)


@jax.custom_jvp
def _raised(x: Any, power: Any) -> Any:
    return x**power


@_raised.defjvp
@jax.jit
def _raised_jvp(primals: Any, tangents: Any) -> Any:
    x, power = primals

    # Closes over a value of the trace of this rule, which has ended when the rule inside is traced.
    @jax.custom_jvp
    def slope(x: Any) -> Any:
        return power * x ** (power - 1)

    @slope.defjvp
    def slope_jvp(primals: Any, tangents: Any) -> Any:
        return slope(*primals), power * (power - 1) * primals[0] ** (power - 2) * tangents[0]

    return _raised(x, power), slope(x) * tangents[0]


DERIVATIVE_PROGRAMS: dict[str, Case] = {
    "rules that use other rules": Case(lambda x: jsp.special.entr(jnp.abs(x) + 0.1), (X,)),
    # Backwards, JAX 0.12 transposes ldexp by a rule of that primitive.
    "a result that has no tangent": Case(lambda x: jnp.frexp(x)[0] * jnp.frexp(x)[1], (X,)),
    "a rule that is larger for every order": Case(_growing, (X,), derivatives="reverse"),
    "a rule that is traced again": Case(_traced_again, (X,), derivatives="reverse"),
    "a rule that JAX cannot trace ahead": Case(_raised, (jnp.abs(X) + 0.5, 3.0)),
    "a conversion that changes nothing": Case(jax.jacfwd(jnp.sin), (X,)),
    "sparse matrices": Case(lambda m, x: sparse.BCOO.fromdense(m, nse=12) @ x, (M, X)),
}
"""By what the program shows."""
