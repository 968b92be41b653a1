"""Trained cells in use: embeddings of raw texts, pictures and sounds, and folders that need nothing else."""
