"""Spiking networks, and the neurons and synapses that they are made of."""

from typing import Any

import brainpy
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp

from .parameters import DT, N_IN, N_OUT, N_REC, SEED, Kaiming, zeros


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


class PreExpCuDense(brainstate.nn.Module):
    """Neurons with a delta synapse on the input, and recurrent synapses that are kept with the neurons before them.

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
        kaiming = Kaiming()
        self.neu = neu
        self.inp = brainpy.state.DeltaProj(comm=kaiming.linear(n_in, n_rec, u.mV), post=neu)
        expon = brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms, g_initializer=braintools.init.ZeroInit())
        self.rec = brainpy.state.CurrentProj(
            neu.align_pre(expon).prefetch("g"),
            comm=brainstate.nn.Linear(n_rec, n_rec, w_init=kaiming((n_rec, n_rec)), b_init=None),
            out=brainpy.state.CUBA(scale=u.mA),
            post=neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the new spikes."""
        self.inp(x)
        self.rec()
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


def std() -> brainpy.state.STD:
    """Short-term depression of the recurrent spikes."""
    return brainpy.state.STD(N_REC, tau=500.0 * u.ms, U=0.1)


def stp() -> brainpy.state.STP:
    """Short-term facilitation and depression of the recurrent spikes."""
    return brainpy.state.STP(N_REC, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms)
