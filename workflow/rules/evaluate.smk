"""Evaluation of one cell."""

EVALUATION = [
    *(
        "retrieval/evaluate",
        "retrieval/embeddings",
        "retrieval/conditions",
        "retrieval/metric_entry",
        "retrieval/metrics",
        "retrieval/ties",
        "retrieval/topk",
        "retrieval/ranks",
        "retrieval/relevance",
        "retrieval/statistics",
        "retrieval/exact",
    ),
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
