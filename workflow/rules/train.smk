"""Training of one cell."""


def cell_of(wildcards):
    """The settings of a cell: what a change must touch for the cell to be trained again."""
    return settings_of_cell(SETTINGS, wildcards.dataset, wildcards.method, int(wildcards.seed))


rule train:
    input:
        lambda w: LAYOUT.manifests(w.dataset).values(),
        lambda w: [path for paths in LAYOUT.arrays(cell_of(w)).values() for path in paths.values()],
        lambda w: [folder / RECEIPT for folder in LAYOUT.folders(cell_of(w).encoder_names).values()],
        # metrics.py is left out: of it, training uses hit@K alone, so that a new metric trains nothing.
        code(
            "train",
            "step",
            "processes",
            "state",
            "determinism",
            "optimization",
            "losses",
            "towers",
            "embed",
            "examples",
            "galleries",
            "checkpoint",
            "hardware",
        ),
        code(
            "budget",
            "export",
            "encoder",
            "attention",
            "pooling",
            "evaluate",
            "ranking",
            "relevance",
            "counting",
            "scoring",
            "screening",
        ),
        lambda w: [file for name in parts(w.dataset) for file in family_code(name)],
        lambda w: code(f"methods/{cell_of(w).tuning.kind}"),
    output:
        multiext(
            str(LAYOUT.checkpoint("{dataset}/{method}/{seed}")) + "/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
        LAYOUT.run("{dataset}/{method}/{seed}") / "history.csv",
    threads: SETTINGS.train.threads * SETTINGS.train.processes
    params:
        settings=lambda w: cell_of(w).model_dump_json(),
    message:
        "train {wildcards.dataset}/{wildcards.method}/{wildcards.seed}"
    shell:
        "crossmodal-peft train --settings {params.settings:q} {PATHS} {LIVE}"
