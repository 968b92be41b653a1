"""Claims about the tables: their numbers against hand-computed ones, and what the three formats look like."""

import math

import pandas as pd
import pytest

from crossmodal_peft.config import plugins
from crossmodal_peft.report.render import markdown, write_table
from crossmodal_peft.report.tables import (
    mean_and_deviation,
    metric_blocks,
    parameter_efficiency,
    provenance,
    recall_at_k,
    significance,
    units,
)

PAPER_SCALE = pd.DataFrame(
    {
        "method": ["frozen", "lora"],
        "total": [300_590_592, 301_590_592],
        "trainable": [590_592, 1_590_592],
        "method_parameters": [0, 1_000_000],
        "projection_parameters": [590_592, 590_592],
    }
)


def quality_of(values: dict[tuple[str, str], list[float]], dataset: str = "stamps-image") -> pd.DataFrame:
    """Values by (method, direction), one per seed, for hit@1; hit@5 and hit@10 are 0.5, mrr 0.3."""
    rows = [
        (dataset, method, seed, direction, metric, value if metric == "hit@1" else other, 161, 190)
        for (method, direction), seeds in values.items()
        for seed, value in enumerate(seeds)
        for metric, other in (("hit@1", None), ("hit@5", 0.5), ("hit@10", 0.5), ("mrr", 0.3))
    ]
    columns = ["dataset", "method", "seed", "direction", "metric", "value", "queries", "gallery"]
    return pd.DataFrame(rows, columns=columns)


def costs_of(seconds: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "dataset": "stamps-image",
                "method": method,
                "seed": seed,
                "total": 45_000_000,
                "trainable": 450_000,
                "method_parameters": 250_000,
                "projection_parameters": 200_000,
                "checkpoint_bytes": 1_812_345,
                "seconds": value,
                "samples_per_second": 1.0,
                "peak_memory_bytes": 9.1e8,
                "best_epoch": 3,
            }
            for method, seeds in seconds.items()
            for seed, value in enumerate(seeds)
        ]
    )


def test_recall_is_shown_in_percent_with_the_sample_deviation_and_the_best_mean_marked():
    quality = quality_of({("frozen", "text->image"): [0.1, 0.2], ("lora", "text->image"): [0.3, 0.3]})
    [block] = recall_at_k.table(quality).shown
    assert block.title == "stamps-image"
    assert list(block.cells.index) == ["frozen", "lora"]
    # The mean of 10 and 20 is 15, their sample deviation 10 / sqrt(2) = 7.07.
    assert list(block.cells[("text → image", "R@1")]) == ["15.0 ± 7.1", "30.0 ± 0.0"]
    assert list(block.best[("text → image", "R@1")]) == [False, True]


def test_the_most_that_the_relevance_allows_stands_beside_its_metric():
    quality = quality_of({("a", "text->image"): [0.1, 0.2], ("a", "image->text"): [0.3, 0.3]})
    capped = (quality["direction"] == "text->image") & (quality["metric"] == "hit@1")
    table = recall_at_k.table(quality.assign(cap=quality["value"].where(capped) * 0 + 0.2))
    [block] = table.shown
    assert ("text → image", "R@1 (≤ 20.0)") in block.cells and ("image → text", "R@1") in block.cells
    assert "text → image R@1 (≤ 20.0)" in " ".join(markdown(table).replace("&nbsp;", " ").split())
    assert "≤: the most that the relevance allows" in table.caption
    assert table.tidy.set_index(["direction", "metric"])["cap"].dropna().to_dict() == {
        ("text->image", "hit@1"): 0.2
    }


def test_without_a_cap_a_table_is_as_before():
    table = recall_at_k.table(quality_of({("a", "text->image"): [0.1, 0.2]}))
    assert "≤" not in markdown(table) and "cap" not in table.tidy


def test_means_that_print_alike_are_both_best():
    quality = quality_of(
        {("a", "text->image"): [0.30001], ("b", "text->image"): [0.30002], ("c", "text->image"): [0.2]}
    )
    [block] = recall_at_k.table(quality).shown
    assert list(block.best[("text → image", "R@1")]) == [True, True, False]


def test_with_one_seed_there_is_no_deviation_and_the_caption_says_so():
    table = recall_at_k.table(quality_of({("lora", "text->image"): [0.25]}))
    assert list(table.shown[0].cells[("text → image", "R@1")]) == ["25.0"]
    assert "one seed, no deviation" in table.caption
    assert "±" not in markdown(table)


def test_a_metric_that_one_method_lacks_is_a_dash_and_never_best():
    quality = quality_of({("a", "text->image"): [0.2], ("b", "text->image"): [0.1]})
    lacking = quality[~((quality["method"] == "a") & (quality["metric"] == "hit@1"))]
    [block] = recall_at_k.table(lacking).shown
    assert list(block.cells[("text → image", "R@1")]) == ["–", "10.0"]
    assert list(block.best[("text → image", "R@1")]) == [False, True]


