"""Data: types, values, node schemas, programs, verifier, printer, JSON and fingerprints. Imports no JAX."""
