"""Training of one cell."""


def cell_of(wildcards):
    """The settings of a job's cell."""
    return cell_named(f"{wildcards.dataset}/{wildcards.method}/{wildcards.seed}")


def group_of(wildcards):
    """Trainings of projections alone take seconds: a cluster runs many as one job. The others are alone."""
    name = wildcards.method.partition("@")[0]
    return "frozen" if SETTINGS.methods[name].kind == "frozen" else None


@cache
def read_by(dataset, method, seed):
    """Files that a method reads on a dataset, and the code of the method and of the encoders."""
    cell = cell_named(f"{dataset}/{method}/{seed}")
    families = [file for name in parts(dataset) for file in family_code(name)]
    return [*inputs_of(cell), *families, *code(f"methods/{cell.tuning.kind}")]


rule train:
    input:
        # They are the same for every seed, and looked up once.
        lambda w: read_by(w.dataset, w.method, SETTINGS.matrix.seeds[0]),
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
            "lengths",
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
    message:
        "train {wildcards.dataset}/{wildcards.method}/{wildcards.seed}"
    shell:
        "crossmodal-peft train --settings {params.settings:q} {PATHS} {LIVE}"
