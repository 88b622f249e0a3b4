"""Rate networks: gated, linear and minimal recurrent cells."""

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .parameters import N_IN, N_OUT, N_REC, SEED, Kaiming, zeros


class RateCell(brainstate.nn.Module):
    """A cell with one hidden state ``h``, whose subclasses add the weights and the step.

    Parameters
    ----------
    n_in, n_rec : int
        Numbers of inputs and of units.
    """

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__()
        self.n_in = n_in
        self.n_rec = n_rec

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the hidden state to zero."""
        self.h = brainstate.HiddenState(zeros(self.n_rec, batch_size))


class GatedGRU(RateCell):
    """GRU with one weight per gate: update ``z``, reset ``r``, candidate ``h``."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.w_z = kaiming.linear(n_in + n_rec, n_rec)
        self.w_r = kaiming.linear(n_in + n_rec, n_rec)
        self.w_h = kaiming.linear(n_in + n_rec, n_rec)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step; the reset gate reaches the state only through the candidate's weight."""
        h = self.h.value
        xh = jnp.concatenate([x, h], axis=-1)
        z = jax.nn.sigmoid(self.w_z(xh))
        r = jax.nn.sigmoid(self.w_r(xh))
        candidate = jnp.tanh(self.w_h(jnp.concatenate([x, r * h], axis=-1)))
        new_h: jax.Array = (1 - z) * h + z * candidate
        self.h.value = new_h
        return new_h


