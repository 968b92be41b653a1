"""Settings from params.yaml, the file layout, and variants by name. Does not load torch."""
