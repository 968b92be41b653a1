"""Claims about the whole workflow: the smoke overlay with real encoders and data, in its own folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY, copy_repository, run, smoke_layout, snakemake

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.retrieval.embeddings import load_embeddings
from crossmodal_peft.stages.score import score_split
from crossmodal_peft.training.trained import embed_cell

CELLS = 12


def planned(folder: Path) -> dict[str, int]:
    """The number of jobs that a dry run plans, by rule."""
    output = snakemake(folder, "-n")
    return {
        rule: int(n) for rule, n in re.findall(r"^([\w-]+) +(\d+)$", output, re.MULTILINE) if rule != "total"
    }


def results(folder: Path) -> Path:
    return folder / "build" / "smoke" / "results"


def test_a_fresh_folder_plans_every_cell(raw, tmp_path):
    jobs = planned(copy_repository(raw, tmp_path))
    assert (jobs["train"], jobs["evaluate"]) == (CELLS, CELLS)


def test_tables_and_plots_show_every_cell(smoke):
    quality = pd.read_csv(results(smoke) / "quality.csv")
    assert len(quality[["dataset", "method", "seed"]].drop_duplicates()) == CELLS
    table = (results(smoke) / "tables" / "recall_at_k.md").read_text()
    assert all(f"| {method}" in table for method in ("frozen", "full", "lora", "prefix", "adapter"))
    assert re.search(r"gallery of \d+", table)
    images = [p for p in (results(smoke) / "plots").iterdir() if p.suffix == ".png"]
    assert len(images) >= 4
    assert all(image.stat().st_size > 5000 for image in images)


def test_frozen_encoders_retrieve_far_above_chance(smoke):
    record = json.loads((results(smoke) / "runs/stamps-image/frozen/0/record.json").read_text())
    for direction in record["metrics"].values():
        assert direction["hit@10"] > 1.5 * 10 / direction["gallery"]


def test_a_record_says_where_it_comes_from(smoke):
    record = json.loads((results(smoke) / "runs/stamps-speech/lora/0/record.json").read_text())
    assert record["status"] == "complete"
    assert record["settings"]["tuning"]["options"]["r"] == 8
    assert set(record["provenance"]) >= {"versions", "git", "hardware", "inputs", "precision", "finished"}
    assert record["parameters"]["trainable"] < 0.02 * record["parameters"]["total"]
    assert {"queries", "gallery", "hit@1", "median_rank", "map@10"} <= set(record["metrics"]["text->audio"])
    assert record["training"]["peak_memory_bytes"] > 0


def test_a_checkpoint_is_what_its_record_counts(smoke):
    folder = smoke / "build/smoke/checkpoints/stamps-image/lora/0"
    record = json.loads((results(smoke) / "runs/stamps-image/lora/0/record.json").read_text())
    assert record["checkpoint_bytes"] == (folder / "weights.safetensors").stat().st_size
    assert record["checkpoint_bytes"] == pytest.approx(4 * record["parameters"]["trainable"], rel=0.05)


def test_one_model_on_two_datasets_is_tested_on_each_and_on_the_pair_that_neither_has(smoke):
    name = "stamps-image+stamps-speech/lora/0"
    snakemake(smoke, f"build/smoke/results/runs/{name}/record.json")
    record = json.loads((results(smoke) / "runs" / name / "record.json").read_text())
    alone = json.loads((results(smoke) / "runs/stamps-image/lora/0/record.json").read_text())
    emergent = {direction for direction, m in record["metrics"].items() if m["emergent"]}
    assert emergent == {"image->audio", "audio->image"}
    assert set(record["metrics"]) - emergent == {"text->image", "image->text", "text->audio", "audio->text"}
    assert record["metrics"]["text->image"]["gallery"] == alone["metrics"]["text->image"]["gallery"]
    assert record["metrics"]["image->audio"]["queries_excluded"] > 0
    assert set(record["provenance"]["inputs"]) >= {"stamps-image manifest", "stamps-speech manifest"}


def test_a_finished_workflow_has_nothing_to_do(smoke):
    assert planned(smoke) == {}


def test_another_setting_of_a_method_reruns_its_cells_only(smoke):
    params = smoke / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("bottleneck: 16", "bottleneck: 8"))
    jobs = planned(smoke)
    params.write_text(before)
    assert (jobs["train"], jobs["evaluate"]) == (2, 2)
    assert not {"cache_activations", "download_dataset", "prepare_stamps-image"} & set(jobs)


def test_how_a_training_is_watched_reruns_nothing(smoke):
    params = smoke / "params.yaml"
    before = params.read_text()
    other = before.replace("checkpoint_minutes: 10", "checkpoint_minutes: 1")
    params.write_text(other)
    jobs = planned(smoke)
    params.write_text(before)
    assert other != before
    assert jobs == {}


TABLES = {"all", "plot", "summary", "table"}
CELLS_AND_TABLES = {"aggregate", "compare_methods", "evaluate", "overview", *TABLES}
TRAINED = '    start: Literal["head"'
# The module, the text before and after the edit, the rules that rerun, and for how many cells.
EDITS = [
    ("models/learned_prefix", "std=0.02", "std=2.0", {"train", "count_at_paper_scale", *CELLS_AND_TABLES}, 2),
    ("training/step", "optimizer.step()", "optimizer.step(None)", {"train", *CELLS_AND_TABLES}, CELLS),
    ("training/step", "optimizer.step()", "optimizer.step()  # A comment.", set(), 0),
    ("training/progress", "import time", "import time as time", set(), 0),
    ("config/settings", TRAINED, f"    warmth: float = 1.0\n{TRAINED}", set(), 0),
    (
        "config/settings",
        "compile: bool = Field(False",
        "compile: bool = Field(True",
        set(),
        0,
    ),  # params.yaml gives a value.
    ("records", '"status": "complete"', '"more": 1, "status": "complete"', CELLS_AND_TABLES, CELLS),
    ("retrieval/metrics", "import numpy as np", "import numpy as np\n\nMORE = 1", CELLS_AND_TABLES, CELLS),
    ("retrieval/statistics", "1 + confidence", "2 + confidence", {"compare_methods", *TABLES}, 0),
    ("report/tables/recall_at_k", "import pandas as pd", "import pandas", {"all", "table"}, 0),
    ("report/plots/time_and_memory", "import pandas as pd", "import pandas", {"all", "plot"}, 0),
]


@pytest.mark.parametrize(
    ("module", "before", "after", "rules", "cells"), EDITS, ids=[f"{e[0]}: {e[2].strip()}" for e in EDITS]
)
def test_an_edit_of_code_runs_again_what_it_can_change(module, before, after, rules, cells, smoke):
    path = smoke / f"src/crossmodal_peft/{module}.py"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    jobs = planned(smoke)
    path.write_text(text)
    assert set(jobs) == rules
    assert (jobs.get("evaluate", 0), jobs.get("train", 0)) == (cells, cells if "train" in rules else 0)


APPTAINER = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo apptainer version 1.3.4; exit; fi
while [ "$1" != bash ]; do image=$1; shift; done
echo "in $image"
exec "$@"
"""


