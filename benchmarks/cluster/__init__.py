"""Measures the cluster: python -m benchmarks.cluster."""
