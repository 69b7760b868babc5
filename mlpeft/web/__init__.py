"""HTTP servers: protection, and a thread that serves (extras: dashboard, serve)."""
