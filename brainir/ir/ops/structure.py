"""Schemas of operations that move, repeat, drop or make elements."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import Model
from ..node import Node, Traits
from .sharding import Sharding
from .traits import STRUCTURAL, Ints


class BitcastConvertType(Node):
    """Read the same bits as another element type."""

    op: Literal["bitcast_convert_type"] = "bitcast_convert_type"
    new_dtype: str


class BroadcastInDim(Node):
    """Repeat along new axes; operand axis k becomes result axis ``broadcast_dimensions[k]``."""

    op: Literal["broadcast_in_dim"] = "broadcast_in_dim"
    shape: Ints
    broadcast_dimensions: Ints
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = STRUCTURAL


class Reshape(Node):
    """The same elements in row-major order under another shape."""

    op: Literal["reshape"] = "reshape"
    new_sizes: Ints
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = STRUCTURAL


class ReshapeDimensions(Node):
    """The same elements under another shape, read in the order that permuted axes give (``lax.reshape``)."""

    op: Literal["reshape_dimensions"] = "reshape_dimensions"
    new_sizes: Ints
    dimensions: Ints
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class Squeeze(Node):
    """Drop axes of length one."""

    op: Literal["squeeze"] = "squeeze"
    dimensions: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Transpose(Node):
    """Permute the axes."""

    op: Literal["transpose"] = "transpose"
    permutation: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Rev(Node):
    """Reverse the order of elements along axes."""

    op: Literal["rev"] = "rev"
    dimensions: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Slice(Node):
    """A strided block with fixed bounds."""

    op: Literal["slice"] = "slice"
    start_indices: Ints
    limit_indices: Ints
    strides: Ints | None = None
    family_traits: ClassVar[Traits] = STRUCTURAL


class Split(Node):
    """Cut one operand into pieces along an axis."""

    op: Literal["split"] = "split"
    sizes: Ints
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Concatenate(Node):
    """Join operands along an axis."""

    op: Literal["concatenate"] = "concatenate"
    dimension: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Stack(Node):
    """Join operands of one shape along a new axis."""

    op: Literal["stack"] = "stack"
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Unstack(Node):
    """Take one operand apart along an axis, which disappears; one result for each index."""

    op: Literal["unstack"] = "unstack"
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Tile(Node):
    """Repeat the whole operand ``reps[k]`` times along axis k."""

    op: Literal["tile"] = "tile"
    reps: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Pad(Node):
    """Put the second operand around and between the elements of the first: (low, high, interior) for each axis."""

    op: Literal["pad"] = "pad"
    padding_config: tuple[tuple[int, int, int], ...]
    family_traits: ClassVar[Traits] = STRUCTURAL


class Iota(Node):
    """Count 0, 1, 2, ... along one axis."""

    op: Literal["iota"] = "iota"
    dtype: str
    shape: Ints
    dimension: int
    out_sharding: Sharding | None = None


class Empty(Node):
    """An array whose elements nobody has set."""

    op: Literal["empty"] = "empty"
    dtype: str
    shape: Ints
    out_sharding: Sharding | None = None


class PlatformIndex(Node):
    """The place in `platforms` of the platform that runs the program; None, the last, stands for all others."""

    op: Literal["platform_index"] = "platform_index"
    platforms: tuple[tuple[str, ...] | None, ...]


class Iota2x32Shape(Node):
    """The place of each element in row-major order, as two words of 32 bits: the high ones, then the low ones."""

    op: Literal["iota_2x32_shape"] = "iota_2x32_shape"
    shape: Ints


class Device(Model):
    """One device: the platform, such as ``cpu``, and the device's number there."""

    platform: str
    id: int


Target = Device | Sharding | Literal["device", "host"] | None
"""Where ``jax.device_put`` puts an array: a device, a sharding, a memory of the device, or where JAX chooses."""


class DevicePut(Node):
    """Operands as they are, given to ``jax.device_put``; it says where they go and what becomes of their memory.

    ``targets`` says where each operand goes, ``sources`` where it is known to come from, which its transpose needs;
    they are empty if JAX chooses for all.
    """

    op: Literal["device_put"] = "device_put"
    copy_semantics: tuple[Literal["REUSE_INPUT", "ALWAYS_COPY", "DONATE_INPUT"], ...]
    targets: tuple[Target, ...] = ()
    sources: tuple[Target, ...] = ()


class DceSink(Node):
    """Keep an operand from being dropped as unused; there is no result."""

    op: Literal["dce_sink"] = "dce_sink"
    family_traits: ClassVar[Traits] = Traits(effectful=True)
