"""Small models of every kind that mlx-lm knows, and what is tried on them."""
