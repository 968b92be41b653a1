"""Claims about the overview of recall and costs, from which DVC shows metrics and plots."""

import json

import pandas as pd
import pytest

from crossmodal_peft.report.dvc_metrics import overview, write_overview


@pytest.fixture
def table() -> pd.DataFrame:
    quality = pd.DataFrame(
        [
            ("pictures", method, seed, direction, metric, value)
            for method, values in {"lora": [0.1, 0.2, 0.3, 0.6], "full": [0.4] * 4}.items()
            for (seed, direction), value in zip([(s, d) for s in (0, 1) for d in ("a->b", "b->a")], values)
            for metric in ("hit@1", "hit@10", "mrr")
        ],
        columns=["dataset", "method", "seed", "direction", "metric", "value"],
    )
    costs = pd.DataFrame(
        [
            ("pictures", method, seed, trainable, 40_000_001, 1.0 + seed, 2e6)
            for method, trainable in {"lora": 7, "full": 40_000_001}.items()
            for seed in (0, 1)
        ],
        columns=["dataset", "method", "seed", "trainable", "total", "seconds", "checkpoint_bytes"],
    )
    return overview(quality, costs)


def test_recall_is_the_mean_over_directions_and_seeds_in_percent(table):
    lora = table.set_index("method").loc["lora"]
    assert lora["R@1"] == lora["R@10"] == pytest.approx(30)
    assert (lora["seconds"], lora["checkpoint_mb"]) == (1.5, 2)
    assert list(table["method"]) == ["lora", "full"]
    assert "mrr" not in table


def test_metric_files_are_exact_and_those_of_methods_that_left_go(table, tmp_path):
    write_overview(table, tmp_path)
    full = json.loads((tmp_path / "metrics/pictures/full.json").read_text())
    assert (full["trainable"], full["trainable_percent"]) == (40_000_001, 100)
    write_overview(table[table["method"] == "lora"], tmp_path)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["lora.json"]
    assert list(pd.read_csv(tmp_path / "overview.csv")["cell"]) == ["pictures/lora"]
