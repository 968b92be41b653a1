"""The learning-rate search: `snakemake sweep`. It looks only at validation, and uses a seed of its own."""


rule sweep:
    input:
        cells=[LAYOUT.checkpoint(cell) / "cell.json" for cell in PLAN.swept],
    output:
        tables=multiext(f"{LAYOUT.results}/sweep/learning_rates", ".csv", ".md"),
    log:
        f"{LOGS}/sweep.log",
    benchmark:
        f"{LOGS}/sweep.tsv"
    params:
        code=code("sweep"),
        stem=lambda w, output: os.path.splitext(output.tables[0])[0],
    message:
        "table of the sweep"
    shell:
        "logged {log:q} crossmodal-peft sweep {input.cells:q} --out {params.stem:q}"
