"""Programs of other libraries, each as a function of arrays; a library that is not installed is left out."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class LibraryProgram(NamedTuple):
    """A function, its arguments, and the positions of those that it is differentiated in."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    along: tuple[int, ...] = (0,)


PROGRAMS: dict[str, tuple[tuple[str, ...], Callable[[], LibraryProgram]]] = {}
"""By name: the modules that a program needs, and what builds it."""


def program(name: str, *modules: str) -> Callable[[Callable[[], LibraryProgram]], Callable[[], LibraryProgram]]:
    def register(build: Callable[[], LibraryProgram]) -> Callable[[], LibraryProgram]:
        PROGRAMS[name] = (modules, build)
        return build

    return register


def installed(name: str) -> bool:
    """Whether the libraries of a program are there."""
    modules, _ = PROGRAMS[name]
    return all(importlib.util.find_spec(module) is not None for module in modules)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng((3, *shape)).normal(size=shape), jnp.float32)


@program("a training step of Flax NNX with AdamW of optax", "flax", "optax")
def flax_step() -> LibraryProgram:
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = nnx.gelu(self.norm(self.conv(x))).reshape(x.shape[0], -1, 4)
            return self.head(self.attention(x)).mean(axis=1)

    graph, params = nnx.split(Net(nnx.Rngs(0)))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, 100)))

    def step(params: Any, state: Any, x: Any, labels: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = nnx.merge(graph, params)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return value, optax.apply_updates(params, updates), state

    params = nnx.to_pure_dict(params)
    return LibraryProgram(
        lambda p, s, x, y: step(p, s, x, y),
        (params, optimizer.init(params), normal(2, 5, 5, 2), jnp.array([0, 2])),
        (2,),
    )


@program("a training step of Flax Linen with dropout", "flax", "optax")
def linen_step() -> LibraryProgram:
    import flax.linen as nn
    import optax

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.RNN(nn.LSTMCell(4))(x)
            x = nn.Dropout(0.4, deterministic=False)(nn.silu(nn.Dense(6)(x)))
            return nn.Dense(1)(nn.GroupNorm(2)(x))

    net, x = Net(), normal(2, 5, 3)
    params = net.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x)
    optimizer = optax.lion(1e-3)

    def step(params: Any, state: Any, x: Any, key: Any) -> Any:
        def loss(params: Any) -> Any:
            return optax.huber_loss(net.apply(params, x, rngs={"dropout": key})).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return value, optax.apply_updates(params, updates), state

    return LibraryProgram(step, (params, optimizer.init(params), x, jax.random.key(3)), (2,))


@program("a training step of Flax Linen from TrainState to TrainState", "flax", "optax")
def linen_state_step() -> LibraryProgram:
    import flax.linen as nn
    import optax
    from flax.training.train_state import TrainState

    net, x = nn.Dense(2), normal(4, 3)
    state = TrainState.create(apply_fn=net.apply, params=net.init(jax.random.key(0), x), tx=optax.sgd(0.1, 0.9))

    def step(state: Any, x: Any) -> Any:
        value, grads = jax.value_and_grad(lambda params: jnp.mean(state.apply_fn(params, x) ** 2))(state.params)
        return value, state.apply_gradients(grads=grads)

    return LibraryProgram(step, (state, x), (1,))


@program("a training step of Flax NNX from State to State", "flax", "optax")
def nnx_state_step() -> LibraryProgram:
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.layer = nnx.Linear(3, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.dropout = nnx.Dropout(0.3, rngs=rngs)

        @nnx.remat
        def __call__(self, x: Any) -> Any:
            return self.dropout(self.norm(nnx.relu(self.layer(x))))

    net = Net(nnx.Rngs(0))
    graph, state = nnx.split((net, nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)))

    def step(state: Any, x: Any) -> Any:
        net, optimizer = nnx.merge(graph, state)
        value, grads = nnx.value_and_grad(lambda net: jnp.mean((net(x) - 1.0) ** 2))(net)
        optimizer.update(net, grads)
        return value, nnx.state((net, optimizer))

    return LibraryProgram(step, (state, normal(4, 3)), ())


