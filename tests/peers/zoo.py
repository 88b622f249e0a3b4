"""The models that brainscale and braintrace bring, and ways to couple states, made of the layers of a given library."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import brainevent
import brainpy
import brainstate
import braintools
import brainunit as u
import jax.numpy as jnp
import numpy as np

N_IN, N = 3, 4
CELLS = (
    "ValinaRNNCell", "GRUCell", "CFNGRUCell", "MGUCell", "MinimalRNNCell", "MiniGRU", "MiniLSTM", "LSTMCell",
    "URLSTMCell", "LRUCell", "LeakyRateReadout",
)  # fmt: skip
LAYERS = ("Linear", "SignedWLinear", "LoRA", "SparseLinear", "Conv1d", "GroupedLinear", "ScaledWSLinear", "Embedding")
# It raises an IndexError when it is made: it asks for the second axis of a size that has one.
LEFT_OUT = {("brainscale.nn", "URLSTMCell")}
NORMS = ("LayerNorm", "RMSNorm")
SPIKING = (("IF", "none"), ("LIF", "none"), ("LIF", "STP"), ("ALIF", "none"), ("ALIF", "STD"), ("ALIF", "STP"))


class Entry(NamedTuple):
    """A model: how to make it, and the input of one step."""

    make: Callable[[], brainstate.nn.Module]
    x: Any


class Driven(brainstate.nn.Module):
    """A leaky state that a layer drives."""

    def __init__(self, layer: Any, shape: tuple[int, ...] = (N,)) -> None:
        super().__init__()
        self.layer = layer
        self.shape = shape

    def init_state(self, *args: Any, **kwargs: Any) -> None:
        self.h = brainstate.HiddenState(jnp.full(self.shape, 0.3))

    def update(self, x: Any) -> Any:
        self.h.value = 0.8 * self.h.value + jnp.tanh(self.layer(x))
        return self.h.value


class Spiking(brainstate.nn.Module):
    """Recurrent neurons behind one dense layer and an exponential synapse, with short-term plasticity or none."""

    def __init__(self, linear: Any, neuron: str, plasticity: str) -> None:
        super().__init__()
        kwargs = {"V_th": 1.0 * u.mV, "spk_fun": braintools.surrogate.ReluGrad(), "spk_reset": "soft"}
        if neuron != "IF":
            kwargs["tau"] = 5.0 * u.ms
        self.neu = getattr(brainpy.state, neuron)(N, **kwargs)
        self.plasticity = None if plasticity == "none" else getattr(brainpy.state, plasticity)(N)
        weight = np.random.default_rng(0).normal(0.0, 0.7, (N_IN + N, N)).astype(np.float32)
        self.syn = brainpy.state.AlignPostProj(
            comm=linear(N_IN + N, N, w_init=weight * u.mS, b_init=braintools.init.ZeroInit(unit=u.mS)),
            syn=brainpy.state.Expon.desc(N, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )

    def update(self, x: Any) -> Any:
        spikes = self.neu.get_spike()
        if self.plasticity is not None:
            spikes = self.plasticity(spikes)
        self.syn(jnp.concatenate([x, spikes], axis=-1))
        self.neu()
        return self.neu.get_spike()


class Coupled(brainstate.nn.Module):
    """Two states behind one dense layer, coupled by a function of the old values and of what the layer gives.

    Parameters
    ----------
    linear : type
    rule : callable
        ``rule(h, z, y) -> (new h, new z)``.
    """

    def __init__(self, linear: Any, rule: Callable[[Any, Any, Any], tuple[Any, Any]]) -> None:
        super().__init__()
        weight = np.random.default_rng(0).normal(0.0, 0.7, (N_IN, N)).astype(np.float32)
        self.layer = linear(N_IN, N, w_init=weight)
        self.rule = rule

    def init_state(self, *args: Any, **kwargs: Any) -> None:
        self.h = brainstate.HiddenState(jnp.linspace(-0.5, 0.6, N))
        self.z = brainstate.HiddenState(jnp.linspace(0.9, 0.2, N))

    def update(self, x: Any) -> Any:
        self.h.value, self.z.value = self.rule(self.h.value, self.z.value, jnp.tanh(self.layer(x)))
        return self.h.value + self.z.value


class Grouped(brainstate.nn.Module):
    """One array that holds two states at each position, the first of which a dense layer drives."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        weight = np.random.default_rng(0).normal(0.0, 0.7, (N_IN, N)).astype(np.float32)
        self.layer = linear(N_IN, N, w_init=weight)

    def init_state(self, *args: Any, **kwargs: Any) -> None:
        self.h = brainstate.HiddenGroupState(jnp.full((N, 2), 0.3))

    def update(self, x: Any) -> Any:
        v, a = self.h.value[..., 0], self.h.value[..., 1]
        self.h.value = jnp.stack([0.9 * v - 0.1 * a + self.layer(x), 0.95 * a + 0.2 * v], axis=-1)
        return self.h.value[..., 0]


