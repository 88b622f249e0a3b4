"""Primitives that public JAX can put into a program and brainir refuses, with the reason and the way out."""

from __future__ import annotations

__all__ = ["REFUSED", "refusal"]

REFUSED: dict[str, tuple[str, ...]] = {
    "it is a kernel of a GPU library and nothing says in other operations what it computes; ask JAX for an"
    " implementation in XLA, as with implementation='xla'": (
        "bias_bwd",
        "bias_fwd",
        "cudnn_fusion",
        "dot_product_attention_bwd_wrapper",
        "dot_product_attention_fp8_bwd_wrapper",
        "dot_product_attention_fp8_fwd_wrapper",
        "dot_product_attention_fwd_wrapper",
        "rnn_bwd",
        "rnn_fwd",
        "scaled_matmul_wrapper",
        "spsolve",
    ),
    "it calls compiled code, which is no JAX program; a file can only name it: lower with keep= and give the operation"
    " with brainir.register_primitive": ("ffi_call",),
    "it calls a program that was exported, of which only StableHLO is left; lower the function that was exported": (
        "call_exported",
    ),
    "it calls a Python function that works on buffers of the device; use jax.pure_callback": ("buffer_callback",),
    "it is a kernel of Pallas, a language of its own; lower a function of JAX operations that computes the same": (
        "core_map",
        "mpmd_map",
        "pallas_call",
    ),
    "it works on a reference that does not live within the function, or where JAX would lose a derivative rule in"
    " taking it out; give the function the value and return the new one": (
        "accum_grad_in_ref",
        "addupdate",
        "create_linear",
        "empty_ref",
        "free_ref",
        "freeze",
        "get",
        "new_ref",
        "pin",
        "run_state",
        "swap",
        "unpin",
    ),
    "it works on tokens, which hold no value; order callbacks with ordered=True": ("after_all", "create_token"),
    "it sends between devices in pairs, which JAX has on GPUs only; use jax.lax.ppermute": ("precv", "psend"),
    "it tells the compiler where or how to run or to lay out, and changes no value; leave it out": (
        "compute_on",
        "custom_partitioning",
        "fused_call",
        "inspect_sharding",
        "layout_constraint",
        "program_order",
        "relayout",
        "shard_alike",
        "with_memory_space_constraint",
        "xla_metadata_call",
        "xla_metadata_value",
    ),
    "it works on sizes that are symbols; lower with numbers": ("dim_as_value", "dimension_size", "shape_assertion"),
    "it is an error check, and a file cannot hold what it raises; lower checkify.checkify(function) without its first"
    " result, which is the error": ("check",),
    "it is a tangent of a function with rules of jax.custom_vjp, which JAX has in reverse mode only; use jax.vjp": (
        "custom_lin",
    ),
    "it is a type of the experimental hijax, which JAX still changes": (
        "box_get",
        "box_set",
        "call_hi_primitive_linearized",
        "log_extend",
        "log_read",
        "new_box",
        "new_log",
    ),
    "it joins or cuts arrays of several hosts; do so outside of the function": (
        "global_array_to_host_local_array",
        "host_local_array_to_global_array",
    ),
    "JAX has it no more since 0.10; leave out custom_dce, and use jax.custom_vjp in place of custom_transpose and"
    " jax.shard_map in place of jax.pmap": (
        "custom_dce_call",
        "custom_transpose_call",
        "dce_sential",
        "pgather",
        "xla_pmap",
    ),
}
"""Reason to names of primitives."""

_REASONS = {name: reason for reason, names in REFUSED.items() for name in names}


def refusal(primitive: str) -> str | None:
    """Return why a primitive is refused; None if nothing special is known of it."""
    return _REASONS.get(primitive)