@program("a step of an Equinox module from module to module", "equinox")
def equinox_module_step() -> LibraryProgram:
    import equinox as eqx

    module, static = eqx.partition(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), eqx.is_array)

    def step(module: Any, x: Any) -> Any:
        value, grads = eqx.filter_value_and_grad(lambda module: jnp.sum(eqx.combine(module, static)(x) ** 2))(module)
        return value, eqx.apply_updates(module, jax.tree.map(lambda grad: -0.1 * grad, grads))

    return LibraryProgram(step, (module, normal(3)), (0, 1))


@program("a training step of Equinox with optax", "equinox", "optax")
def equinox_step() -> LibraryProgram:
    import equinox as eqx
    import optax

    keys = jax.random.split(jax.random.key(0), 2)
    cell = eqx.nn.GRUCell(3, 5, key=keys[0])
    head = eqx.nn.MLP(5, 2, 8, 2, activation=jax.nn.softplus, key=keys[1])
    params, static = eqx.partition((cell, head), eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(params)
    optimizer = optax.adam(1e-2)

    def step(leaves: Any, state: Any, xs: Any, y: Any) -> Any:
        def loss(leaves: Any) -> Any:
            cell, head = eqx.combine(jax.tree.unflatten(tree, leaves), static)
            h, _ = jax.lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(5), xs)
            return jnp.mean((head(h) - y) ** 2)

        value, grads = jax.value_and_grad(loss)(leaves)
        updates, state = optimizer.update(grads, state)
        return value, optax.apply_updates(leaves, updates), state

    return LibraryProgram(step, (leaves, optimizer.init(leaves), normal(6, 3), normal(2)), (2,))


@program("the potential of NUTS of numpyro", "numpyro")
def numpyro_potential() -> LibraryProgram:
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer.util import initialize_model

    def model(x: Any, y: Any) -> None:
        w = numpyro.sample("w", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        sigma = numpyro.sample("sigma", dist.Gamma(2.0, 1.5))
        nu = numpyro.sample("nu", dist.HalfCauchy(1.0))
        numpyro.sample("y", dist.StudentT(nu + 1.0, x @ w, sigma), obs=y)

    x, y = normal(7, 2), normal(7)
    info = initialize_model(jax.random.key(0), model, model_args=(x, y), dynamic_args=True)

    def potential(z: Any, x: Any, y: Any) -> Any:
        return jax.value_and_grad(info.potential_fn(x, y))(z)

    return LibraryProgram(potential, (info.param_info.z, x, y), (0, 1, 2))


@program("a step of NUTS of blackjax", "blackjax")
def blackjax_step() -> LibraryProgram:
    import blackjax

    def step(position: Any, key: Any) -> Any:
        nuts = blackjax.nuts(lambda x: -jnp.sum(x**4) - jnp.sum(jnp.cos(x)), 0.3, jnp.ones(3), max_num_doublings=3)
        state, info = nuts.step(key, nuts.init(position))
        return state.position, state.logdensity, info.acceptance_rate

    return LibraryProgram(step, (normal(3), jax.random.key(5)), ())


@program("a transformer of Haiku", "haiku")
def haiku_net() -> LibraryProgram:
    import haiku as hk

    def net(x: Any) -> Any:
        attention = hk.MultiHeadAttention(2, 3, model_size=4, w_init=hk.initializers.TruncatedNormal())
        h = hk.LayerNorm(-1, True, True)(x + hk.Linear(4)(attention(x, x, x)))
        return hk.nets.MLP([8, 1], activation=jax.nn.gelu)(h)

    made, x = hk.without_apply_rng(hk.transform(net)), normal(2, 5, 4)
    return LibraryProgram(made.apply, (made.init(jax.random.key(0), x), x), (0, 1))


@program("energy, force and a step of jax-md", "jax_md")
def jax_md_step() -> LibraryProgram:
    from jax_md import energy, simulate, space

    displacement, shift = space.periodic(4.0)
    potential = energy.soft_sphere_pair(displacement)
    init, apply = simulate.nve(potential, shift, 1e-3)

    def step(position: Any, key: Any) -> Any:
        state = apply(init(key, position, 1e-3))
        return potential(position), state.position, state.velocity

    return LibraryProgram(step, (normal(6, 2) % 4.0, jax.random.key(0)), (0,))


def diffrax_solve(adjoint: str, solver: str) -> LibraryProgram:
    import diffrax

    def solve(y: Any, decay: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, decay: -decay * y + jnp.sin(t)),
            getattr(diffrax, solver)(),
            t0=0.0,
            t1=1.0,
            dt0=0.5,
            y0=y,
            args=decay,
            max_steps=2,
            throw=False,
            adjoint=getattr(diffrax, adjoint)(),
        ).ys

    return LibraryProgram(solve, (normal(3), jnp.float32(0.7)), (0, 1))


