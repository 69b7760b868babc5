"""Classifiers over HTTP: many adapters over one base, one thread that computes."""
