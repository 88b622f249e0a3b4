"""What a module is given: arrays, devices, and functions of the caller."""

import base64
import math
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ...ir.errors import EmissionError

# A module has tables of its own under these names.
WEIGHTS: dict[str, Any] = {}
EXTERNALS: dict[str, Any] = {}
PRIMITIVES: dict[str, Any] = {}
BATCHING_RULES: dict[str, Any] = {}


def _array(shape, dtype, text):
    """Return an array from the base64 text of its bytes."""
    return jnp.asarray(np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape))


def _stored(shape, dtype, name):
    """Return an array from the file beside this module."""
    return jnp.asarray(np.frombuffer(WEIGHTS[name].tobytes(), dtype=dtype).reshape(shape))


def _mesh(names, sizes, types):
    """Return the mesh around the call if it has this shape, else one of the first devices."""
    kinds = tuple(getattr(jax.sharding.AxisType, kind.capitalize()) for kind in types)
    count, devices = math.prod(sizes), jax.devices()
    around, manual = jax.sharding.get_abstract_mesh(), jax.sharding.AxisType.Manual
    if (tuple(around.axis_names), tuple(around.axis_sizes)) == (names, sizes):
        try:
            with jax.core.eval_context():
                given = jax.sharding.get_mesh()
        except (AttributeError, ValueError):
            given = around
        if all(mine == theirs or theirs != manual for mine, theirs in zip(kinds, around.axis_types, strict=True)):
            return given if given.abstract_mesh == around else around
        if given is not around and given.axis_sizes == sizes:
            devices = [*given.devices.flat]
    if len(devices) < count:
        places = " x ".join(f"{name}={size}" for name, size in zip(names, sizes, strict=True))
        raise EmissionError(
            f"the program runs on a mesh of {count} devices ({places}), and there are {len(devices)}; "
            f"run it on more, or on a CPU with XLA_FLAGS=--xla_force_host_platform_device_count={count}"
        )
    return jax.sharding.Mesh(np.array(devices[:count]).reshape(sizes), names, axis_types=kinds)


def _abstract_mesh(names, sizes, types):
    """Return that mesh without its devices, and with axes of these kinds, whatever they are around the call."""
    if not names:
        return jax.sharding.AbstractMesh((), ())
    kinds = tuple(getattr(jax.sharding.AxisType, kind.capitalize()) for kind in types)
    device = _mesh(names, sizes, types).abstract_mesh.abstract_device
    return jax.sharding.AbstractMesh(sizes, names, axis_types=kinds, abstract_device=device)


def _layout(mesh, *spec, memory_kind=None, **parts):
    """Return how an array lies on a mesh of these names, sizes and kinds of axes."""
    spec = jax.sharding.PartitionSpec(*spec, **parts)
    options = {} if memory_kind is None else {"memory_kind": memory_kind}
    return jax.sharding.NamedSharding(_abstract_mesh(*mesh), spec, **options)


def _external(name):
    """Return a function that the caller has put into EXTERNALS; its result is flat."""
    missing = [name for name, function in EXTERNALS.items() if function is None]
    if missing:
        raise KeyError(f"put functions into EXTERNALS for {missing}")
    return lambda *args, **kwargs: tuple(jax.tree.leaves(EXTERNALS[name](*args, **kwargs)))


def _primitive(name):
    """Return an operation that the caller has put into PRIMITIVES; it returns a tuple."""
    missing = [name for name, function in PRIMITIVES.items() if function is None]
    if missing:
        raise KeyError(f"put functions into PRIMITIVES for {missing}")

    def primitive(*operands, **attributes):
        results = PRIMITIVES[name](*operands, **attributes)
        return tuple(results) if isinstance(results, (tuple, list)) else (results,)

    return primitive


def _batching_rule(name):
    """Return a batching rule that the caller may put into BATCHING_RULES; it gives its results as a tuple."""

    def rule(size, batched, *operands):
        if BATCHING_RULES.get(name) is None:
            raise NotImplementedError(f"BATCHING_RULES has no batching rule {name!r} of this custom_vmap function")
        results, are_batched = BATCHING_RULES[name](size, batched, *operands)
        return tuple(jax.tree.leaves(results)), tuple(jax.tree.leaves(are_batched))

    rule.__name__ = name
    return rule
