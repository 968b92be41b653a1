"""download → prepare → cache activations → train → evaluate → aggregate → tables, plots and a summary in words."""

import gc
import json
import os
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from crossmodal_peft.data import hub
from crossmodal_peft.config import plugins
from crossmodal_peft.config.validation import check
from crossmodal_peft.files import sha256
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.settings import Package, Folder
from crossmodal_peft.config.cell import cell as settings_of_cell, parts

# A plan is millions of objects that all stay: to look for garbage among them took a fifth of its time.
gc.set_threshold(100_000, 50, 100)


configfile: "params.yaml"


try:
    SETTINGS = check(config)
except ValueError as error:
    raise WorkflowError(f"settings refused:\n{error}") from None

LAYOUT = Layout.of(SETTINGS.paths)
PATHS = f"--paths '{SETTINGS.paths.model_dump_json()}'"
# No `params:` of the rule, which would train again when they change.
LOGGING = f"--lines --logging '{SETTINGS.logging.model_dump_json()}'"
CELLS = [
    f"{dataset}/{method}/{seed}"
    for dataset in SETTINGS.matrix.datasets
    for method in SETTINGS.matrix.methods
    for seed in SETTINGS.matrix.seeds
]


def code(*modules):
    """Source files that a rule's result depends on: snakemake does not see what a shell command imports."""
    return [f"src/crossmodal_peft/{module}.py" for module in modules]


@cache
def fingerprint(*modules):
    """A hash of source files, for `params` of rules with thousands of jobs, where files would be millions."""
    return " ".join(f"{module}:{sha256(Path(file))[:8]}" for module, file in zip(modules, code(*modules)))


def growing(amount):
    """A resource that a job which failed asks more of when it is tried again."""
    return lambda wildcards, attempt: amount * attempt


# The marker tells `workflow/end_orphans.py` whose jobs outlived a killed run.
os.environ["CROSSMODAL_PEFT_WORKFLOW"] = os.getcwd()
# torch's thread pools spin while they wait; with two cells side by side that time belongs to the other cell.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def cell_named(name):
    """The settings of a cell: what a change must touch for the cell to be trained again."""
    dataset, method, seed = name.split("/")
    return settings_of_cell(SETTINGS, dataset, method, int(seed))


def missing(wildcards):
    """Files behind the tables that are not there, in the folders that DVC keeps; of a cell the first.

    The tables need them, but git keeps the tables: a clone without data must not count as done. As a function
    it is called for `rule all` only, not in every job of a cluster.
    """
    cells = {name.rpartition("/")[0]: cell_named(name) for name in CELLS}
    data = [path for cell in cells.values() for path in data_of(cell)]
    large = ["weights.safetensors", "embeddings.safetensors", "cell.json", "queries.parquet"]
    files = [[f"{LAYOUT.checkpoint(name)}/{file}" for file in large] for name in CELLS]
    first = [next((path for path in paths if not os.path.exists(path)), None) for paths in files]
    return [path for path in dict.fromkeys(data) if not os.path.exists(path)] + list(filter(None, first))


def data_of(cell):
    """The downloads and arrays of a cell."""
    return [
        *[f"{LAYOUT.dataset(data.source)}/{RECEIPT}" for data in cell.data.values()],
        *inputs_of(cell),
    ]


def inputs_of(cell):
    """The files that a training reads: manifests, arrays and encoders."""
    return [
        *map(str, LAYOUT.manifests(cell.dataset).values()),
        *[str(path) for paths in LAYOUT.arrays(cell).values() for path in paths.values()],
        *[f"{folder}/{RECEIPT}" for folder in LAYOUT.folders(cell.encoder_names).values()],
    ]


# Quick, or in need of the internet: on a cluster they run where snakemake does. The others say what they need:
# mem_mb, runtime (minutes), and gpu where they train or embed, which a machine without one ignores.
localrules:
    all,
    download_dataset,
    download_encoder,
    aggregate,
    overview,
    table,
    plot,
    summary,
    page,
    settings_page,
    report_pages,
    sweep,


wildcard_constraints:
    cut=r"(embeddings|pooled|last-\d+)(\.fp32)?",
    dataset=r"[\w.+-]+",
    method=r"[\w.-]+(@[\d.e-]+)?",
    modality="text|image|audio",
    name=r"[\w.-]+",
    seed=r"\d+",


report: "workflow/report/workflow.rst"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sweep.smk"


rule all:
    default_target: True
    input:
        missing,
        OVERVIEW,
        expand(
            f"{LAYOUT.results}/tables/{{name}}.{{kind}}",
            name=plugins.names("tables"),
            kind=["csv", "md", "tex"],
        ),
        expand(f"{LAYOUT.results}/plots/{{name}}.{{kind}}", name=PLOTS, kind=["png", "svg"]),
        LAYOUT.results / "summary.md",


# What `snakemake --report` shows: snakemake report_pages && snakemake report_pages --report results/report.html
rule report_pages:
    input:
        expand(
            f"{LAYOUT.results}/pages/{{name}}.html", name=["summary", "settings", *plugins.names("tables")]
        ),
        rules.all.input,
