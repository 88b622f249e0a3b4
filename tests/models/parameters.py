"""Sizes of the models, and their initial weights and states."""

import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

N_IN = 3
N_REC = 4
N_OUT = 2
BATCH = 5
SEED = 38
DT = 0.1 * u.ms


class Kaiming:
    """Weight initialiser ``w ~ N(0, 2 / n_in)``; calls draw one after the other from one generator.

    Parameters
    ----------
    seed : int
        Seed of the generator.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, shape: tuple[int, ...]) -> jax.Array:
        """Draw a ``float32`` array; the first axis of `shape` is the input."""
        return jnp.asarray(self._rng.normal(0.0, np.sqrt(2.0 / shape[0]), shape), dtype=jnp.float32)

    def linear(self, n_in: int, n_out: int, unit: u.Unit | None = None) -> brainstate.nn.Linear:
        """Make a dense layer with zero bias; weight and bias are quantities if `unit` is given."""
        weight = self((n_in, n_out))
        if unit is None:
            return brainstate.nn.Linear(n_in, n_out, w_init=weight)
        bias = braintools.init.ZeroInit(unit=unit)
        return brainstate.nn.Linear(n_in, n_out, w_init=weight * unit, b_init=bias)

    def recurrent(self, n_in: int, n_rec: int, unit: u.Unit) -> brainstate.nn.Linear:
        """Make a dense layer whose input and recurrent blocks are each scaled to their own size."""
        weight = jnp.concatenate([self((n_in, n_rec)), self((n_rec, n_rec))]) * unit
        bias = braintools.init.ZeroInit(unit=unit)
        return brainstate.nn.Linear(n_in + n_rec, n_rec, w_init=weight, b_init=bias)


def zeros(n: int, batch_size: int | None = None) -> jax.Array:
    """Return a zero initial value, ``(n,)`` or ``(batch_size, n)``."""
    return jnp.zeros((n,) if batch_size is None else (batch_size, n), dtype=jnp.float32)
