"""Does meta-learning pay? See `__main__`."""
