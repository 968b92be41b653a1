"""Aggregation, tables and plots."""

AGGREGATED = [LAYOUT.results / f"{name}.csv" for name in ("quality", "costs", "histories")]
COMPARED = [LAYOUT.results / f"{name}.csv" for name in ("significance", "intervals", "hardest")]
OVERVIEW = [
    LAYOUT.results / "overview.csv",
    *[LAYOUT.results / "metrics" / f"{name}.json" for name in dict.fromkeys(map(os.path.dirname, CELLS))],
]
# Without methods at a budget there are no lines to draw against it.
PLOTS = [
    name
    for name in registry.names("plots")
    if name != "recall_against_budget" or any(SETTINGS.methods[m].budget for m in SETTINGS.matrix.methods)
]
PAPER_SCALE = LAYOUT.results / "paper_scale.csv"


rule aggregate:
    input:
        records=[LAYOUT.run(cell) / "record.json" for cell in CELLS],
        histories=[LAYOUT.run(cell) / "history.csv" for cell in CELLS],
        code=code("aggregate", "files"),
    output:
        AGGREGATED,
    message:
        "aggregate all cells"
    shell:
        "crossmodal-peft aggregate {input.records} {PATHS}"


rule overview:
    input:
        AGGREGATED,
        code("overview"),
    output:
        OVERVIEW,
    message:
        "recall and costs of each method"
    shell:
        "crossmodal-peft overview {PATHS}"


rule compare_methods:
    input:
        queries=[LAYOUT.checkpoint(cell) / "queries.parquet" for cell in CELLS],
        manifests=[LAYOUT.manifest(name) for dataset in SETTINGS.matrix.datasets for name in parts(dataset)],
        code=code("comparison", "hardest", "statistics"),
    output:
        COMPARED,
    message:
        "compare the methods"
    shell:
        "crossmodal-peft compare-all {input.queries} {PATHS}"


rule count_at_paper_scale:
    input:
        code("parameters", "budget", "encoder", "towers"),
        code(*sorted({f"methods/{tuning.kind}" for tuning in SETTINGS.methods.values()})),
    output:
        PAPER_SCALE,
    params:
        settings=json.dumps(
            {
                "methods": {
                    name: tuning.model_dump(mode="json") for name, tuning in SETTINGS.methods.items()
                },
                "encoders": {
                    m: SETTINGS.encoders[name].model_dump(mode="json")
                    for m, name in SETTINGS.paper_scale.items()
                },
                "width": SETTINGS.train.embedding_width,
            }
        ),
    message:
        "count parameters at the paper's scale"
    shell:
        "crossmodal-peft count --settings {params.settings:q} {PATHS}"


rule table:
    input:
        AGGREGATED,
        COMPARED,
        PAPER_SCALE,
        lambda w: code(f"tables/{w.name}", "tables/__init__", "render", "aggregate", "files"),
    output:
        multiext(f"{LAYOUT.results}/tables/{{name}}", ".csv", ".md", ".tex"),
    message:
        "table {wildcards.name}"
    shell:
        "crossmodal-peft table {wildcards.name} {PATHS}"


rule plot:
    input:
        AGGREGATED,
        COMPARED,
        PAPER_SCALE,
        lambda w: code(f"plots/{w.name}", "plots/__init__", "render", "aggregate", "files"),
    output:
        multiext(f"{LAYOUT.results}/plots/{{name}}", ".png", ".svg"),
    message:
        "plot {wildcards.name}"
    shell:
        "crossmodal-peft plot {wildcards.name} {PATHS}"
