"""The worker: its event loop and its links to a coordinator."""
