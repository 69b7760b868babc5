"""Finding a coordinator on the local network by DNS-SD (RFC 6763), without set-up.

What is found is a hint, never a proof: anybody on the network can announce anything.
Who is trusted is decided as for an address that a person typed: by certificates.
"""
