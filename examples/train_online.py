"""Train a spiking network online, on a task with a long delay or on scikit-learn's digits.

The network is the guide's kind: adaptive neurons (ALIF) with short-term plasticity on their recurrent connections
and exponential synapses behind one dense layer, and a linear readout of filtered spikes. Its gradients come from
``brainir.compile_learner``: memory does not grow with the length of a sequence, and no sequence is stored.

    python examples/train_online.py delay             recall a cue after 200 ms of noise
    python examples/train_online.py digits            classify digits that are shown row by row
    python examples/train_online.py delay --compare-bptt
    python examples/train_online.py delay --resume    go on from the last checkpoint

Writes checkpoint, curves and spikes into ``--out``.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brainpy
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import brainir

DT = 1.0 * u.ms
MARGIN = 0.05
"""How far below the accuracy of backpropagation through time the online one may end."""


class SpikeTrace(brainstate.nn.Module):
    """A low-pass filter of spikes, one for each neuron."""

    def __init__(self, size: int, tau: u.Quantity) -> None:
        super().__init__()
        self.size, self.decay = size, float(np.exp(-u.maybe_decimal(DT / tau)))

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the traces to zero."""
        shape = (self.size,) if batch_size is None else (batch_size, self.size)
        self.value = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, spikes: jax.Array) -> jax.Array:
        """Filter one step."""
        self.value.value = self.decay * self.value.value + (1 - self.decay) * spikes
        return self.value.value


