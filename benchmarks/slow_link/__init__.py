"""Rounds through a slow link: python -m benchmarks.slow_link."""
