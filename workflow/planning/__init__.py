"""What the rules need for planning jobs. Loads no torch, so that `snakemake -n` is quick."""
