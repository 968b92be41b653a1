"""Claims about the table of a learning-rate sweep."""

import json

import pytest

from crossmodal_peft.report.sweep import as_markdown, learning_rates


@pytest.fixture
def cell_files(tmp_path):
    files = []
    recalls = {("lora", "0.0003"): (0.1, 0.4), ("lora", "0.001"): (0.3, 0.3), ("frozen", "0.01"): (0.2, 0.1)}
    for (method, rate), values in recalls.items():
        for dataset, recall in zip(("a", "b"), values):
            path = tmp_path / f"{dataset}-{method}-{rate}.json"
            cell = {"method": f"{method}@{rate}", "dataset": dataset}
            path.write_text(json.dumps({"cell": cell, "training": {"validation_recall": recall}}))
            files.append(path)
    return files


def test_the_rate_with_the_best_mean_over_datasets_is_chosen(cell_files):
    table = learning_rates(cell_files)
    assert list(table.method) == ["lora", "lora", "frozen"]
    assert list(table.learning_rate) == [0.0003, 0.001, 0.01]
    assert list(table["mean"]) == pytest.approx([0.25, 0.3, 0.15])
    assert list(table.chosen) == [False, True, True]


def test_the_page_shows_the_chosen_rates_in_bold(cell_files):
    page = as_markdown(learning_rates(cell_files))
    assert "| lora     | 0.001           | **30.0** | **30.0** | **30.0** |" in page
    assert "| lora     | 0.0003          | 10.0     | 40.0     | 25.0     |" in page
