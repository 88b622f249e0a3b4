"""Programs to JAX: a callable, and Python source. Both execute the one table in :mod:`brainir.backend.rules`."""
