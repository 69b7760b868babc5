"""Tasks, their families and data, and the sampling of episodes."""
