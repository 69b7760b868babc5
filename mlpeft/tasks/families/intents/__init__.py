"""Intents: N-way K-shot episodes of labelled text."""
