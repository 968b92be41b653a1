"""What the rules need to plan jobs. Loads no torch, so that `snakemake -n` is quick."""
