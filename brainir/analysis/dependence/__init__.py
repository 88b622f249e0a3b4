"""Position dependence: which positions of a source, such as a hidden state, each element of a value sees."""
