"""Training of one cell."""


def cell_of(wildcards):
    """The settings of a job's cell."""
    return cell_named(f"{wildcards.dataset}/{wildcards.method}/{wildcards.seed}")


def group_of(wildcards):
    """Trainings of projections alone take seconds: a cluster runs many as one job. The others are alone."""
    name = wildcards.method.partition("@")[0]
    return "frozen" if SETTINGS.methods[name].kind == "frozen" else None


# metrics.py is left out: of it, training uses hit@K alone, so that a new metric trains nothing.
TRAINING = [
    *(
        "training/loop",
        "training/step",
        "training/distributed",
        "training/state",
        "training/determinism",
        "training/optimizer",
        "training/losses/__init__",
        "models/dual_encoder",
        "training/embed",
    ),
    *(
        "training/bucketing",
        "data/arrays",
        "retrieval/embeddings",
        "models/checkpoint",
        "training/hardware",
        "models/budget",
        "models/export",
        "models/encoder",
    ),
    *(
        "models/attention",
        "models/pooling",
        "training/validation",
    ),
]


@cache
def read_by(dataset, method):
    """The files that a method's training reads, the same for every seed."""
    return inputs_of(cell_named(f"{dataset}/{method}/{SETTINGS.matrix.seeds[0]}"))


def code_of(wildcards):
    """The code of training, of the cell's method and of its encoders."""
    families = [
        f"models/encoders/{encoder.family}"
        for name in parts(wildcards.dataset)
        for encoder in encoders_of(name).values()
    ]
    method = f"models/methods/{cell_of(wildcards).tuning.kind}"
    return fingerprint(*TRAINING, method, *sorted(set(families)))


rule train:
    input:
        lambda w: read_by(w.dataset, w.method),
    output:
        multiext(
            str(LAYOUT.checkpoint("{dataset}/{method}/{seed}")) + "/",
            "weights.safetensors",
            "embeddings.safetensors",
            "cell.json",
        ),
        LAYOUT.run("{dataset}/{method}/{seed}") / "history.csv",
    group:
        group_of
    threads: SETTINGS.train.threads * SETTINGS.train.processes
    resources:
        mem_mb=growing(4000 * SETTINGS.train.processes),
        runtime=growing(240),
        gpu=SETTINGS.train.processes,
    params:
        settings=lambda w: cell_of(w).model_dump_json(),
        code=code_of,
    shell:
        "crossmodal-peft train --settings {params.settings:q} {PATHS} {LOGGING}"
