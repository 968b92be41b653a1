"""Evaluation of one cell."""

EVALUATION = [
    *("evaluate", "galleries", "metrics", "nearest", "ranking", "relevance", "statistics", "counting"),
    *("scoring", "screening"),
]


rule evaluate:
    input:
        multiext(
            str(LAYOUT.checkpoint("{dataset}/{method}/{seed}")) + "/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
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
        code=fingerprint(*EVALUATION),
    shell:
        "crossmodal-peft record {wildcards.dataset}/{wildcards.method}/{wildcards.seed} --ks {params.ks} {PATHS}"
