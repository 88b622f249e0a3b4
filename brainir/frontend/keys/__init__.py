"""What Python functions and values compute, as keys that are equal where that is the same."""
