"""Settings from params.yaml, where files stand, variants by name. Loads no torch."""
