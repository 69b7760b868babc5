"""The coordinator: its event loop, its server and what it serves."""
