"""What Snakemake reads besides the Snakefile: rules, overlays, profiles, and the planning code."""
