"""Aggregation, tables, plots, the summary in words, and the pages of the report."""

AGGREGATED = [LAYOUT.results / f"{name}.csv" for name in ("quality", "costs", "histories", "provenance")]
COMPARED = [LAYOUT.results / f"{name}.csv" for name in ("significance", "intervals", "hardest")]
OVERVIEW = [
    LAYOUT.results / "overview.csv",
    *[
        LAYOUT.results / "metrics" / f"{name}.json"
        for name in dict.fromkeys(map(os.path.dirname, PLAN.cells))
    ],
]
PAPER_SCALE = LAYOUT.results / "paper_scale.csv"


rule aggregate:
    input:
        records=lambda w: [f"{LAYOUT.run(cell)}/record.json" for cell in PLAN.cells],
        histories=lambda w: [f"{LAYOUT.run(cell)}/history.csv" for cell in PLAN.cells],
    output:
        tables=AGGREGATED,
    log:
        f"{LOGS}/aggregate.log",
    benchmark:
        f"{LOGS}/aggregate.tsv"
    params:
        code=code("aggregate"),
        paths=PATHS,
    message:
        "aggregate all cells"
    shell:
        "logged {log:q} crossmodal-peft aggregate {input.records:q} --paths {params.paths:q}"


rule overview:
    input:
        aggregated=AGGREGATED,
    output:
        metrics=OVERVIEW,
    log:
        f"{LOGS}/overview.log",
    benchmark:
        f"{LOGS}/overview.tsv"
    params:
        code=code("overview"),
        paths=PATHS,
    message:
        "recall and costs of each method"
    shell:
        "logged {log:q} crossmodal-peft overview --paths {params.paths:q}"


rule compare_methods:
    input:
        queries=lambda w: [f"{LAYOUT.checkpoint(cell)}/queries.parquet" for cell in PLAN.cells],
        manifests=[LAYOUT.manifest(name) for dataset in SETTINGS.matrix.datasets for name in parts(dataset)],
    output:
        tables=COMPARED,
    log:
        f"{LOGS}/compare_methods.log",
    benchmark:
        f"{LOGS}/compare_methods.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("compare_methods"),
        paths=PATHS,
    message:
        "compare the methods"
    shell:
        "logged {log:q} crossmodal-peft compare-all {input.queries:q} --paths {params.paths:q}"


rule count_at_paper_scale:
    output:
        table=PAPER_SCALE,
    log:
        f"{LOGS}/count_at_paper_scale.log",
    benchmark:
        f"{LOGS}/count_at_paper_scale.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        compared=compared(PLAN.counting()),
        code=PLAN.code_of_counts(),
        settings=uncompared(lambda w: as_json(PLAN.counting())),
        paths=PATHS,
    message:
        "count parameters at the paper's scale"
    shell:
        "logged {log:q} crossmodal-peft count --settings {params.settings:q} --paths {params.paths:q}"


rule table:
    input:
        aggregated=AGGREGATED,
        compared=COMPARED,
        paper_scale=PAPER_SCALE,
    output:
        table=multiext(f"{LAYOUT.results}/tables/{{name}}", ".csv", ".md", ".tex"),
    log:
        f"{LOGS}/table/{{name}}.log",
    benchmark:
        f"{LOGS}/table/{{name}}.tsv"
    params:
        code=lambda w: code("table", f"tables/{w.name}"),
        paths=PATHS,
    message:
        "table {wildcards.name}"
    shell:
        "logged {log:q} crossmodal-peft table {wildcards.name} --paths {params.paths:q}"


rule plot:
    input:
        aggregated=AGGREGATED,
        compared=COMPARED,
        paper_scale=PAPER_SCALE,
    output:
        png=report(
            f"{LAYOUT.results}/plots/{{name}}.png",
            caption="../report/variant.rst",
            category="Plots",
            labels={"plot": "{name}"},
        ),
        svg=f"{LAYOUT.results}/plots/{{name}}.svg",
    log:
        f"{LOGS}/plot/{{name}}.log",
    benchmark:
        f"{LOGS}/plot/{{name}}.tsv"
    params:
        code=lambda w: code("plot", f"plots/{w.name}"),
        description=uncompared(lambda w: plugins.description("plots", w.name)),
        paths=PATHS,
    message:
        "plot {wildcards.name}"
    shell:
        "logged {log:q} crossmodal-peft plot {wildcards.name} --paths {params.paths:q}"


rule summary:
    input:
        aggregated=AGGREGATED,
        compared=COMPARED,
    output:
        summary=LAYOUT.results / "summary.md",
    log:
        f"{LOGS}/summary.log",
    benchmark:
        f"{LOGS}/summary.tsv"
    params:
        code=code("summary"),
        paths=PATHS,
    message:
        "summary in words"
    shell:
        "logged {log:q} crossmodal-peft summary --paths {params.paths:q}"


rule page:
    input:
        markdown=lambda w: LAYOUT.results / ("summary.md" if w.name == "summary" else f"tables/{w.name}.md"),
    output:
        page=report(
            f"{LAYOUT.results}/pages/{{name}}.html",
            caption="../report/variant.rst",
            category=lambda w: "Summary" if w.name == "summary" else "Tables",
            labels={"table": "{name}"},
        ),
    log:
        f"{LOGS}/page/{{name}}.log",
    benchmark:
        f"{LOGS}/page/{{name}}.tsv"
    params:
        code=code("page"),
        description=uncompared(lambda w: PLAN.description(w.name)),
    message:
        "page {wildcards.name}"
    shell:
        "logged {log:q} crossmodal-peft page {input.markdown:q} {output.page:q}"


rule settings_page:
    output:
        page=report(
            f"{LAYOUT.results}/pages/settings.html",
            caption="../report/variant.rst",
            category="Settings",
            labels={"table": "settings"},
        ),
    log:
        f"{LOGS}/settings_page.log",
    benchmark:
        f"{LOGS}/settings_page.tsv"
    params:
        code=code("settings_page"),
        description=uncompared(
            lambda w: "The settings in force: params.yaml with its overlays, defaults included."
        ),
        settings=SETTINGS.model_dump_json(),
    message:
        "page of the settings"
    shell:
        "logged {log:q} crossmodal-peft settings-page {output.page:q} --settings {params.settings:q}"


ruleorder: settings_page > page
