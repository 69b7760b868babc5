"""The kinds of language models that mlx-lm knows: small ones, and what is tried on them."""
