"""Branches, loops, and what JAX wraps around functions."""

import jax
from jax import lax
from jax import numpy as jnp


def _split(values, index):
    """Return the first values and the others, such as the carry and the outputs of a step."""
    return values[:index], values[index:]


def _platform_index(platforms):
    """Return the place of the platform that runs this; None, the last, stands for all others."""
    places = {name: place for place, names in enumerate(platforms) for name in names or ("default",)}
    return lax.platform_dependent(**{name: lambda place=place: jnp.int32(place) for name, place in places.items()})


def _switch(index, branches, *operands):
    """Run the branch of an index that is in range; lax.switch would clamp it first."""
    traced = tuple(jax.make_jaxpr(branch)(*operands) for branch in branches)
    return lax.cond_p.bind(index, *operands, branches=traced)


def _scan(body, consts, init, xs, **options):
    """Run lax.scan with constants of which some are equal; alone, it would add up their gradients in one sum."""
    return lax.scan(lambda carry, xs: body(consts, carry, xs), init, xs, **options)


def _while(proceed, advance, batch):
    """Loop until no member of a batch proceeds; those that do not, stay as they are."""

    def step(batch):
        moves = proceed(batch)

        def advanced(new, old):
            axes = range(moves.ndim)
            return lax.select(lax.broadcast_in_dim(moves, new.shape, axes), new, old)

        return tuple(map(advanced, advance(batch), batch))

    return lax.while_loop(lambda batch: proceed(batch).any(), step, batch)


def _composite(function, name, version):
    """Return a function as a composite; its keywords are the attributes, which only the compiler sees."""
    return lax.composite(lambda *operands, **_: function(*operands), name=name, version=version)


def _on_mesh(function, mesh):
    """Return a function that runs where this abstract mesh is around it."""

    def run(*operands):
        with jax.sharding.use_abstract_mesh(mesh):
            return function(*operands)

    return run


def _with_batching(function, rule):
    """Return a function that is batched by a rule of its own."""
    made = jax.custom_batching.custom_vmap(function)
    made.def_vmap(rule)
    return made
