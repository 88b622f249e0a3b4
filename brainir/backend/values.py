"""Literals, constants and types of a program as JAX has them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ..ir.constant import Constant
from ..ir.errors import EmissionError
from ..ir.types import TensorType, literal_type
from ..ir.types import literal_array as stored_literal
from .rules import KEY_IMPLEMENTATIONS

__all__ = ["abstract", "constant_value", "literal_array", "literal_value", "placed", "stored_value"]


_NO_MESH = jax.sharding.Mesh(np.array(None), ())


@functools.lru_cache(maxsize=1 << 12)
def abstract(kind: TensorType) -> jax.ShapeDtypeStruct:
    """Return a type as JAX has it.

    Raises
    ------
    EmissionError
        If it is one of keys that this JAX does not know.
    """
    if kind.is_key:
        name = KEY_IMPLEMENTATIONS[kind.key_tag]
        try:
            keys = jax.eval_shape(functools.partial(jax.random.key, impl=name), 0)
        except ValueError:
            raise EmissionError(f"JAX {jax.__version__} has no keys of {name!r}; use the JAX that has them") from None
        return jax.ShapeDtypeStruct(kind.shape, keys.dtype)
    dtype = jax.dtypes.float0 if kind.dtype == "float0" else kind.storage[0]
    return jax.ShapeDtypeStruct(kind.shape, dtype, weak_type=kind.weak_type)


def placed(spec: jax.ShapeDtypeStruct, like: Any) -> jax.ShapeDtypeStruct:
    """Return an abstract array that is on a mesh as an array or its type is, which may have more axes in front.

    It is divided over the explicit axes of the mesh as that is, and differs between devices along the same manual ones.
    """
    kind = like if isinstance(like, jax.core.ShapedArray) else jax.typeof(like)
    around, sharding = jax.sharding.get_abstract_mesh(), getattr(kind, "sharding", None)
    if sharding is None or sharding.mesh.empty:
        if jax.sharding.AxisType.Manual not in around.axis_types:
            return spec
        sharding = jax.sharding.NamedSharding(around, jax.sharding.PartitionSpec())
    elif len(kind.shape) > len(spec.shape):
        entries = getattr(sharding.spec, "partitions", sharding.spec)  # since JAX 0.10
        left = tuple(entries[len(kind.shape) - len(spec.shape) :])
        sharding = jax.sharding.NamedSharding(sharding.mesh, sharding.spec.update(partitions=left))
    name = "vma" if jax.__version_info__ < (0, 10) else "manual_axis_type"
    mark: Any = {name: getattr(kind, name, None)}
    return jax.ShapeDtypeStruct(spec.shape, spec.dtype, weak_type=spec.weak_type, sharding=sharding, **mark)


def literal_value(operand: str) -> Any:
    """Return a literal as a number, of Python where it has a weak type."""
    value, kind = stored_literal(operand)[()], literal_type(operand)
    if not kind.weak_type:
        return value
    plain = value.item()
    if jnp.result_type(plain) == kind.dtype:
        return plain
    return literal_array(operand)


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Make arrays at once, whatever they hold: a program may have a constant of NaN that nothing runs into.

    They are on no mesh: what runs on automatic axes takes none that are on the explicit axes of a mesh around it.
    """
    with jax.core.eval_context(), jax.debug_nans(False), jax.debug_infs(False):
        if jax.sharding.get_abstract_mesh().empty:
            yield
        else:
            with jax.set_mesh(_NO_MESH):
                yield


def literal_array(operand: str) -> Any:
    """Return a literal as an array."""
    with _unchecked():
        return _array(stored_literal(operand), literal_type(operand))


def _array(stored: np.ndarray[Any, Any], kind: TensorType) -> Any:
    """Return an array as JAX has it; where it is not weakly typed, JAX compiles nothing for that."""
    array = stored_value(jax.device_put(stored), kind)
    if not kind.weak_type:
        return array
    return lax.convert_element_type_p.bind(array, new_dtype=array.dtype, weak_type=True, sharding=None)


def stored_value(array: Any, kind: TensorType) -> Any:
    """Return an array as JAX has it from how it is stored: keys from their words."""
    found = jnp.asarray(array)
    return jax.random.wrap_key_data(found, impl=KEY_IMPLEMENTATIONS[kind.key_tag]) if kind.is_key else found


def constant_value(constant: Constant) -> Any:
    """Return a constant as an array."""
    kind = TensorType.parse(constant.type)
    if kind.dtype == "float0":
        return np.zeros(kind.shape, jax.dtypes.float0)
    with _unchecked():
        return _array(constant.array(), kind)
