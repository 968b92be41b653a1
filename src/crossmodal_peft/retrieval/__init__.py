"""Embeddings and relevance → ranks, metrics, statistics; knows no model and no file of a run."""
