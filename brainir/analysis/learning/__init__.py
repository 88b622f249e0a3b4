"""What online learning needs to know about a step: weight terms, tails, exits, traces. Data only, without JAX."""
