"""What lowering remembers from program to program, and the keys it is found by."""
