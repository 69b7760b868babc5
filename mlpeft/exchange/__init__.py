"""Writes and reads adapters in the formats of other libraries."""
