"""Index of a trained cell's items, and queries to it."""
