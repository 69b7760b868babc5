"""Tasks: what an episode is drawn from, and everything up to the episode."""
