"""Recurrent and spiking models that the tests lower, analyse and regenerate.

Every model is small (`N_IN` inputs, `N_REC` units) and its weights come from a numpy generator, so that they
are the same numbers under every JAX version. One step of a model is ``module(*inputs)``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainpy
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


@dataclass(frozen=True)
class ModelCase:
    """A model, the inputs of its steps, and what the analyses should find in it.

    Attributes
    ----------
    name : str
        Key of the case in `MODELS`.
    build : callable
        Seeds brainstate's generator, makes the module and initialises all of its states. Two calls give equal
        states. A model that draws from ``brainstate.random`` must be built again before each run that is to
        be repeated: building resets the global generator, and running moves it on.
    inputs : callable
        ``inputs(t)`` is the tuple of positional arguments of step ``t``; it depends on ``t`` only.
    counts : tuple of int, optional
        Hidden states, hidden groups, parameter-to-state relations and perturbations, where they are known.
    """

    name: str
    build: Callable[[], brainstate.nn.Module]
    inputs: Callable[[int], tuple[Any, ...]]
    counts: tuple[int, int, int, int] | None = None


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


class ALIFSTPExpCuDense(brainstate.nn.Module):
    """The guide's network: adaptive neurons, facilitating synapses, exponential currents, one dense layer.

    Parameters
    ----------
    n_in, n_rec : int
        Numbers of inputs and of neurons.
    """

    def __init__(self, n_in: int, n_rec: int) -> None:
        super().__init__()
        self.neu = brainpy.state.ALIF(
            n_rec,
            tau=5.0 * u.ms,
            V_th=1.0 * u.mV,
            tau_a=100.0 * u.ms,
            beta=0.1 * u.mV,
            spk_fun=braintools.surrogate.ReluGrad(),
            spk_reset="soft",
        )
        self.stp = brainpy.state.STP(n_rec, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms)
        self.syn = brainpy.state.AlignPostProj(
            comm=Kaiming().recurrent(n_in, n_rec, u.mS),
            syn=brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new spikes ``(n_rec,)``."""
        last_spike = self.neu.get_spike()
        self.syn(jnp.concatenate([x, self.stp(last_spike)], axis=-1))
        self.neu()
        spikes: jax.Array = self.neu.get_spike()
        return spikes


class DeltaDense(brainstate.nn.Module):
    """Neurons that jump by the weighted input and recurrent spikes.

    Parameters
    ----------
    neu : brainpy.state.Neuron
        The neurons, with one feature axis.
    n_in : int
        Number of inputs.
    unit : brainunit.Unit
        Unit of the weights, that of the neuron's potential.
    """

    def __init__(self, neu: brainpy.state.Neuron, n_in: int, unit: u.Unit = u.mV) -> None:
        super().__init__()
        self.neu = neu
        self.syn = brainpy.state.DeltaProj(comm=Kaiming().recurrent(n_in, neu.in_size[-1], unit), post=neu)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new spikes."""
        self.syn(jnp.concatenate([x, self.neu.get_spike()], axis=-1))
        self.neu()
        spikes: jax.Array = self.neu.get_spike()
        return spikes


class ExpCuDense(brainstate.nn.Module):
    """Neurons with exponential current synapses on the input and on the recurrent spikes.

    Parameters
    ----------
    neu : brainpy.state.Neuron
        The neurons, with one feature axis.
    n_in : int
        Number of inputs.
    plasticity : brainpy.state.STD or brainpy.state.STP, optional
        Short-term plasticity that the recurrent spikes pass.
    seed : int
        Seed of the weights.
    """

    def __init__(
        self,
        neu: brainpy.state.Neuron,
        n_in: int,
        plasticity: brainpy.state.STD | brainpy.state.STP | None = None,
        seed: int = SEED,
    ) -> None:
        super().__init__()
        n_rec = neu.in_size[-1]
        self.neu = neu
        self.plasticity = plasticity
        self.syn = brainpy.state.AlignPostProj(
            comm=Kaiming(seed).recurrent(n_in, n_rec, u.mS),
            syn=brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new spikes."""
        recurrent = self.neu.get_spike()
        if self.plasticity is not None:
            recurrent = self.plasticity(recurrent)
        self.syn(jnp.concatenate([x, recurrent], axis=-1))
        self.neu()
        spikes: jax.Array = self.neu.get_spike()
        return spikes