class GatedLSTM(RateCell):
    """LSTM with one weight per gate: input ``i``, forget ``f``, output ``o``, candidate ``g``."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.w_i = kaiming.linear(n_in + n_rec, n_rec)
        self.w_f = kaiming.linear(n_in + n_rec, n_rec)
        self.w_o = kaiming.linear(n_in + n_rec, n_rec)
        self.w_g = kaiming.linear(n_in + n_rec, n_rec)

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the hidden and the cell state to zero."""
        super().init_state(batch_size, **kwargs)
        self.c = brainstate.HiddenState(zeros(self.n_rec, batch_size))

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new hidden state."""
        xh = jnp.concatenate([x, self.h.value], axis=-1)
        i, f, o = (jax.nn.sigmoid(gate(xh)) for gate in (self.w_i, self.w_f, self.w_o))
        c: jax.Array = f * self.c.value + i * jnp.tanh(self.w_g(xh))
        self.c.value = c
        h: jax.Array = o * jnp.tanh(c)
        self.h.value = h
        return h


class MinimalRNN(RateCell):
    """Minimal RNN (Chen 2017, arXiv:1711.06788): one gate between the old state and the encoded input."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.encode = kaiming.linear(n_in, n_rec)
        self.w_u = kaiming.linear(2 * n_rec, n_rec)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new hidden state."""
        z = jnp.tanh(self.encode(x))
        keep = jax.nn.sigmoid(self.w_u(jnp.concatenate([z, self.h.value], axis=-1)))
        h: jax.Array = keep * self.h.value + (1 - keep) * z
        self.h.value = h
        return h


class MiniGRU(RateCell):
    """GRU without reset gate, whose candidate sees the input only."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.w_x = kaiming.linear(n_in, n_rec)
        self.w_z = kaiming.linear(n_in + n_rec, n_rec)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new hidden state."""
        z = jax.nn.sigmoid(self.w_z(jnp.concatenate([x, self.h.value], axis=-1)))
        h: jax.Array = (1 - z) * self.h.value + z * self.w_x(x)
        self.h.value = h
        return h


class MiniLSTM(RateCell):
    """LSTM with input and forget gate, one state, and a candidate that sees the input only."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.w_x = kaiming.linear(n_in, n_rec)
        self.w_f = kaiming.linear(n_in + n_rec, n_rec)
        self.w_i = kaiming.linear(n_in + n_rec, n_rec)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new hidden state."""
        xh = jnp.concatenate([x, self.h.value], axis=-1)
        f, i = jax.nn.sigmoid(self.w_f(xh)), jax.nn.sigmoid(self.w_i(xh))
        h: jax.Array = f * self.h.value + i * self.w_x(x)
        self.h.value = h
        return h


class TwoTimescales(brainstate.nn.Module):
    """A fast and a slow value per unit, in one grouped state ``st`` of shape ``(n_rec, 2)``.

    Parameters
    ----------
    n_in, n_rec : int
        Numbers of inputs and of units.
    """

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__()
        self.n_rec = n_rec
        self.weight = Kaiming().linear(n_in + n_rec, n_rec)

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the grouped state to zero."""
        start = zeros(self.n_rec, batch_size)
        self.st = brainstate.HiddenGroupState(jnp.stack([start, start], axis=-1))

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new fast values."""
        st: Any = self.st.value
        fast, slow = st[..., 0], st[..., 1]
        drive = jnp.tanh(self.weight(jnp.concatenate([x, fast], axis=-1)))
        new_fast: jax.Array = 0.8 * fast - 0.1 * slow + drive
        self.st.value = jnp.stack([new_fast, 0.95 * slow + 0.05 * new_fast], axis=-1)
        return new_fast


class LRU(brainstate.nn.Module):
    """Linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349) in real arithmetic.

    The state ``h = re + i im`` follows ``h' = lambda h + gamma (B x)`` with
    ``lambda = exp(-exp(nu) + i exp(theta))``; a step returns ``Re(C h') + D x``.

    Parameters
    ----------
    n_in, n_rec : int
        Numbers of inputs, which are also the outputs, and of complex units.
    """

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__()
        rng = np.random.default_rng(SEED)
        kaiming = Kaiming()
        radius, phase = rng.uniform(0.5, 0.95, n_rec), rng.uniform(0.1, 3.0, n_rec)
        self.n_rec = n_rec
        self.nu = brainstate.ParamState(jnp.asarray(np.log(-np.log(radius)), dtype=jnp.float32))
        self.theta = brainstate.ParamState(jnp.asarray(np.log(phase), dtype=jnp.float32))
        self.gamma = brainstate.ParamState(jnp.asarray(0.5 * np.log(1 - radius**2), dtype=jnp.float32))
        self.b_re = brainstate.ParamState(kaiming((n_in, n_rec)))
        self.b_im = brainstate.ParamState(kaiming((n_in, n_rec)))
        self.c_re = brainstate.ParamState(kaiming((n_rec, n_in)))
        self.c_im = brainstate.ParamState(kaiming((n_rec, n_in)))
        self.d = brainstate.ParamState(kaiming((n_in,)))

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set both parts of the state to zero."""
        self.re = brainstate.HiddenState(zeros(self.n_rec, batch_size))
        self.im = brainstate.HiddenState(zeros(self.n_rec, batch_size))

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return ``(n_in,)``."""
        modulus = jnp.exp(-jnp.exp(self.nu.value))
        phase = jnp.exp(self.theta.value)
        cos, sin = modulus * jnp.cos(phase), modulus * jnp.sin(phase)
        gamma = jnp.exp(self.gamma.value)
        re, im = self.re.value, self.im.value
        self.re.value = new_re = cos * re - sin * im + gamma * (x @ self.b_re.value)
        self.im.value = new_im = sin * re + cos * im + gamma * (x @ self.b_im.value)
        out: jax.Array = new_re @ self.c_re.value - new_im @ self.c_im.value + self.d.value * x
        return out


class TwoLayerGRU(brainstate.nn.Module):
    """Two GRU layers of brainstate and a linear readout."""

    def __init__(self) -> None:
        super().__init__()
        kaiming = Kaiming()
        self.first = brainstate.nn.GRUCell(N_IN, N_REC, w_init=kaiming)
        self.second = brainstate.nn.GRUCell(N_REC, N_REC, w_init=kaiming)
        self.readout = kaiming.linear(N_REC, N_OUT)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the readout ``(N_OUT,)``."""
        out: jax.Array = self.readout(self.second(self.first(x)))
        return out


class DropoutRNN(brainstate.nn.Module):
    """A vanilla RNN whose input passes a dropout that draws from brainstate's global generator.

    That generator is a state which is not reachable from the module. Drawing checks the probability with a
    host callback inside a cond.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropout = brainstate.nn.Dropout(0.7)
        self.cell = brainstate.nn.ValinaRNNCell(N_IN, N_REC, w_init=Kaiming(), activation="tanh")

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step of training and return the new hidden state."""
        with brainstate.environ.context(fit=True):
            h: jax.Array = self.cell(self.dropout(x))
        return h


class NestedInputs(RateCell):
    """A leaky RNN whose step takes a dictionary and a tuple, and returns a tuple with a dictionary in it."""

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        kaiming = Kaiming()
        self.left = kaiming.linear(n_in, n_rec)
        self.right = kaiming.linear(n_in, n_rec)
        self.mix = kaiming.linear(n_rec, n_rec)

    def update(self, x: dict[str, Any], gates: tuple[jax.Array, Any]) -> tuple[jax.Array, dict[str, Any]]:
        """Take one step.

        Parameters
        ----------
        x : dict
            ``left`` and ``right``, each ``(n_in,)``.
        gates : tuple
            The leak, a scalar, and a pair of gains, one for each side.
        """
        leak, (gain_left, gain_right) = gates
        drive = gain_left * self.left(x["left"]) + gain_right * self.right(x["right"])
        h: jax.Array = leak * self.h.value + jnp.tanh(drive + self.mix(self.h.value))
        self.h.value = h
        return h, {"drive": drive, "norm": jnp.sqrt(jnp.sum(h**2)), "none": None}


class CountingRNN(RateCell):
    """A leaky RNN with states that are neither hidden nor parameters.

    ``steps`` is an integer counter, ``total`` a running sum that outlives a sequence, ``record`` holds the
    last input and is never read, ``gain`` is a dictionary that is read and never written.
    """

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__(n_in, n_rec)
        self.weight = Kaiming().linear(n_in, n_rec)
        self.total = brainstate.LongTermState(jnp.float32(0.0))
        self.gain = brainstate.LongTermState({"leak": jnp.float32(0.9), "scale": jnp.float32(1.5)})

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the hidden state, the counter and the record to zero."""
        super().init_state(batch_size, **kwargs)
        self.steps = brainstate.ShortTermState(jnp.int32(0))
        self.record = brainstate.ShortTermState(zeros(self.n_in, batch_size))

    def update(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Take one step; the drive fades with the number of steps taken."""
        gain: Any = self.gain.value
        steps: Any = self.steps.value
        fade = 1.0 / (1.0 + steps.astype(jnp.float32))
        self.h.value = gain["leak"] * self.h.value + jnp.tanh(gain["scale"] * fade * self.weight(x))
        self.total.value = self.total.value + jnp.sum(self.h.value)
        self.record.value = x
        self.steps.value = steps + 1
        return self.h.value, self.steps.value
