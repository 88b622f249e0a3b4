"""Weights: where parameters meet data in a step, in control flow too, and which operations that makes."""
