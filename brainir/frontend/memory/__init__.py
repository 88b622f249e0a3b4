"""What lowering remembers from program to program."""