def means_of(values: dict[str, dict[str, tuple[float, float]]]) -> pd.DataFrame:
    """Means and deviations over seeds by metric and method, as records have them."""
    rows = [
        ("d", method, "text->image", metric, mean, sd)
        for metric, methods in values.items()
        for method, (mean, sd) in methods.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "method", "direction", "metric", "mean", "sd"])


def test_a_table_of_metric_names_shows_each_in_its_unit_and_its_best_mean_highest_or_lowest():
    means = means_of(
        {
            "hit@5": {"a": (0.25, 0.01), "b": (0.5, 0.02)},
            "median_rank": {"a": (1433.25, 3.0), "b": (12.0, 1.5)},
            "mrr": {"a": (0.12345, 0.0), "b": (0.1, 0.0)},
        }
    )
    [block] = metric_blocks(means, ["hit@5", "median_rank", "mrr"])
    direction = "text → image"
    assert list(block.cells.columns) == [(direction, "R@5"), (direction, "median rank"), (direction, "MRR")]
    assert list(block.cells[(direction, "R@5")]) == ["25.0 ± 1.0", "50.0 ± 2.0"]
    assert list(block.cells[(direction, "median rank")]) == ["1433.2 ± 3.0", "12.0 ± 1.5"]
    assert list(block.cells[(direction, "MRR")]) == ["0.123 ± 0.000", "0.100 ± 0.000"]
    assert list(block.best[(direction, "R@5")]) == [False, True]
    assert list(block.best[(direction, "median rank")]) == [False, True]
    assert list(block.best[(direction, "MRR")]) == [True, False]


def test_a_missing_mean_is_never_the_lowest():
    means = means_of({"mean_rank": {"a": (math.nan, math.nan), "b": (7.0, math.nan)}})
    [block] = metric_blocks(means, ["mean_rank"])
    assert list(block.cells[("text → image", "mean rank")]) == ["–", "7.0"]
    assert list(block.best[("text → image", "mean rank")]) == [False, True]


def test_a_caption_says_the_units_of_a_table():
    assert units(["hit@1", "map@10"]) == "percent"
    assert units(["hit@1", "median_rank", "hit@5"]) == "percent (R@1, R@5) and rank (median rank)"


def test_a_metric_that_is_not_registered_is_refused_with_the_valid_names():
    with pytest.raises(ValueError, match=r"no metric 'hits@1'; there are: mrr, map, hit@K,"):
        list(metric_blocks(means_of({"hits@1": {"a": (0.1, 0.0)}}), ["hits@1"]))


@pytest.mark.parametrize(
    ("shown", "cell", "words"),
    [
        ("hit@10", "+1.2 [-0.5, 3.0]", "Difference in R@10 (hit@10) in percentage points"),
        ("mrr", "+0.013 [-0.005, 0.030]", "Difference in MRR (mrr) in shares"),
    ],
)
def test_differences_are_printed_with_their_sign_in_the_unit_of_the_metric(monkeypatch, shown, cell, words):
    row = {"dataset": "d", "direction": "text->image", "metric": shown, "method_a": "a", "method_b": "b"}
    row |= {"difference": 0.0125, "low": -0.005, "high": 0.03, "p": 0.01, "p_holm": 0.01}
    other = {**row, "metric": "hit@1"}
    monkeypatch.setattr(significance, "SHOWN", shown)
    table = significance.table(pd.DataFrame([row, other]))
    assert words in table.caption
    [block] = table.shown
    assert block.cells.index.tolist() == ["a – b"]
    assert block.cells.iloc[0, 0] == cell
    assert block.best.to_numpy().tolist() == [[True]]


def test_three_modalities_give_a_block_per_pair_and_two_a_block_per_dataset():
    directions = ["text->audio", "audio->text", "text->image", "image->text", "audio->image", "image->audio"]
    three = quality_of({("lora", direction): [0.2] for direction in directions}, "stamps")
    two = quality_of({("lora", direction): [0.2] for direction in directions[:2]}, "stamps-speech")
    blocks = recall_at_k.table(pd.concat([three, two])).shown
    assert [(block.title, [group for group, _ in block.cells.columns][::3]) for block in blocks] == [
        ("stamps: text and audio", ["text → audio", "audio → text"]),
        ("stamps: text and image", ["text → image", "image → text"]),
        ("stamps: audio and image", ["audio → image", "image → audio"]),
        ("stamps-speech", ["text → audio", "audio → text"]),
    ]


def test_the_caption_states_sizes_seeds_chance_and_what_recall_means():
    caption = recall_at_k.table(quality_of({("lora", "text->image"): [0.2, 0.3, 0.4]})).caption
    for claim in (
        "161 queries, gallery of 190",
        "over 3 seeds",
        "1/gallery = 0.5%",
        "R@K is hit@K",
        "Ties count",
    ):
        assert claim in caption


def test_the_csv_of_recall_keeps_every_metric_as_a_share():
    tidy = recall_at_k.table(quality_of({("lora", "text->image"): [0.2, 0.4]})).tidy.set_index("metric")
    assert set(tidy.index) == {"hit@1", "hit@5", "hit@10", "mrr"}
    assert tidy.loc["hit@1", "mean"] == pytest.approx(0.3)
    assert tidy.loc["hit@1", "seeds"] == 2


