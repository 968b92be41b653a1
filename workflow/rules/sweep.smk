"""The search for the head's settings and for learning rates: `snakemake sweep` and `snakemake tune_head`.

Both look only at validation, and use a seed of their own.
"""

SWEEP = LAYOUT.results / "sweep"


rule tune_head:
    input:
        read=[path for cell in PLAN.tried_heads for path in PLAN.read_by(cell)],
    output:
        tables=multiext(f"{SWEEP}/head", ".csv", ".md"),
    log:
        f"{LOGS}/tune_head.log",
    benchmark:
        f"{LOGS}/tune_head.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        compared=compared({"cells": PLAN.tried_heads, "grid": SETTINGS.sweep.head.values}),
        code=PLAN.code_of_head_search,
        settings=uncompared(
            lambda w: as_json({"cells": PLAN.tried_heads, "grid": SETTINGS.sweep.head.values})
        ),
        stem=lambda w, output: os.path.splitext(output.tables[0])[0],
        paths=PATHS,
    message:
        "try settings of the head"
    shell:
        "logged {log} crossmodal-peft tune-head --settings {params.settings:q} --out {params.stem}"
        " --paths {params.paths:q}"


rule sweep:
    input:
        cells=[LAYOUT.checkpoint(cell) / "cell.json" for cell in PLAN.swept],
    output:
        tables=multiext(f"{SWEEP}/learning_rates", ".csv", ".md"),
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
