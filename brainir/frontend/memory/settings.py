"""What JAX is set to."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["settings"]

_SETTINGS = (
    "eager_constant_folding",
    "jax2tf_associative_scan_reductions",
    "jax_auto_pcast",
    "jax_bcoo_cusparse_lowering",
    "jax_check_static_indices",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_disable_bwd_checks",
    "jax_disable_jit",
    "jax_enable_custom_prng",
    "jax_enable_x64",
    "jax_error_checking_behavior_divide",
    "jax_error_checking_behavior_nan",
    "jax_error_checking_behavior_oob",
    "jax_explicit_x64_dtypes",
    "jax_high_dynamic_range_gumbel",
    "jax_legacy_prng_key",
    "jax_mutable_array_checks",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_random_seed_offset",
    "jax_refs_to_pins",
    "jax_remove_size_one_mesh_axis_from_type",
    "jax_softmax_custom_jvp",
    "jax_threefry_partitionable",
    "jax_use_direct_linearize",
    "jax_use_simplified_jaxpr_constants",
)


def settings() -> tuple[Any, ...]:
    """Return what JAX is set to, as far as what it traces for a program depends on that; hashable."""
    return tuple([getattr(jax.config, name, None) for name in _SETTINGS])
