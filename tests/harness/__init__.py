"""JAX's own primitive harness, taken through brainir: ``python -m tests.harness --help``."""
