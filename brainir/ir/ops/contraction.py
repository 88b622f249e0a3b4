"""Schemas of sums of products."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import Model
from ..node import Node, Traits
from .sharding import Sharding
from .traits import Ints

DimensionNumbers = tuple[tuple[Ints, Ints], tuple[Ints, Ints]]


class DotAlgorithm(Model):
    """How a product is computed, part by part (``jax.lax.DotAlgorithm``)."""

    lhs_precision_type: str
    rhs_precision_type: str
    accumulation_type: str
    lhs_component_count: int = 1
    rhs_component_count: int = 1
    num_primitive_operations: int = 1
    allow_imprecise_accumulation: bool = False


Precision = str | tuple[str, str] | DotAlgorithm | None
"""A ``jax.lax.Precision`` by name, one for each operand, a ``jax.lax.DotAlgorithmPreset`` by name, or an algorithm."""


class DotGeneral(Node):
    """Sum of products over the contracting axes; batch axes come first in the result."""

    op: Literal["dot_general"] = "dot_general"
    dimension_numbers: DimensionNumbers
    precision: Precision = None
    preferred_element_type: str | None = None
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))


class RaggedDotNumbers(Model):
    """Which axes a ragged product relates (``jax.lax.RaggedDotDimensionNumbers``)."""

    dot_dimension_numbers: DimensionNumbers
    lhs_ragged_dimensions: Ints
    rhs_group_dimensions: Ints


class RaggedDotGeneral(Node):
    """Products of groups of rows of unequal size; the third operand holds the sizes."""

    op: Literal["ragged_dot_general"] = "ragged_dot_general"
    ragged_dot_dimension_numbers: RaggedDotNumbers
    precision: Precision = None
    preferred_element_type: str | None = None
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))


class ScaledDot(Node):
    """Sum of products of operands of few bits, each times its scale (``jax.lax.scaled_dot``).

    The third and fourth operand scale the first and second; one scale is for a block along a contracting axis.
    """

    op: Literal["scaled_dot"] = "scaled_dot"
    dimension_numbers: DimensionNumbers
    preferred_element_type: str
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))


class ConvNumbers(Model):
    """Which axes of input, kernel and result are batch, feature and space (``jax.lax.ConvDimensionNumbers``)."""

    lhs_spec: Ints
    rhs_spec: Ints
    out_spec: Ints


class ConvGeneralDilated(Node):
    """A convolution (as a correlation) of an input with a kernel."""

    op: Literal["conv_general_dilated"] = "conv_general_dilated"
    dimension_numbers: ConvNumbers
    window_strides: Ints
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: Ints
    rhs_dilation: Ints
    feature_group_count: int = 1
    batch_group_count: int = 1
    precision: Precision = None
    preferred_element_type: str | None = None
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))


class Fft(Node):
    """A discrete Fourier transform over the last axes: ``FFT``, ``IFFT``, ``RFFT`` or ``IRFFT``."""

    op: Literal["fft"] = "fft"
    fft_type: Literal["FFT", "IFFT", "RFFT", "IRFFT"]
    fft_lengths: Ints
    family_traits: ClassVar[Traits] = Traits(linear=(0,))
