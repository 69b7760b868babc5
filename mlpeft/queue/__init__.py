"""Runs that wait for their turn, in a folder that outlives every process."""
