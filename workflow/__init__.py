"""What Snakemake reads beside the Snakefile: rules, overlays, profiles, and what they need to plan."""
