"""Learning plans to JAX functions."""
