"""From raw files to manifests and memory-mapped arrays: readers for tables, images, audio and video."""
