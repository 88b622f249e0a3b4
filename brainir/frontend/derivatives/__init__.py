"""Derivative rules of `custom_jvp` and `custom_vjp`: which a node has, and how they are traced and lowered."""
