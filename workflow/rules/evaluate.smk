"""Evaluation of one cell."""


rule evaluate:
    input:
        multiext(
            str(LAYOUT.checkpoint("{dataset}/{method}/{seed}")) + "/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
        code("evaluate", "galleries", "metrics", "nearest", "ranking", "relevance", "statistics"),
        code("counting", "scoring", "screening"),
    output:
        LAYOUT.run("{dataset}/{method}/{seed}") / "record.json",
        LAYOUT.checkpoint("{dataset}/{method}/{seed}") / "queries.parquet",
    group:
        "evaluate"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        ks=",".join(map(str, SETTINGS.evaluate.ks)),
    message:
        "evaluate {wildcards.dataset}/{wildcards.method}/{wildcards.seed}"
    shell:
        "crossmodal-peft record {wildcards.dataset}/{wildcards.method}/{wildcards.seed} --ks {params.ks} {PATHS}"