for _adjoint, _solver in (
    ("RecursiveCheckpointAdjoint", "Euler"),
    ("BacksolveAdjoint", "Euler"),
    ("DirectAdjoint", "Tsit5"),
    ("ImplicitAdjoint", "Euler"),
):
    program(f"a solve of diffrax with {_adjoint}", "diffrax")(functools.partial(diffrax_solve, _adjoint, _solver))


@program("a solve of diffrax in as many steps as it takes", "diffrax")
def diffrax_adaptive_solve() -> LibraryProgram:
    import diffrax

    def solve(y: Any, decay: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, decay: -decay * y**3),
            diffrax.Heun(),
            t0=0.0,
            t1=1.0,
            dt0=0.5,
            y0=y,
            args=decay,
            max_steps=64,
            stepsize_controller=diffrax.PIDController(rtol=1e-2, atol=1e-2),
        )
        return solution.ys, solution.stats["num_steps"]

    return LibraryProgram(solve, (normal(3), jnp.float32(0.7)), (0, 1))


@program("a whole solution of diffrax", "diffrax")
def diffrax_solution() -> LibraryProgram:
    import diffrax

    def solve(y: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: -(y**3)),
            diffrax.Heun(),
            t0=0.0,
            t1=1.0,
            dt0=0.5,
            y0=y,
            max_steps=4,
            throw=False,
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
        )

    return LibraryProgram(solve, (normal(3),))


@program("a solve of diffrax by an implicit method", "diffrax")
def diffrax_implicit() -> LibraryProgram:
    import diffrax

    def solve(y: Any, decay: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, decay: -decay * y**3 + jnp.sin(y[::-1])),
            diffrax.Kvaerno3(),
            t0=0.0,
            t1=1.0,
            dt0=0.25,
            y0=y,
            args=decay,
            max_steps=32,
            stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3),
        )
        return solution.ys

    return LibraryProgram(solve, (normal(3), jnp.float32(0.7)), (0, 1))


@program("a function that Equinox compiles apart", "equinox")
def equinox_noinline() -> LibraryProgram:
    import equinox.internal

    scaled = equinox.internal.noinline(lambda x, y: jnp.sin(x) * y)

    def body(x: Any, y: Any) -> Any:
        return jax.lax.cond(x[0] > y[0], lambda: scaled(x, y), lambda: x * y), x[1]

    def loop(x: Any, ys: Any) -> Any:
        return jax.lax.scan(body, scaled(x, ys[0]), ys)

    return LibraryProgram(loop, (normal(3), normal(2, 3)), (0, 1))


@program("a module of Equinox that is made of numbers", "equinox", "optax")
def equinox_made() -> LibraryProgram:
    import equinox
    import optax

    def make(scale: Any) -> Any:
        made = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
        arrays = jax.tree.map(lambda leaf: leaf * scale, equinox.filter(made, equinox.is_array))
        return arrays, optax.adam(1e-3).init(arrays)

    return LibraryProgram(make, (jnp.float32(0.5),))