def test_a_job_runs_in_the_container_where_snakemake_is_asked_for_it(smoke, tmp_path):
    """Snakemake's part of it: here, the command that would start a container runs the job directly."""
    (tmp_path / "apptainer").write_text(APPTAINER)
    (tmp_path / "apptainer").chmod(0o755)
    page = smoke / "build/smoke/results/pages/settings.html"
    page.unlink(missing_ok=True)
    command = f"snakemake {page.relative_to(smoke)} --sdm apptainer --configfile workflow/config/smoke.yaml"
    path = f"{tmp_path}:{os.environ['PATH']}"
    said = run(command, smoke, PYTHONPATH=str(smoke / "src"), PATH=path)
    assert "in crossmodal-peft.sif" in said
    assert page.exists()


def test_every_job_has_a_log_and_a_benchmark(smoke):
    logs = results(smoke) / "logs"
    assert "epoch 1/" in (logs / "train/stamps-image/lora/0.log").read_text()
    made = {path.relative_to(logs).with_suffix("") for path in logs.rglob("*.log")}
    assert made == {path.relative_to(logs).with_suffix("") for path in logs.rglob("*.tsv")}
    rules = {path.parts[0] for path in made}
    assert rules > {
        "prepare",
        "cache_activations",
        "train",
        "evaluate",
        "aggregate",
        "table",
        "plot",
        "summary",
    }


def test_snakemake_s_linter_has_nothing_to_say():
    done = subprocess.run(["snakemake", "--lint"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_checkpoint_embeds_as_the_training_did(smoke):
    layout, cell = smoke_layout(smoke), "stamps-speech/lora/0"
    kept = load_embeddings(layout.checkpoint(cell) / "embeddings.safetensors", "test")["stamps-speech"]
    again = embed_cell(cell, "test", layout)["stamps-speech"]
    for modality, gallery in kept.items():
        assert (again[modality].embeddings * gallery.embeddings).sum(1).min() > 0.9999
        assert (again[modality].positions == gallery.positions).all()


def test_a_copied_checkpoint_is_evaluated_as_its_record_says(smoke, tmp_path):
    """Given by its folder, without the embeddings saved by training, and on a split that has none."""
    cell = "stamps-speech/lora/0"
    copy = shutil.copytree(smoke / "build/smoke/checkpoints" / cell, tmp_path / "copy")
    (copy / "embeddings.safetensors").unlink()
    paths = Paths(prepared="build/smoke/prepared", checkpoints="build/smoke/checkpoints").model_dump_json()
    command = f"crossmodal-peft evaluate --paths {shlex.quote(paths)}"
    shown = run(f"{command} {copy} --out {tmp_path}/test.csv", smoke, PYTHONPATH=str(smoke / "src"))
    assert "| text->audio" in shown and "95 % bootstrap intervals" in shown
    table = pd.read_csv(tmp_path / "test.csv").set_index("direction")
    record = json.loads((results(smoke) / "runs" / cell / "record.json").read_text())["metrics"]
    for direction, metrics in record.items():
        assert table.loc[direction, "queries"] == metrics["queries"]
        assert table.loc[direction, "hit@10"] == pytest.approx(metrics["hit@10"], abs=0.01)
    shown = run(f"{command} {cell} --split train", smoke, PYTHONPATH=str(smoke / "src"))
    assert "| audio->text" in shown


def test_embeddings_that_are_not_those_of_the_training_are_refused(smoke, tmp_path):
    cell = "stamps-speech/lora/0"
    shutil.copytree(smoke / "build/smoke/checkpoints" / cell, tmp_path / cell)
    file = tmp_path / cell / "embeddings.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    layout = Layout(tmp_path, tmp_path, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"embeddings.safetensors: does not match .*cell.json"):
        score_split(cell, "test", [1], layout)
