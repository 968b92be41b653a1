"""Evaluation of one cell."""


rule evaluate:
    input:
        checkpoint=multiext(
            f"{LAYOUT.checkpoint('{dataset}/{method}/{seed}')}/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
    output:
        record=LAYOUT.run("{dataset}/{method}/{seed}") / "record.json",
        queries=LAYOUT.checkpoint("{dataset}/{method}/{seed}") / "queries.parquet",
    log:
        f"{LOGS}/evaluate/{{dataset}}/{{method}}/{{seed}}.log",
    benchmark:
        f"{LOGS}/evaluate/{{dataset}}/{{method}}/{{seed}}.tsv"
    group:
        "evaluate"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        ks=",".join(map(str, SETTINGS.evaluate.ks)),
        code=PLAN.code_of_evaluation,
        paths=PATHS,
    shell:
        "logged {log:q} crossmodal-peft record {wildcards.dataset}/{wildcards.method}/{wildcards.seed}"
        " --ks {params.ks} --paths {params.paths:q}"
