"""Benchmark of parameter-efficient fine-tuning methods for text, audio and image retrieval."""
