"""The dashboard over HTTP: pages, events, logins (extra: dashboard)."""
