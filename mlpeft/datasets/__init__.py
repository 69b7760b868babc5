"""Data sets: what there is, where it lies, how it gets there and whether it is whole."""
