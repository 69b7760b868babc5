"""Finding a coordinator on the local network by DNS-SD (RFC 6763)."""
