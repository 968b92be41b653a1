"""Claims about the whole workflow: the smoke overlay, real encoders and data, a folder of its own."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import run

SMOKE = "snakemake --configfile workflow/config/smoke.yaml"
CELLS = 10


def snakemake(folder: Path, arguments: str = "") -> str:
    # The jobs import the folder's own code, not that of the repository.
    return run(f"{SMOKE} {arguments}", folder, PYTHONPATH=str(folder / "src"))


def planned(folder: Path) -> dict[str, int]:
    """Jobs that a dry run would start, by rule."""
    output = snakemake(folder, "-n")
    return {
        rule: int(n) for rule, n in re.findall(r"^([\w-]+) +(\d+)$", output, re.MULTILINE) if rule != "total"
    }


@pytest.fixture(scope="module")
def smoke(workflow_folder: Path) -> Path:
    """A folder in which the smoke workflow ran to its end."""
    snakemake(workflow_folder)
    return workflow_folder


def results(folder: Path) -> Path:
    return folder / "build" / "smoke" / "results"


def test_a_fresh_folder_plans_every_cell(workflow_folder):
    jobs = planned(workflow_folder)
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


def test_a_finished_workflow_has_nothing_to_do(smoke):
    assert planned(smoke) == {}


def test_another_setting_of_a_method_reruns_its_cells_only(smoke):
    params = smoke / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("bottleneck: 16", "bottleneck: 8"))
    jobs = planned(smoke)
    params.write_text(before)
    assert (jobs["train"], jobs["evaluate"]) == (2, 2)
    assert not {"trunk", "download_dataset", "prepare_stamps-image"} & set(jobs)


def test_the_code_of_a_method_reruns_its_cells_only(smoke):
    with changed(smoke / "src/crossmodal_peft/methods/prefix.py"):
        jobs = planned(smoke)
    assert (jobs["train"], jobs["evaluate"]) == (2, 2)


@pytest.mark.parametrize("module", ["tables/recall_at_k", "plots/time_and_memory", "metrics"])
def test_the_code_of_a_table_plot_or_metric_trains_nothing(smoke, module):
    with changed(smoke / f"src/crossmodal_peft/{module}.py"):
        jobs = planned(smoke)
    assert "all" in jobs
    assert "train" not in jobs


def test_a_changed_method_is_trained_again_and_the_others_keep_their_weights(smoke):
    checkpoints = smoke / "build/smoke/checkpoints"
    before = {p: p.read_bytes() for p in checkpoints.rglob("weights.safetensors")}
    params = smoke / "params.yaml"
    params.write_text(params.read_text().replace("virtual_tokens: 16", "virtual_tokens: 4"))
    snakemake(smoke)
    changed_cells = {p.relative_to(checkpoints).parts[1] for p in before if p.read_bytes() != before[p]}
    assert changed_cells == {"prefix"}


class changed:
    """A source file with one more comment while the block lasts."""

    def __init__(self, path: Path):
        self.path, self.text = path, path.read_text()

    def __enter__(self):
        self.path.write_text(self.text + "# changed\n")

    def __exit__(self, *_):
        self.path.write_text(self.text)
