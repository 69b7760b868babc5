"""Data sets: a catalogue, finding, fetching, reading and verifying their files."""
