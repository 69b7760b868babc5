"""Data sets: what there is, where it lies, how it gets there, whether it is whole."""
