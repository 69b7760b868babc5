"""Colour images of few-shot papers: their archives, and the file made of them."""
