"""From raw files to manifests and memory-mapped arrays; a reader each for tables, pictures, sound, video."""