class ExpCoDense(brainstate.nn.Module):
    """Neurons with a current synapse on the input and conductance synapses on the recurrent spikes.

    The first half of the neurons excites, the rest inhibits. The weights of the two recurrent projections are
    ``abs(w)``; what a spike does is set by the reversal potential. The synapses can be reached through each
    projection as well as through the neurons, so one state has several paths.

    Parameters
    ----------
    neu : brainpy.state.Neuron
        The neurons, with one feature axis.
    n_in : int
        Number of inputs.
    """

    def __init__(self, neu: brainpy.state.Neuron, n_in: int) -> None:
        super().__init__()
        n_rec = neu.in_size[-1]
        self.n_exc = n_rec // 2
        self.neu = neu
        kaiming = Kaiming()
        n_inh = n_rec - self.n_exc
        expon = brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms)
        self.inp = brainpy.state.AlignPostProj(
            comm=kaiming.linear(n_in, n_rec, u.mS), syn=expon, out=brainpy.state.CUBA.desc(), post=neu
        )
        self.exc = brainpy.state.AlignPostProj(
            comm=brainstate.nn.SignedWLinear(self.n_exc, n_rec, w_init=kaiming((self.n_exc, n_rec)) * u.mS),
            syn=expon,
            out=brainpy.state.COBA.desc(E=1.5 * u.volt),
            post=neu,
        )
        self.inh = brainpy.state.AlignPostProj(
            comm=brainstate.nn.SignedWLinear(n_inh, n_rec, w_init=4.0 * kaiming((n_inh, n_rec)) * u.mS),
            syn=expon,
            out=brainpy.state.COBA.desc(E=-0.5 * u.volt),
            post=neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new spikes."""
        exc, inh = jnp.split(self.neu.get_spike(), [self.n_exc], axis=-1)
        self.inp(x)
        self.exc(exc)
        self.inh(inh)
        self.neu()
        spikes: jax.Array = self.neu.get_spike()
        return spikes


class GroupedALIF(brainpy.state.Neuron):  # type: ignore[misc]  # mypy skips brainpy
    """Adaptive neurons whose potential and adaptation are one grouped state ``st`` of shape ``(n, 2)``.

    Parameters
    ----------
    n : int
        Number of neurons.
    """

    def __init__(self, n: int) -> None:
        super().__init__(n, spk_fun=braintools.surrogate.ReluGrad(), spk_reset="soft")
        self.tau = 5.0 * u.ms
        self.tau_a = 100.0 * u.ms
        self.V_th = 1.0 * u.mV
        self.beta = 0.1 * u.mV

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Make the grouped state, all zero."""
        start = zeros(self.in_size[-1], batch_size)
        self.st = brainstate.HiddenTreeState({"V": start * u.mV, "a": start})

    def get_spike(self) -> jax.Array:
        """Return the spikes of the present state."""
        v, a = self.st.get_value("V"), self.st.get_value("a")
        spikes: jax.Array = self.spk_fun((v - self.V_th - self.beta * a) / self.V_th)
        return spikes

    def update(self, x: Any = 0.0 * u.mA) -> jax.Array:
        """Take one step under the current `x` and what the projections add; return the new spikes."""

        def dv(v: Any) -> Any:
            return (self.sum_current_inputs(x, v) * u.ohm - v) / self.tau

        def da(a: jax.Array) -> Any:
            return -a / self.tau_a

        spike = self.get_spike()
        v = brainstate.nn.exp_euler_step(dv, self.st.get_value("V") - self.V_th * spike)
        a = brainstate.nn.exp_euler_step(da, self.st.get_value("a") + spike)
        self.st.set_value({"V": self.sum_delta_inputs(v), "a": a})
        return self.get_spike()


class Clocked(brainstate.nn.Module):
    """A network that reads the time, together with the clock that keeps it.

    Parameters
    ----------
    net : brainstate.nn.Module
        The network; its step sees the clock's time as ``t`` in the environment.
    """

    def __init__(self, net: brainstate.nn.Module) -> None:
        super().__init__()
        self.net = net

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the clock to zero."""
        self.t = brainstate.ShortTermState(jnp.float32(0.0) * u.ms)

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and move the clock on by `DT`."""
        with brainstate.environ.context(t=self.t.value):
            spikes: jax.Array = self.net(x)
        self.t.value = self.t.value + DT
        return spikes


class Timed(brainstate.nn.Module):
    """A network that reads the time, which is an argument of its step.

    Parameters
    ----------
    net : brainstate.nn.Module
        The network; its step sees the time as ``t`` in the environment.
    """

    def __init__(self, net: brainstate.nn.Module) -> None:
        super().__init__()
        self.net = net

    def update(self, t: Any, x: jax.Array) -> jax.Array:
        """Take the step at time `t`."""
        with brainstate.environ.context(t=t):
            spikes: jax.Array = self.net(x)
        return spikes


class TwoLayerLIF(brainstate.nn.Module):
    """Two recurrent spiking layers and a leaky readout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ExpCuDense(lif(), N_IN)
        self.second = ExpCuDense(lif(tau=1.0 * u.ms), N_REC, seed=SEED + 1)
        self.readout = brainpy.state.LeakyRateReadout(N_REC, N_OUT, tau=5.0 * u.ms, w_init=Kaiming())

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the readout ``(N_OUT,)``."""
        out: jax.Array = self.readout(self.second(self.first(x)))
        return out


class Observed(brainstate.nn.Module):
    """Neurons under a current that is given with its unit; a step returns a dictionary of quantities."""

    def __init__(self) -> None:
        super().__init__()
        self.neu = brainpy.state.ALIF(N_REC, beta=0.2 * u.mV)
        self.weight = brainstate.ParamState(Kaiming()((N_IN, N_REC)) * u.ohm)

    def update(self, current: Any) -> dict[str, Any]:
        """Take one step under `current` in mA, and return spikes, potential and two drives."""
        drive = (current @ self.weight.value) / u.ohm
        spike = self.neu(drive)
        return {"spike": spike, "V": self.neu.V.value, "drive": (drive, drive * DT)}


class PoissonDriven(brainstate.nn.Module):
    """A spiking network behind an encoder that draws input spikes from a generator of its own.

    The generator is a state of the module; its value is a typed key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rng = brainstate.random.RandomState(SEED)
        self.net = DeltaDense(lif(), N_IN)

    def update(self, rate: jax.Array) -> jax.Array:
        """Draw input spikes with probability `rate`, take one step and return the new spikes."""
        drawn = self.rng.rand(N_IN) < rate
        spikes: jax.Array = self.net(drawn.astype(jnp.float32))
        return spikes


def lif(tau: Any = 5.0 * u.ms) -> brainpy.state.Neuron:
    """Leaky integrate-and-fire neurons with membrane time constant `tau`."""
    return brainpy.state.LIF(N_REC, tau=tau, V_th=1.0 * u.mV, spk_fun=braintools.surrogate.ReluGrad())


def alif() -> brainpy.state.Neuron:
    """LIF neurons with an adaptive threshold."""
    return brainpy.state.ALIF(
        N_REC,
        tau=5.0 * u.ms,
        V_th=1.0 * u.mV,
        tau_a=100.0 * u.ms,
        beta=0.1 * u.mV,
        spk_fun=braintools.surrogate.Sigmoid(),
    )


def exp_if() -> brainpy.state.Neuron:
    """Exponential integrate-and-fire neurons; a broad spike onset keeps them away from overflow."""
    return brainpy.state.ExpIF(N_REC, V_th=-50.0 * u.mV, V_T=-53.0 * u.mV, delta_T=2.0 * u.mV)


def gif(refractory: bool = False) -> brainpy.state.Neuron:
    """Generalised integrate-and-fire neurons; every coupling between their states is other than zero.

    Parameters
    ----------
    refractory : bool
        Whether they are silent for 1 ms after a spike, for which they read the time.
    """
    parameters: dict[str, Any] = {
        "tau": 10.0 * u.ms,
        "R": 1.0 * u.ohm,
        "V_rest": 0.0 * u.mV,
        "V_reset": 0.0 * u.mV,
        "V_th_inf": 1.0 * u.mV,
        "V_th_reset": 0.8 * u.mV,
        "V_th_initializer": braintools.init.Constant(1.0 * u.mV),
        "V_initializer": braintools.init.Constant(0.0 * u.mV),
        "a": 0.005 / u.ms,
        "R1": 0.1,
        "R2": 0.8,
        "A1": 0.1 * u.mA,
        "A2": -0.2 * u.mA,
        "spk_fun": braintools.surrogate.Arctan(),
    }
    if refractory:
        return brainpy.state.GifRef(N_REC, tau_ref=1.0 * u.ms, **parameters)
    return brainpy.state.Gif(N_REC, **parameters)


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


def uniform(*shape: int, scale: float = 1.0) -> Callable[[int], tuple[Any, ...]]:
    """Return inputs of one array of `shape`, uniform in ``[0, scale)`` and new at each step."""

    def inputs(t: int) -> tuple[Any, ...]:
        return (jnp.asarray(scale * np.random.default_rng((SEED, t)).random(shape), dtype=jnp.float32),)

    return inputs


def timed(t: int) -> tuple[Any, ...]:
    """Return the time of step `t`, a quantity in ms, and a strong input."""
    return (jnp.float32(t) * DT, *uniform(N_IN, scale=6.0)(t))


def currents(t: int) -> tuple[Any, ...]:
    """Return input currents that make the neurons spike."""
    (x,) = uniform(N_IN, scale=30.0)(t)
    return (x * u.mA,)


def nested(t: int) -> tuple[Any, ...]:
    """Return the two arguments of `NestedInputs` at step `t`."""
    (x,) = uniform(2 * N_IN + 3)(t)
    sides = {"left": x[:N_IN], "right": x[N_IN : 2 * N_IN]}
    return sides, (x[-3], (x[-2], x[-1]))


def case(
    name: str,
    make: Callable[[], brainstate.nn.Module],
    inputs: Callable[[int], tuple[Any, ...]],
    counts: tuple[int, int, int, int] | None = None,
    batch_size: int | None = None,
) -> ModelCase:
    """Make a `ModelCase`.

    Parameters
    ----------
    name, inputs, counts
        As in `ModelCase`.
    make : callable
        Makes the module; `ModelCase.build` calls it and initialises the states.
    batch_size : int, optional
        Leading axis of the hidden states.
    """

    def build() -> brainstate.nn.Module:
        brainstate.environ.set(dt=DT)
        brainstate.random.seed(SEED)
        module = make()
        if batch_size is None:
            brainstate.nn.init_all_states(module)
        else:
            brainstate.nn.init_all_states(module, batch_size=batch_size)
        return module

    return ModelCase(name, build, inputs, counts)


def std() -> brainpy.state.STD:
    """Short-term depression of the recurrent spikes."""
    return brainpy.state.STD(N_REC, tau=500.0 * u.ms, U=0.1)


def stp() -> brainpy.state.STP:
    """Short-term facilitation and depression of the recurrent spikes."""
    return brainpy.state.STP(N_REC, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms)


WEAK = uniform(N_IN)
STRONG = uniform(N_IN, scale=3.0)

_CASES = (
    # Spiking networks. The guide's network comes first.
    case("ALIF_STPExpCu_Dense", lambda: ALIFSTPExpCuDense(N_IN, N_REC), STRONG, (5, 1, 1, 5)),
    case("IF_Delta", lambda: DeltaDense(brainpy.state.IF(N_REC), N_IN), WEAK, (1, 1, 1, 1)),
    case("ALIF_Delta", lambda: DeltaDense(alif(), N_IN), WEAK, (2, 1, 1, 2)),
    case("LIF_ExpCu", lambda: ExpCuDense(lif(), N_IN), STRONG, (2, 1, 1, 2)),
    case("LIF_STDExpCu", lambda: ExpCuDense(lif(), N_IN, std()), STRONG, (3, 1, 1, 3)),
    case("LIF_STPExpCu", lambda: ExpCuDense(lif(), N_IN, stp()), STRONG, (4, 1, 1, 4)),
    case("ALIF_ExpCu", lambda: ExpCuDense(alif(), N_IN), STRONG, (3, 1, 1, 3)),
    case("ALIF_STDExpCu", lambda: ExpCuDense(alif(), N_IN, std()), STRONG, (4, 1, 1, 4)),
    case("ALIF_STPExpCu", lambda: ExpCuDense(alif(), N_IN, stp()), STRONG, (5, 1, 1, 5)),
    case("LIF_ExpCo", lambda: ExpCoDense(lif(), N_IN), STRONG, (4, 1, 3, 4)),
    case("ALIF_ExpCo", lambda: ExpCoDense(alif(), N_IN), STRONG, (5, 1, 3, 5)),
    case("GroupedALIF_Delta", lambda: DeltaDense(GroupedALIF(N_REC), N_IN), WEAK, (1, 1, 1, 1)),
    case("GroupedALIF_ExpCu", lambda: ExpCuDense(GroupedALIF(N_REC), N_IN), STRONG, (2, 1, 1, 2)),
    case("Gif_Delta", lambda: DeltaDense(gif(), N_IN), WEAK, (4, 1, 1, 4)),
    case("Gif_ExpCu", lambda: ExpCuDense(gif(), N_IN), STRONG, (5, 1, 1, 5)),
    case("GifRef_ExpCu", lambda: Timed(ExpCuDense(gif(refractory=True), N_IN)), timed, (5, 1, 1, 5)),
    case(
        "LIFRef_Delta",
        lambda: Clocked(DeltaDense(brainpy.state.LIFRef(N_REC, tau_ref=0.5 * u.ms), N_IN)),
        WEAK,
        (1, 1, 1, 1),
    ),
    case(
        "ExpIF_Delta",
        lambda: DeltaDense(exp_if(), N_IN),
        uniform(N_IN, scale=5.0),
        (1, 1, 1, 1),
    ),
    case("AdExIF_Delta", lambda: DeltaDense(brainpy.state.AdExIF(N_REC), N_IN), STRONG, (2, 1, 1, 2)),
    case(
        "Izhikevich_Delta",
        lambda: DeltaDense(brainpy.state.Izhikevich(N_REC), N_IN),
        uniform(N_IN, scale=30.0),
        (2, 1, 1, 2),
    ),
    case("two_layer_LIF", TwoLayerLIF, uniform(N_IN, scale=10.0), (5, 3, 3, 5)),
    case(
        "batched_LIF_ExpCu",
        lambda: ExpCuDense(lif(), N_IN),
        uniform(BATCH, N_IN, scale=3.0),
        (2, 1, 1, 2),
        BATCH,
    ),
    case("observed_ALIF", Observed, currents, (2, 1, 1, 2)),
    case("poisson_LIF_Delta", PoissonDriven, WEAK, (1, 1, 1, 1)),
    # Rate networks.
    case(
        "ValinaRNNCell",
        lambda: brainstate.nn.ValinaRNNCell(N_IN, N_REC, w_init=Kaiming()),
        WEAK,
        (1, 1, 1, 1),
    ),
    case("GRUCell", lambda: brainstate.nn.GRUCell(N_IN, N_REC, w_init=Kaiming()), WEAK, (1, 1, 2, 1)),
    case("MGUCell", lambda: brainstate.nn.MGUCell(N_IN, N_REC, w_init=Kaiming()), WEAK, (1, 1, 2, 1)),
    # One fused weight each, not the one per gate that the known counts are for.
    case("LSTMCell", lambda: brainstate.nn.LSTMCell(N_IN, N_REC, w_init=Kaiming()), WEAK),
    case("URLSTMCell", lambda: brainstate.nn.URLSTMCell(N_IN, N_REC, w_init=Kaiming()), WEAK),
    case("GatedGRU", lambda: GatedGRU(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("GatedLSTM", lambda: GatedLSTM(N_IN, N_REC), WEAK, (2, 1, 4, 2)),
    case("MinimalRNN", lambda: MinimalRNN(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("MiniGRU", lambda: MiniGRU(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("MiniLSTM", lambda: MiniLSTM(N_IN, N_REC), WEAK, (1, 1, 3, 1)),
    case("LRU", lambda: LRU(N_IN, N_REC), WEAK, (2, 1, 5, 2)),
    case("TwoTimescales", lambda: TwoTimescales(N_IN, N_REC), WEAK, (1, 1, 1, 1)),
    case("two_layer_GRU", TwoLayerGRU, WEAK, (2, 2, 4, 2)),
    case("batched_GatedGRU", lambda: GatedGRU(N_IN, N_REC), uniform(BATCH, N_IN), (1, 1, 2, 1), BATCH),
    case("dropout_RNN", DropoutRNN, WEAK, (1, 1, 1, 1)),
    case("nested_inputs", lambda: NestedInputs(N_IN, N_REC), nested, (1, 1, 3, 1)),
    case("counting_RNN", lambda: CountingRNN(N_IN, N_REC), WEAK, (1, 1, 1, 1)),
)

MODELS: dict[str, ModelCase] = {model.name: model for model in _CASES}