def test_costs_are_shown_in_millions_percent_megabytes_and_seconds():
    [trained, paper] = parameter_efficiency.table(costs_of({"lora": [30.0, 32.0]}), PAPER_SCALE).shown
    assert trained.cells.iloc[0].to_dict() == {
        ("Total", "(M)"): "45.00",
        ("Trainable (M)", "all"): "0.450",
        ("Trainable (M)", "method"): "0.250",
        ("Trainable (M)", "projections"): "0.200",
        ("Trainable", "(%)"): "1.00",
        ("Checkpoint", "(MB)"): "1.81",
        ("Training", "(s)"): "31.0 ± 1.4",
        ("Peak memory", "(MB)"): "910 ± 0",
    }
    assert paper.cells.loc["lora"].to_dict() == {
        ("Total", "(M)"): "301.59",
        ("Trainable (M)", "all"): "1.591",
        ("Trainable (M)", "method"): "1.000",
        ("Trainable (M)", "projections"): "0.591",
        ("Trainable", "(%)"): "0.53",
    }
    assert "RoBERTa-base + AST + ViT-B/16" in paper.title


def test_costs_say_how_a_method_was_set_where_that_is_known():
    costs = costs_of({"lora": [30.0, 31.0], "full": [90.0, 91.0]})
    costs["size"] = ["r = 18", "r = 18", None, None]
    costs["budget"] = ["0.5%", "0.5%", None, None]
    costs["tuned"] = [False, False, True, True]
    table = parameter_efficiency.table(costs, PAPER_SCALE.assign(size=["–", "r = 8"]))
    [trained, paper] = table.shown
    assert list(trained.cells[("Method", "size")]) == ["r = 18", "–"]
    assert list(trained.cells[("Method", "budget")]) == ["0.5%", "–"]
    assert list(trained.cells[("Method", "rate")]) == ["default", "tuned"]
    assert list(paper.cells[("Method", "size")]) == ["–", "r = 8"]
    assert "tuned learning rate was chosen on validation" in table.caption


def test_the_csv_of_costs_holds_whole_counts_and_leaves_out_what_paper_scale_lacks(tmp_path):
    write_table(parameter_efficiency.table(costs_of({"lora": [30.0]}), PAPER_SCALE), tmp_path / "costs")
    text = (tmp_path / "costs.csv").read_text().splitlines()
    assert text[1] == "stamps-image,lora,,,,45000000,450000,250000,200000,1,1,1812345,,30,,910000000,"
    assert text[3].startswith(
        "RoBERTa-base + AST + ViT-B/16,lora,,,,301590592,1590592,1000000,590592,0.5274010669"
    )
    assert text[3].endswith(",,,,,,,")


def test_seeds_of_one_method_with_other_parameter_counts_are_refused():
    costs = costs_of({"lora": [30.0, 31.0], "full": [90.0, 91.0]})
    costs.loc[1, "trainable"] = 7
    with pytest.raises(ValueError, match=r"differ in their parameter counts: stamps-image/lora$"):
        parameter_efficiency.table(costs, PAPER_SCALE)


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [(12.34, 0.45, "12.3 ± 0.5"), (12.34, math.nan, "12.3"), (math.nan, math.nan, "–")],
)
def test_a_mean_is_printed_with_its_deviation_where_it_has_one(mean, deviation, text):
    assert mean_and_deviation(mean, deviation, decimals=1) == text


@pytest.mark.parametrize("name", plugins.names("tables"))
def test_every_table_declares_the_csv_files_that_it_takes(name):
    module = plugins.module("tables", name)
    parameters = module.table.__code__.co_varnames[: module.table.__code__.co_argcount]
    assert list(parameters) == module.INPUTS


def test_provenance_counts_the_cells_of_each_revision_and_lists_every_input_once():
    cell = {"python": "3.11.7", "torch": "2.11.0", "transformers": "5.17.0", "peft": "0.21.2"}
    cell |= {"device": "cpu", "precision": "torch.float32", "kernel": "eager"}
    cell |= {"cores": 2, "memory_gib": 6.0, "gpu": None, "processor": "any", "dataset": "d", "method": "m"}
    rows = [
        {**cell, "seed": seed, "revision": revision, "changed": changed, "input": name, "sha256": name * 32}
        for seed, revision, changed in ((0, "a" * 40, False), (1, "a" * 40, False), (2, "b" * 40, True))
        for name in ("xy", "vw")
    ]
    table = provenance.table(pd.DataFrame(rows))
    code, machine, inputs = table.shown
    assert code.cells.index.tolist() == [2, 1]
    assert code.cells[("", "revision")].tolist() == ["a" * 12, "b" * 12 + " + changes"]
    assert machine.cells.index.tolist() == [3]
    assert machine.cells[("", "gpu")].tolist() == ["–"]
    assert inputs.cells.index.tolist() == ["vw", "xy"]
    assert "sha256" in markdown(table)
