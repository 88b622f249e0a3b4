"""Options with which XLA compiles quickly, for tests in which compiling takes most of the time."""

import functools
from typing import Any

import jax

_WISHES = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@functools.cache
def quick_options() -> dict[str, Any]:
    """Return the options that the installed XLA knows."""
    return {name: value for name, value in _WISHES.items() if _is_known(name, value)}


def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True
