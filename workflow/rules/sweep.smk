"""The search for learning rates: `snakemake sweep`. It reads validation only, on a seed of its own."""

SWEPT = [
    f"{dataset}/{method}@{rate:g}/{SETTINGS.sweep.seed}"
    for method, rates in SETTINGS.sweep.learning_rates.items()
    for rate in rates
    for dataset in SETTINGS.matrix.datasets
]


rule sweep:
    input:
        cells=[LAYOUT.checkpoint(cell) / "cell.json" for cell in SWEPT],
        code=code("report/sweep"),
    output:
        multiext(f"{LAYOUT.results}/sweep/learning_rates", ".csv", ".md"),
    message:
        "table of the sweep"
    shell:
        "crossmodal-peft sweep {input.cells} --out {LAYOUT.results}/sweep/learning_rates"