@program("states of Flax that are made of numbers", "flax")
def flax_made() -> LibraryProgram:
    from flax import nnx
    from flax.core import FrozenDict

    def make(scale: Any) -> Any:
        state = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        return jax.tree.map(lambda leaf: leaf * scale, state), FrozenDict(scale=scale, old={"scale": scale * 2})

    return LibraryProgram(make, (jnp.float32(0.5),))


@program("checks of Equinox at run time", "equinox")
def equinox_checks() -> LibraryProgram:
    import equinox

    def checked(x: Any) -> Any:
        x = equinox.error_if(x, jnp.any(x > 100), "too large")
        return equinox.error_if(jnp.sin(x) * x, x[0] > 9, "too large in the first place")

    return LibraryProgram(checked, (normal(3),))


@program("a root of optimistix", "optimistix")
def optimistix_root() -> LibraryProgram:
    import optimistix

    def root(guess: Any, cube: Any) -> Any:
        solver = optimistix.Newton(rtol=1e-5, atol=1e-5)
        return optimistix.root_find(
            lambda y, cube: y**3 - cube, solver, guess, args=cube, throw=False, max_steps=20
        ).value

    return LibraryProgram(root, (jnp.array([1.0, 2.0, 3.0]), jnp.float32(0.7)), (1,))


@program("a network of neurons with branches of jaxley", "jaxley")
def jaxley_network() -> LibraryProgram:
    import jaxley
    from jaxley.channels import HH
    from jaxley.connect import connect
    from jaxley.synapses import IonotropicSynapse

    branch = jaxley.Branch(jaxley.Compartment(), ncomp=2)
    cell = jaxley.Cell(branch, parents=[-1, 0, 0])
    net = jaxley.Network([cell, cell])
    net.insert(HH())
    here, there = net.cell(0).branch(0).comp(0), net.cell(1).branch(1).comp(0)
    connect(here, there, IonotropicSynapse())
    there.record(verbose=False)
    net.make_trainable("IonotropicSynapse_gS", verbose=False)
    net.cell("all").make_trainable("radius", verbose=False)

    def voltages(params: Any, current: Any) -> Any:
        stimuli = here.data_stimulate(current)
        return jaxley.integrate(net, params=params, data_stimuli=stimuli, delta_t=0.025, checkpoint_lengths=[4, 5])

    return LibraryProgram(voltages, (net.get_parameters(), jnp.abs(normal(20))), (0, 1))


def register_solve(solver: str, *settings: float) -> None:
    """Register a solve of lineax."""

    @program(f"a solve by {solver} of lineax", "lineax")
    def lineax_solve() -> LibraryProgram:
        import lineax

        square = 0.3 * normal(4, 4) + 4 * jnp.eye(4)

        def solve(matrix: Any, vector: Any) -> Any:
            operator: Any = lineax.MatrixLinearOperator(matrix)
            if solver == "Diagonal":
                operator = lineax.DiagonalLinearOperator(jnp.diagonal(matrix))
            elif solver == "Tridiagonal":
                diagonals = [jnp.diagonal(matrix, place) for place in (0, -1, 1)]
                operator = lineax.TridiagonalLinearOperator(*diagonals)
            elif solver in ("Cholesky", "CG"):
                operator = lineax.MatrixLinearOperator(matrix @ matrix.T, lineax.positive_semidefinite_tag)
            return lineax.linear_solve(operator, vector, getattr(lineax, solver)(*settings), throw=False).value

        return LibraryProgram(solve, (normal(4, 3) if solver in ("QR", "SVD") else square, normal(4)), (0, 1))


for name, *tolerances in (
    ("LU",),
    ("QR",),
    ("SVD",),
    ("Cholesky",),
    ("Diagonal",),
    ("Tridiagonal",),
    ("CG", 1e-4, 1e-4),
    ("GMRES", 1e-4, 1e-4),
):
    register_solve(name, *tolerances)
