"""Primitives that other packages define: what computes them, their derivative, transpose and batching rules."""
