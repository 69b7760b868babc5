"""Reports: what was trained on what, how well it learns, and how to repeat it."""
