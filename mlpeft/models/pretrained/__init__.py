"""Pretrained encoders and language models from folders, the hub and GGUF files."""
