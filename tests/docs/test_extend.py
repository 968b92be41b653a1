"""Claims about the worked examples in the pages: they run exactly as written, on a copy of the package."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from documents import REPOSITORY, blocks

TESTS = REPOSITORY / "tests"
# Trains and evaluates a tiny cell with the method of the page's block.
METHOD = """
import sys, yaml
from pathlib import Path
import tiny_cell
from crossmodal_peft.cli.main import app
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout

block = yaml.safe_load(sys.argv[1])["methods"]["gain"]
root = Path("run").absolute()
layout = Layout.of(tiny_cell.paths_in(root))
tiny_cell.make_inputs(layout)
cell = tiny_cell.make_cell("lora", activation_cache="off").model_dump()
cell = Cell.model_validate({**cell, "method": "gain", "tuning": {**block, "layers": {"last": 2}}})
app(tiny_cell.command(root, cell), standalone_mode=False)
paths = tiny_cell.paths_in(root).model_dump_json()
app(["record", cell.name, "--paths", paths], standalone_mode=False)
record = yaml.safe_load((layout.run(cell.name) / "record.json").read_text())
print(record["parameters"]["method"])
"""
DATASET = """
import sys, yaml
from pathlib import Path
import tiny_data
from crossmodal_peft.data.items import Refused

root = Path("birds").absolute()
for i in range(12):
    tiny_data.picture(root / "pictures" / f"{i}.png", i)
    (root / "pictures" / f"{i}.txt").write_text(f"Bird {i}.\\nA bird, no. {i}.\\n")
tiny_data.picture(root / "mute.png", 99)
layout = tiny_data.layout_in(Path("work").absolute())
tiny_data.make_encoders(layout)
block = yaml.safe_load(sys.argv[1])["datasets"]["birds"]
split = {"seed": 1, "validation": 0.3, "test": 0.3}
changes = {"folder": str(root), "modalities": list(block.pop("encoders")), "split": split}
data = tiny_data.dataset(**{**block, **changes})
line, manifest = tiny_data.prepare(data, layout)
assert tiny_data.reasons(manifest) == {"mute.png": "mute.txt: no caption"}
assert manifest[manifest.reason == ""].groupby("modality").size().to_dict() == {"image": 12, "text": 24}
tiny_data.check_directions(tiny_data.train(data, layout), 2)
print("12 pictures")
"""
ENCODER = """
import torch
from transformers import DistilBertConfig, DistilBertModel
from crossmodal_peft.models.encoder import build_encoder, load_encoder
from crossmodal_peft.models.methods import adapter, prefix

