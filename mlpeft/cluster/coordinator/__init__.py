"""The coordinator as a state machine."""
