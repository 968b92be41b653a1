"""Downloads, prepared arrays and cached activations."""


rule download_dataset:
    input:
        read=lambda w: PLAN.own_tables(w.name),
    output:
        receipt=LAYOUT.dataset("{name}") / RECEIPT,
    log:
        f"{LOGS}/download_dataset/{{name}}.log",
    benchmark:
        f"{LOGS}/download_dataset/{{name}}.tsv"
    retries: 2
    params:
        kind=lambda w: PLAN.of_source(w.name).kind,
        origin=lambda w: as_json(PLAN.of_source(w.name).origin),
        code=lambda w: PLAN.code_of_dataset(w.name),
        paths=PATHS,
    message:
        "download the dataset {wildcards.name}"
    shell:
        "logged {log:q} crossmodal-peft download-dataset {wildcards.name} {params.kind:q}"
        " --settings {params.origin:q} --paths {params.paths:q}"


rule download_encoder:
    input:
        own=lambda w: PLAN.own_files(w.name),
    output:
        receipt=LAYOUT.encoder("{name}") / RECEIPT,
    log:
        f"{LOGS}/download_encoder/{{name}}.log",
    benchmark:
        f"{LOGS}/download_encoder/{{name}}.tsv"
    retries: 2
    params:
        compared=lambda w: compared(SETTINGS.encoders[w.name].source),
        code=lambda w: PLAN.code_of_encoder(w.name),
        settings=uncompared(lambda w: SETTINGS.encoders[w.name].model_dump_json()),
        paths=PATHS,
    message:
        "download the encoder {wildcards.name}"
    shell:
        "logged {log:q} crossmodal-peft download-encoder {wildcards.name}"
        " --settings {params.settings:q} --paths {params.paths:q}"


# One rule per dataset, because the outputs are one array for each modality that the dataset has.
for dataset, data in SETTINGS.datasets.items():

    rule:
        name:
            f"prepare_{dataset}"
        input:
            download=LAYOUT.dataset(data.source) / RECEIPT,
            encoders=[folder / RECEIPT for folder in LAYOUT.folders(data.encoders).values()],
        output:
            manifest=LAYOUT.manifest(dataset),
            arrays=[LAYOUT.activations(dataset, modality, "input") for modality in data.encoders],
        log:
            f"{LOGS}/prepare/{dataset}.log",
        benchmark:
            f"{LOGS}/prepare/{dataset}.tsv"
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
        params:
            dataset=dataset,
            compared=compared(PLAN.preparation(dataset)),
            code=PLAN.code_of_preparation(dataset),
            settings=uncompared(lambda w, dataset=dataset: as_json(PLAN.preparation(dataset))),
            paths=PATHS,
        message:
            f"prepare {dataset}"
        shell:
            "logged {log:q} crossmodal-peft prepare {params.dataset:q}"
            " --settings {params.settings:q} --paths {params.paths:q}"


rule cache_activations:
    input:
        manifest=LAYOUT.manifest("{dataset}"),
        array=LAYOUT.activations("{dataset}", "{modality}", "input"),
        encoder=lambda w: LAYOUT.encoder(SETTINGS.datasets[w.dataset].encoders[w.modality]) / RECEIPT,
    output:
        activations=LAYOUT.activations("{dataset}", "{modality}", "{cut}"),
    log:
        f"{LOGS}/cache_activations/{{dataset}}/{{modality}}.{{cut}}.log",
    benchmark:
        f"{LOGS}/cache_activations/{{dataset}}/{{modality}}.{{cut}}.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        gpu=1,
    params:
        encoder=lambda w: SETTINGS.datasets[w.dataset].encoders[w.modality],
        compared=lambda w: compared(PLAN.encoders(w.dataset)[w.modality]),
        code=PLAN.code_of_activations,
        settings=uncompared(lambda w: PLAN.encoders(w.dataset)[w.modality].model_dump_json()),
        paths=PATHS,
    message:
        "compute the {wildcards.modality} activations of {wildcards.dataset} up to {wildcards.cut}"
    shell:
        "logged {log:q} crossmodal-peft cache-activations {wildcards.dataset} {wildcards.modality}"
        " {wildcards.cut} {params.encoder:q} --settings {params.settings:q} --paths {params.paths:q}"
