"""download → prepare → cache activations → train → evaluate → aggregate → tables, plots and a summary in words.

What a job depends on is in its inputs and its parameters: `compared`, its settings; `code`, a hash of the
source files that can affect its result; and others by name. Those marked `uncompared` may change freely.
"""

import gc
import os

from snakemake.exceptions import WorkflowError

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import parts
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.validation import check, check_files
from workflow.planning.code_dependencies import code
from workflow.planning.compared_settings import compared
from workflow.planning.configuration import configuration
from workflow.planning.jobs import SHELL, growing, set_environment, uncompared
from workflow.planning.plan import Plan, as_json

# A plan is millions of objects that all stay alive: collecting garbage among them took a fifth of the time.
gc.set_threshold(100_000, 50, 100)


try:
    CONFIG, ORIGIN = configuration("params.yaml", workflow.config_settings)
    SETTINGS = check(CONFIG, ORIGIN)
    check_files(SETTINGS, ORIGIN)
except (ValueError, OSError) as error:
    raise WorkflowError(f"settings refused:\n{error}") from None


# Read above, since Snakemake's own reader knows YAML 1.1; this line shows Snakemake's tools where they are.
configfile: "params.yaml"


# For --software-deployment-method apptainer; the first line of containers/crossmodal-peft.def builds it.
container: "crossmodal-peft.sif"


LAYOUT = Layout.of(SETTINGS.paths)
PLAN = Plan(SETTINGS, LAYOUT)
PATHS_JSON, LOGGING_JSON = (part.model_dump_json() for part in (SETTINGS.paths, SETTINGS.logging))
PATHS = uncompared(lambda w: PATHS_JSON)
LOGS = LAYOUT.results / "logs"
set_environment()
shell.prefix(SHELL)


# These rules are quick or need the internet, so on a cluster they run where snakemake does. The others say
# what they need: mem_mb, runtime (minutes), and gpu if they train or embed, ignored on a machine without one.
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


RESULTS = [
    *OVERVIEW,
    *expand(
        f"{LAYOUT.results}/tables/{{name}}.{{kind}}",
        name=plugins.names("tables"),
        kind=["csv", "md", "tex"],
    ),
    *expand(f"{LAYOUT.results}/plots/{{name}}.{{kind}}", name=PLAN.plots, kind=["png", "svg"]),
    LAYOUT.results / "summary.md",
]


rule all:
    default_target: True
    input:
        missing=PLAN.missing,
        results=RESULTS,


# What `snakemake --report` shows: snakemake report_pages && snakemake report_pages --report results/report.html
rule report_pages:
    input:
        pages=expand(
            f"{LAYOUT.results}/pages/{{name}}.html", name=["summary", "settings", *plugins.names("tables")]
        ),
        missing=PLAN.missing,
        results=RESULTS,