RULES: dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]] = {
    "elementwise": lambda h, z, y: (0.9 * h + 0.1 * z + y, 0.8 * z + 0.1 * h),
    "roll": lambda h, z, y: (0.9 * h + 0.1 * jnp.roll(z, 1) + y, 0.8 * z),
    "reverse": lambda h, z, y: (0.9 * h + 0.1 * z[::-1] + y, 0.8 * z),
    "cumsum": lambda h, z, y: (0.9 * h + 0.1 * jnp.cumsum(z) + y, 0.8 * z),
    "sort": lambda h, z, y: (0.9 * h + 0.1 * jnp.sort(z) + y, 0.8 * z),
    "normalise": lambda h, z, y: (0.9 * h + 0.1 * z / (1.0 + jnp.sum(z**2)) + y, 0.8 * z),
    "product": lambda h, z, y: (0.9 * h + 0.1 * (z @ jnp.outer(jnp.arange(4.0), jnp.ones(4))) + y, 0.8 * z),
    "chain": lambda h, z, y: ((g := 0.9 * h + y), jnp.tanh(0.8 * z + g)),
    "one operation": lambda h, z, y: (h * z, 0.8 * z + y),
    "swap": lambda h, z, y: (z, 0.9 * h + y),
    "one value": lambda h, z, y: ((g := 0.5 * h + 0.4 * z + y), g),
}


def models(nn: ModuleType) -> dict[str, Entry]:
    """Return every model that can be made of the layers of a library."""
    found = {name: Entry(lambda name=name: getattr(nn, name)(N_IN, N), _line(N_IN)) for name in _held(nn, CELLS)}
    # braintrace takes matrices of brainevent only.
    matrix = brainevent.CSR if nn.__name__.startswith("braintrace") else u.sparse.CSR
    layers: dict[str, tuple[Callable[[Any], Any], Any, tuple[int, ...]]] = {
        "LoRA": (lambda layer: layer(N_IN, 2, N), _line(N_IN), (N,)),
        "SparseLinear": (lambda layer: layer(matrix.fromdense(_sparse())), _line(N_IN), (N,)),
        "Conv1d": (lambda layer: layer((5, 2), 3, 3), _line(5, 2), (5, 3)),
        "GroupedLinear": (lambda layer: layer(2, N_IN, N), _line(2, N_IN), (2, N)),
        "ScaledWSLinear": (lambda layer: layer(N_IN, N), _line(N_IN), (1, N)),
        "Embedding": (lambda layer: layer(5, N), jnp.asarray(2), (N,)),
    }
    for name in _held(nn, LAYERS):
        make, x, shape = layers.get(name, (lambda layer: layer(N_IN, N), _line(N_IN), (N,)))
        found[name] = Entry(
            lambda make=make, name=name, shape=shape: Driven(make(getattr(nn, name)), shape),
            x,
        )
    for name in NORMS:
        # braintrace hands out those of brainstate.
        layer = vars(nn).get(name, getattr(brainstate.nn, name))
        found[name] = Entry(lambda layer=layer: Driven(layer((N,))), _line(N))
    for neuron, plasticity in SPIKING:
        found[f"{neuron}, plasticity {plasticity}"] = Entry(
            lambda neuron=neuron, plasticity=plasticity: Spiking(nn.Linear, neuron, plasticity), 3 * _line(N_IN)
        )
    for name, rule in RULES.items():
        found[f"two states, {name}"] = Entry(lambda rule=rule: Coupled(nn.Linear, rule), _line(N_IN))
    found["grouped state"] = Entry(lambda: Grouped(nn.Linear), _line(N_IN))
    return found


def ready(entry: Entry) -> brainstate.nn.Module:
    """Make a model with initialised states; two calls give equal values."""
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(1)
    module = entry.make()
    brainstate.nn.init_all_states(module)
    return module


def _held(nn: ModuleType, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in vars(nn) and (nn.__name__, name) not in LEFT_OUT]


def _line(*shape: int) -> Any:
    return jnp.asarray(np.linspace(0.2, 1.3, int(np.prod(shape))).reshape(shape), jnp.float32)


def _sparse() -> Any:
    return jnp.asarray([[1.0, 0, 2, 0], [0, 3, 0, 4], [5, 0, 0, 6]], jnp.float32)
