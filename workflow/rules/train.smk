"""Training of one cell."""


rule train:
    input:
        read=lambda w: PLAN.read_by_seeds(w.dataset, w.method),
    output:
        checkpoint=multiext(
            f"{LAYOUT.checkpoint('{dataset}/{method}/{seed}')}/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
        history=LAYOUT.run("{dataset}/{method}/{seed}") / "history.csv",
    log:
        f"{LOGS}/train/{{dataset}}/{{method}}/{{seed}}.log",
    benchmark:
        f"{LOGS}/train/{{dataset}}/{{method}}/{{seed}}.tsv"
    group:
        PLAN.group
    threads: SETTINGS.train.threads * SETTINGS.train.processes
    resources:
        mem_mb=growing(4000 * SETTINGS.train.processes),
        runtime=growing(240),
        gpu=SETTINGS.train.processes,
    params:
        compared=lambda w: PLAN.training(w.dataset, w.method),
        code=PLAN.code_of_training,
        settings=uncompared(lambda w: PLAN.cell_of(w).model_dump_json()),
        logging=uncompared(lambda w: LOGGING_JSON),
        paths=PATHS,
    shell:
        "logged {log:q} crossmodal-peft train --settings {params.settings:q} --paths {params.paths:q}"
        " --lines --logging {params.logging:q}"
