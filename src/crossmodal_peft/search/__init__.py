"""Search index over a trained cell's items, and the queries to it."""
