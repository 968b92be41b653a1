"""download → prepare → trunk → train → evaluate → aggregate → tables and plots."""

import json

from snakemake.exceptions import WorkflowError

from crossmodal_peft import registry
from crossmodal_peft.checking import check
from crossmodal_peft.layout import RECEIPT, Layout
from crossmodal_peft.settings import cell as settings_of_cell, parts


configfile: "params.yaml"


try:
    SETTINGS = check(config)
except ValueError as error:
    raise WorkflowError(f"settings refused:\n{error}") from None

LAYOUT = Layout.of(SETTINGS.paths)
PATHS = f"--paths '{SETTINGS.paths.model_dump_json()}'"
CELLS = [
    f"{dataset}/{method}/{seed}"
    for dataset in SETTINGS.matrix.datasets
    for method in SETTINGS.matrix.methods
    for seed in SETTINGS.matrix.seeds
]


def code(*modules):
    """Source files that a rule's result depends on: snakemake does not see what a shell command imports."""
    return [f"src/crossmodal_peft/{module}.py" for module in modules]


wildcard_constraints:
    cut=r"embeddings|pooled|last-\d+",
    dataset=r"[\w.+-]+",
    method=r"[\w.-]+(@[\d.e-]+)?",
    modality="text|image|audio",
    name=r"[\w.-]+",
    seed=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sweep.smk"


rule all:
    default_target: True
    input:
        expand(
            f"{LAYOUT.results}/tables/{{name}}.{{kind}}",
            name=registry.names("tables"),
            kind=["csv", "md", "tex"],
        ),
        expand(f"{LAYOUT.results}/plots/{{name}}.{{kind}}", name=PLOTS, kind=["png", "svg"]),
