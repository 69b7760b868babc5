"""Models that are meta-learned, their losses and their operations."""