torch.manual_seed(0)
size = {"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}
model = DistilBertModel(DistilBertConfig(**size, dropout=0.0, attention_dropout=0.0)).eval()
model.save_pretrained("distil")
tokens, lengths = torch.randint(1, 50, (3, 7)), torch.tensor([7, 3, 5])
mask = torch.arange(7) < lengths[:, None]
hidden = model(tokens, attention_mask=mask).last_hidden_state
expected = (hidden * mask[..., None]).sum(1) / lengths[:, None]
from pathlib import Path
for kernel in ("eager", "sdpa"):
    encoder = load_encoder(Path("distil"), "distilbert", "mean", kernel)
    torch.testing.assert_close(encoder(tokens, lengths, "input"), expected)
prefix.attach(encoder, range(1, 3), prefix.Settings(kind="prefix", virtual_tokens=2))
adapter.attach(encoder, range(1, 3), adapter.Settings(kind="adapter", bottleneck=4))
encoder(tokens, lengths, "input").sum().backward()
print(sum(p.grad is not None for p in encoder.parameters()))
"""
TABLES = """
import shutil, sys
from pathlib import Path
from crossmodal_peft.cli.main import app
from crossmodal_peft.config import plugins
from tiny_cell import paths_in

assert "training_time" in plugins.names("tables") and "best_epoch" in plugins.names("plots")
root = Path("run").absolute()
results = root / "results"
results.mkdir(parents=True)
shutil.copy(sys.argv[2], results / "costs.csv")
paths = paths_in(root).model_dump_json()
app(["table", "training_time", "--paths", paths], standalone_mode=False)
app(["plot", "best_epoch", "--paths", paths], standalone_mode=False)
assert (results / "plots" / "best_epoch.png").stat().st_size > 5000
print((results / "tables" / "training_time.md").read_text())
"""
LOSS = """
import sys, yaml
from pathlib import Path
import tiny_cell, torch
from crossmodal_peft.cli.main import app
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.training.losses import smoothed

torch.manual_seed(0)
a, b = (torch.nn.functional.normalize(torch.randn(5, 4).double(), dim=1) for _ in range(2))
labels = torch.tensor([0, 1, 2, 1, 3])
positives = labels[:, None] == labels[None, :]
block = yaml.safe_load(sys.argv[1])["train"]["loss"]
settings = smoothed.Settings(**block)
found = smoothed.pair_loss(a, b, positives, settings, torch.tensor(1.5).double())
# The definition, element by element: 1 - s to the positives, s to all five.
expected = 0.0
for x, y in ((a, b), (b, a)):
    for i in range(5):
        scores = [float(x[i] @ y[j]) * torch.tensor(1.5).double().exp() for j in range(5)]
        total = torch.stack(scores).logsumexp(0)
        share = 0.95 / sum(bool(p) for p in positives[i])
        expected -= sum((share * bool(positives[i, j]) + 0.05 / 5) * (scores[j] - total) for j in range(5))
torch.testing.assert_close(found, expected / 10)
root = Path("run").absolute()
layout = Layout.of(tiny_cell.paths_in(root))
tiny_cell.make_inputs(layout)
cell = tiny_cell.make_cell("lora", activation_cache="off", loss=block)
app(tiny_cell.command(root, cell), standalone_mode=False)
weights = (layout.checkpoint(cell.name) / "weights.safetensors").read_bytes()
print(b"logit_scale" in weights)
"""
METRIC = """
import numpy as np, pandas as pd
from crossmodal_peft.cli.main import app

random = np.random.default_rng(0)
queries, gallery = random.normal(size=(40, 8)), random.normal(size=(250, 8))
gallery[:40] += 0.7 * queries  # Item i is relevant to query i.
np.save("q.npy", queries)
np.save("g.npy", gallery)
pd.DataFrame({"query": range(40), "item": range(40)}).to_csv("r.csv", index=False)
files = ["--queries", "q.npy", "--gallery", "g.npy", "--relevance", "r.csv", "--out", "out.csv"]
app(["score", *files], standalone_mode=False)
scores = queries @ gallery.T
ranks = [1 + int((of_query > of_query[i]).sum()) for i, of_query in enumerate(scores)]
row = pd.read_csv("out.csv").iloc[0]
# A hundredth of 250 items are 2.5, rounded to 2; of 40 queries nine in ten are 36.
assert 0.2 < row["hit_percent"] < 0.9 and np.isclose(row["hit_percent"], np.mean(np.array(ranks) <= 2))
assert row["rank_90"] == sorted(ranks)[35]
assert row["hit_percent_low"] < row["hit_percent"] < row["hit_percent_high"]
"""
CHECK = """
import sys
from pathlib import Path
import tiny_data
from crossmodal_peft.cli.main import app

for i in range(12):
    tiny_data.picture(Path("birds") / f"{i}.png", i).with_suffix(".txt").write_text(f"Bird {i}.")
settings = [["--settings", name] for name in sys.argv[2:] if name.endswith(".yaml")]
for name in sys.argv[2:]:
    if name.endswith(".py"):
        app(["check-plugin", name, *sum(settings, [])], standalone_mode=False)
"""


@pytest.fixture
def run(tmp_path):
    """A function that adds a page's files to a copy of the package and runs a script on it."""

    def run(page, script, *arguments):
        shutil.copytree(REPOSITORY / "src", tmp_path / "src")
        shutil.copy(REPOSITORY / "params.yaml", tmp_path)
        found = blocks(REPOSITORY / "docs" / "extend" / f"{page}.md")
        files = [block for block in found if block.title]
        for block in files:
            # A metric is appended to the file of the others; everything else is a new file.
            assert (tmp_path / block.title).exists() == (page == "metric")
            with open(tmp_path / block.title, "a", encoding="utf-8") as file:
                file.write(f"\n\n{block.text}" if page == "metric" else block.text)
        settings = "".join(block.text for block in found if block.language == "yaml" and not block.title)
        path = os.pathsep.join([str(tmp_path / "src"), str(TESTS)])
        done = subprocess.run(
            [sys.executable, "-c", script, settings, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_the_method_of_its_page_trains(run):
    # A gain for each of the 32 channels, in two layers of two encoders.
    assert run("method", METHOD).split()[-1] == str(2 * 2 * 32)


def test_the_dataset_of_its_page_is_prepared_and_trained(run):
    assert "12 pictures" in run("dataset", DATASET)


def test_the_encoder_family_of_its_page_computes_what_the_model_does_and_takes_methods(run):
    # In each of two layers: a prefix of keys and one of values, and two adapters of four parameters each.
    assert run("encoder", ENCODER).split()[-1] == str(2 * 2 + 2 * 2 * 4)


def test_the_table_and_the_plot_of_their_page_are_rendered(run):
    shown = run("table", TABLES, REPOSITORY / "results" / "costs.csv")
    # As in the committed table of costs, where `ridge` is the quickest.
    seconds = pd.read_csv(REPOSITORY / "results" / "costs.csv").groupby(["dataset", "method"])["seconds"]
    for method in ("full", "ridge"):
        mean, deviation = (seconds.agg(of)["stamps-image", method] for of in ("mean", "std"))
        assert f"{mean:.1f} ± {deviation:.1f}" in shown
    assert "| ridge" in shown and "**1**" in shown


def test_the_loss_of_its_page_is_what_it_says_and_trains(run):
    assert run("loss", LOSS).split()[-1] == "True"


def test_the_metrics_of_their_page_are_computed_with_intervals_and_printed(run):
    shown = run("metric", METRIC)
    assert (
        "hit_percent" in shown
        and "share of queries with any relevant item among the first hundredth" in shown
    )


@pytest.mark.parametrize("page", ["method", "dataset", "encoder", "loss", "table"])
def test_a_file_of_a_page_keeps_the_promises_of_its_kind(run, page):
    files = [block.title for block in blocks(REPOSITORY / "docs" / "extend" / f"{page}.md") if block.title]
    assert "FAILED" not in run(page, CHECK, *files)