class Network(brainstate.nn.Module):
    """Adaptive neurons with plastic recurrent connections and a readout.

    Parameters
    ----------
    n_in, n_rec, n_out : int
    """

    def __init__(self, n_in: int, n_rec: int, n_out: int) -> None:
        super().__init__()
        self.neu = brainpy.state.ALIF(
            n_rec,
            tau=20.0 * u.ms,
            tau_a=300.0 * u.ms,
            V_th=1.0 * u.mV,
            beta=0.5 * u.mV,
            spk_fun=braintools.surrogate.ReluGrad(),
            spk_reset="soft",
        )
        self.stp = brainpy.state.STP(n_rec, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms)
        rng = np.random.default_rng(0)
        blocks = [
            rng.normal(0, 2.0, (n_in, n_rec)) / np.sqrt(n_in),
            rng.normal(0, 1.0, (n_rec, n_rec)) / np.sqrt(n_rec),
        ]
        weight = jnp.asarray(np.concatenate(blocks), jnp.float32)
        self.syn = brainpy.state.AlignPostProj(
            comm=brainstate.nn.Linear(n_in + n_rec, n_rec, w_init=weight * u.mS, b_init=jnp.zeros(n_rec) * u.mS),
            syn=brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )
        self.filter = SpikeTrace(n_rec, 30.0 * u.ms)
        self.readout = brainstate.nn.Linear(n_rec, n_out)

    def update(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Take one step; return logits and spikes."""
        self.syn(jnp.concatenate([x, self.stp(self.neu.get_spike())], axis=-1))
        self.neu()
        spikes = self.neu.get_spike()
        return self.readout(10.0 * self.filter(spikes)), spikes


def loss(out: tuple[jax.Array, jax.Array], target: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return the cross-entropy of the logits where the weight is not zero, averaged over the batch."""
    (logits, _), (label, weight) = out, target
    return jnp.mean(weight * optax.softmax_cross_entropy_with_integer_labels(logits, label))


class DelayTask:
    """One of two channels is active for 20 ms; after a delay of noise, a third asks which it was."""

    n_in, n_out, answer = 3, 2, 20
    training = 300

    def __init__(self, delay: int) -> None:
        self.steps = 20 + delay + self.answer

    def batches(self, rng: np.random.Generator, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield inputs ``(steps, batch, 3)`` and labels, for ever."""
        while True:
            labels = rng.integers(0, 2, batch)
            xs = (rng.random((self.steps, batch, 3)) < 0.01).astype(np.float32)
            cue = rng.random((20, batch)) < 0.6
            xs[:20, np.arange(batch), labels] += cue
            xs[-self.answer :, :, 2] += rng.random((self.answer, batch)) < 0.5
            yield 2.0 * xs, labels

    def test(self, rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return data that training does not see."""
        return next(self.batches(rng, batch))


class DigitsTask:
    """The 8 x 8 digits of scikit-learn, each row for 5 ms, then 10 ms to answer."""

    n_in, n_out, answer = 9, 10, 10
    steps = 8 * 5 + answer
    training = 1500

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        self.images, self.labels = images[order].reshape(-1, 8, 8) / 16.0, labels[order]
        self.train = len(labels) * 4 // 5

    def _sequence(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.repeat(self.images[chosen].transpose(1, 0, 2), 5, axis=0)
        xs = np.zeros((self.steps, len(chosen), 9), np.float32)
        xs[: len(rows), :, :8] = 2.0 * rows
        xs[len(rows) :, :, 8] = 2.0
        return xs, self.labels[chosen]

    def batches(self, rng: np.random.Generator, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield inputs ``(steps, batch, 9)`` and labels, for ever."""
        while True:
            yield self._sequence(rng.integers(0, self.train, batch))

    def test(self, rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return data that training does not see."""
        return self._sequence(self.train + rng.permutation(len(self.labels) - self.train)[:batch])


class Trainer:
    """Trains one network with gradients from a learner, or from backpropagation through time.

    Parameters
    ----------
    task : DelayTask or DigitsTask
    n_rec, batch : int
    rate : float
        Learning rate of Adam.
    algorithm : {"d_rtrl", "es_d_rtrl", "bptt"}
    """

    def __init__(self, task: Any, n_rec: int, batch: int, rate: float, algorithm: str) -> None:
        self.task, self.batch, self.algorithm = task, batch, algorithm
        brainstate.environ.set(dt=DT)
        brainstate.random.seed(0)
        network = Network(task.n_in, n_rec, task.n_out)
        brainstate.nn.init_all_states(network, batch_size=batch)
        program = brainir.lower_module(network, jnp.zeros((batch, task.n_in)))
        states = brainir.read_states(network, program)
        learned = {state.path for state in program.interface.states if state.role == "param"}
        self.params = {path: states[path] for path in learned}
        self.start = {path: value for path, value in states.items() if path not in learned}
        self.forward = brainir.to_callable(program)
        options = {"decay": 0.95} if algorithm == "es_d_rtrl" else {}
        rule = "d_rtrl" if algorithm == "bptt" else algorithm
        example = (jnp.zeros(batch, jnp.int32), jnp.zeros(()))
        self.learner = brainir.compile_learner(program, rule, loss=loss, target=example, **options)
        self.optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))
        self.moments = self.optimizer.init(self.params)
        self.weights = np.zeros(task.steps, np.float32)
        self.weights[-task.answer :] = 1 / task.answer
        self.update = jax.jit(self._update)
        self.evaluate = jax.jit(self._evaluate)
        self.step, self.history = 0, []

    def _targets(self, labels: Any) -> Any:
        return jnp.broadcast_to(labels, (self.task.steps, self.batch)), jnp.asarray(self.weights)

    def _logits(self, params: Any, xs: Any) -> Any:
        def body(states: Any, x: Any) -> Any:
            new, out = self.forward({**params, **states}, x)
            return {path: new[path] for path in states}, out

        return jax.lax.scan(body, self.start, xs)[1]

    def _gradients(self, params: Any, xs: Any, labels: Any) -> Any:
        if self.algorithm != "bptt":
            carry = self.learner.init(self.start)
            _, losses, grads = self.learner.run(params, carry, xs, self._targets(labels))
            return losses.sum(), grads

        def whole(params: Any) -> Any:
            return jax.vmap(loss)(self._logits(params, xs), self._targets(labels)).sum()

        return jax.value_and_grad(whole)(params)

    def _update(self, params: Any, moments: Any, xs: Any, labels: Any) -> Any:
        value, grads = self._gradients(params, xs, labels)
        changes, moments = self.optimizer.update(grads, moments, params)
        return jax.tree.map(lambda old, change: old + change, params, changes), moments, value

    def _evaluate(self, params: Any, xs: Any, labels: Any) -> Any:
        logits, spikes = self._logits(params, xs)
        return jnp.mean(logits[-self.task.answer :].mean(axis=0).argmax(axis=-1) == labels), spikes[:, 0]

    def accuracy(self, seed: int, sets: int) -> float:
        """Return the accuracy on data that training does not see."""
        rng = np.random.default_rng((1, seed))
        found = [self.evaluate(self.params, *self.task.test(rng, self.batch))[0] for _ in range(sets)]
        return float(np.mean(found))

    def train(self, steps: int, every: int, checkpoint: Path | None) -> float:
        """Take steps up to a number, with a progress bar; return the accuracy at the end."""
        bar = tqdm(initial=self.step, total=steps, desc=self.algorithm, unit="batch")
        while self.step < steps:
            # Each step has data of its own, so that a run that was resumed sees what it would have seen.
            xs, labels = next(self.task.batches(np.random.default_rng((0, self.step)), self.batch))
            self.params, self.moments, value = self.update(self.params, self.moments, xs, labels)
            self.step += 1
            bar.update()
            if self.step % every == 0 or self.step == steps:
                self.history.append((self.step, float(value), self.accuracy(self.step, 2)))
                bar.set_postfix(loss=f"{float(value):.3f}", accuracy=f"{self.history[-1][2]:.2f}")
                if checkpoint is not None:
                    self.save(checkpoint)
        bar.close()
        return self.accuracy(10**6, 20)

    def save(self, path: Path) -> None:
        """Write parameters, state of the optimizer and history."""
        leaves = jax.tree.leaves((self.params, self.moments))
        kept = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
        waiting = path.with_suffix(".part.npz")
        np.savez(waiting, step=self.step, history=np.asarray(self.history).reshape(-1, 3), **kept)
        waiting.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote."""
        with np.load(path) as kept:
            structure = jax.tree.structure((self.params, self.moments))
            leaves = [jnp.asarray(kept[f"leaf{number}"]) for number in range(structure.num_leaves)]
            self.params, self.moments = jax.tree.unflatten(structure, leaves)
            self.step, self.history = int(kept["step"]), [tuple(row) for row in kept["history"].tolist()]


def plot(trainer: Trainer, path: Path) -> None:
    """Draw loss, accuracy, and the spikes of one sequence."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    steps, values, accuracies = zip(*trainer.history, strict=True)
    _, spikes = trainer.evaluate(trainer.params, *trainer.task.test(np.random.default_rng(5), trainer.batch))
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.5), layout="constrained")
    axes[0].plot(steps, values)
    axes[0].set(xlabel="batch", ylabel="loss")
    axes[1].plot(steps, accuracies)
    axes[1].set(xlabel="batch", ylabel="accuracy on new data", ylim=(0, 1.02))
    times, neurons = np.nonzero(np.asarray(spikes))
    axes[2].plot(times, neurons, "|", markersize=2, color="black")
    axes[2].set(xlabel="time (ms)", ylabel="neuron")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, print and draw; return the accuracy of each algorithm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("task", choices=["delay", "digits"], help="what to learn")
    option("--algorithm", choices=["d_rtrl", "es_d_rtrl"], default="d_rtrl", help="online rule; by default d_rtrl")
    option("--steps", type=int, help="batches to train on; by default 300 for delay, 1500 for digits")
    option("--batch", type=int, default=32, help="sequences in a batch; by default 32")
    option("--neurons", type=int, default=64, help="recurrent neurons; by default 64")
    option("--rate", type=float, default=5e-3, help="learning rate; by default 0.005")
    option("--delay", type=int, default=200, help="ms between cue and answer; by default 200")
    option("--every", type=int, default=20, help="batches between checkpoints; by default 20")
    option("--out", type=Path, default=Path("online"), help="folder for what is written; by default online")
    option("--resume", action="store_true", help="go on from the checkpoint in that folder, if there is one")
    option("--compare-bptt", action="store_true", help="train with backpropagation too; fail if it is much better")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    task = DelayTask(given.delay) if given.task == "delay" else DigitsTask()
    steps = task.training if given.steps is None else given.steps

    def trainer(algorithm: str) -> Trainer:
        return Trainer(task, given.neurons, given.batch, given.rate, algorithm)

    online = trainer(given.algorithm)
    print(online.learner.report())
    checkpoint = given.out / f"{given.task}_{given.algorithm}.npz"
    if given.resume and checkpoint.exists():
        online.load(checkpoint)
        print(f"goes on after batch {online.step}")
    found = {given.algorithm: online.train(steps, given.every, checkpoint)}
    plot(online, checkpoint.with_suffix(".png"))
    if given.compare_bptt:
        found["bptt"] = trainer("bptt").train(steps, given.every, None)
    print(json.dumps({"accuracy": found, "files": [str(checkpoint), str(checkpoint.with_suffix(".png"))]}))
    if given.compare_bptt and found[given.algorithm] < found["bptt"] - MARGIN:
        raise SystemExit(f"{given.algorithm} ends more than {MARGIN:.0%} below backpropagation through time")
    return found


if __name__ == "__main__":
    main()
