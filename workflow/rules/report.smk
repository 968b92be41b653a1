"""Aggregation, tables, plots, the summary in words, and the pages of the report."""

AGGREGATED = [LAYOUT.results / f"{name}.csv" for name in ("quality", "costs", "histories", "provenance")]
COMPARED = [LAYOUT.results / f"{name}.csv" for name in ("significance", "intervals", "hardest")]
OVERVIEW = [
    LAYOUT.results / "overview.csv",
    *[LAYOUT.results / "metrics" / f"{name}.json" for name in dict.fromkeys(map(os.path.dirname, CELLS))],
]
# Without methods at a budget there are no lines to draw against it.
PLOTS = [
    name
    for name in plugins.names("plots")
    if name != "recall_against_budget" or any(SETTINGS.methods[m].budget for m in SETTINGS.matrix.methods)
]
PAPER_SCALE = LAYOUT.results / "paper_scale.csv"


rule aggregate:
    input:
        records=lambda w: [f"{LAYOUT.run(cell)}/record.json" for cell in CELLS],
        histories=lambda w: [f"{LAYOUT.run(cell)}/history.csv" for cell in CELLS],
        code=code("report/aggregate", "files"),
    output:
        AGGREGATED,
    message:
        "aggregate all cells"
    shell:
        "crossmodal-peft aggregate {input.records} {PATHS}"


rule overview:
    input:
        AGGREGATED,
        code("report/dvc_metrics"),
    output:
        OVERVIEW,
    message:
        "recall and costs of each method"
    shell:
        "crossmodal-peft overview {PATHS}"


rule compare_methods:
    input:
        queries=lambda w: [f"{LAYOUT.checkpoint(cell)}/queries.parquet" for cell in CELLS],
        manifests=[LAYOUT.manifest(name) for dataset in SETTINGS.matrix.datasets for name in parts(dataset)],
        code=code("retrieval/compare", "retrieval/hard_queries", "retrieval/statistics"),
    output:
        COMPARED,
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    message:
        "compare the methods"
    shell:
        "crossmodal-peft compare-all {input.queries} {PATHS}"


rule count_at_paper_scale:
    input:
        code("models/budget", "models/budget", "models/encoder", "models/dual_encoder"),
        code(*sorted({f"models/methods/{tuning.kind}" for tuning in SETTINGS.methods.values()})),
    output:
        PAPER_SCALE,
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
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
                "width": SETTINGS.train.projection_dim,
                "scalars": len(SETTINGS.train.loss.scalars),
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
        lambda w: code(
            f"report/tables/{w.name}", "report/tables/__init__", "report/render", "report/aggregate", "files"
        ),
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
        lambda w: code(
            f"report/plots/{w.name}", "report/plots/__init__", "report/render", "report/aggregate", "files"
        ),
    output:
        report(
            f"{LAYOUT.results}/plots/{{name}}.png",
            caption="../report/variant.rst",
            category="Plots",
            labels={"plot": "{name}"},
        ),
        f"{LAYOUT.results}/plots/{{name}}.svg",
    params:
        description=lambda w: plugins.description("plots", w.name),
    message:
        "plot {wildcards.name}"
    shell:
        "crossmodal-peft plot {wildcards.name} {PATHS}"


rule summary:
    input:
        AGGREGATED,
        COMPARED,
        code("report/summary", "report/aggregate", "report/plots/recall_against_parameters"),
    output:
        LAYOUT.results / "summary.md",
    message:
        "summary in words"
    shell:
        "crossmodal-peft summary {PATHS}"


rule page:
    input:
        lambda w: LAYOUT.results / ("summary.md" if w.name == "summary" else f"tables/{w.name}.md"),
        code("report/html"),
    output:
        report(
            f"{LAYOUT.results}/pages/{{name}}.html",
            caption="../report/variant.rst",
            category=lambda w: "Summary" if w.name == "summary" else "Tables",
            labels={"table": "{name}"},
        ),
    params:
        description=lambda w: (
            "What the tables say, in words, with its certainty."
            if w.name == "summary"
            else plugins.description("tables", w.name)
        ),
    message:
        "page {wildcards.name}"
    shell:
        "crossmodal-peft page {input[0]} {output}"


rule settings_page:
    input:
        code("report/html"),
    output:
        report(
            f"{LAYOUT.results}/pages/settings.html",
            caption="../report/variant.rst",
            category="Settings",
            labels={"table": "settings"},
        ),
    params:
        description="The settings in force: params.yaml with its overlays, defaults included.",
        settings=SETTINGS.model_dump_json(),
    message:
        "page of the settings"
    shell:
        "crossmodal-peft settings-page {output} --settings {params.settings:q}"


ruleorder: settings_page > page
