"""Transfers a run's files from coordinator to worker, as blobs by digest."""
