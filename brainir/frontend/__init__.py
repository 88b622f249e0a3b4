"""JAX functions and brainstate modules to programs. The only layer that reads jaxprs."""
