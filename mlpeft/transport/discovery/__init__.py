"""Discovers coordinators on the local network by DNS-SD (RFC 6763)."""
