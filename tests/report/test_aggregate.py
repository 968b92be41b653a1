"""Claims about gathering records: what is kept, in which order, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import REPOSITORY

from crossmodal_peft.report.aggregate import (
    aggregate,
    costs,
    histories,
    over_seeds,
    pair,
    provenance,
    quality,
    seeds_of,
)


def a_record(
    dataset: str = "stamps-image", method: str = "lora", seed: int = 0, **changes: Any
) -> dict[str, Any]:
    metrics = {
        "queries": 161,
        "gallery": 190,
        "queries_excluded": 2,
        "query_similarity": 0.1,
        "hit@1": 0.25,
        "median_rank": 5.0,
    }
    return {
        "dataset": dataset,
        "method": method,
        "seed": seed,
        "status": "complete",
        "metrics": {"image->text": dict(metrics), "text->image": dict(metrics)},
        "parameters": {"total": 450, "trainable": 40, "method": 30, "projections": 10},
        "training": {"seconds": 3.5, "samples_per_second": 2.0, "peak_memory_bytes": 9e8, "best_epoch": 6},
        "checkpoint_bytes": 812,
        "provenance": {
            "finished": "2026-01-02T03:04:05+00:00",
            "python": "3.11.7",
            "versions": {"torch": "2.11.0", "peft": "0.21.2"},
            "git": {"revision": "0" * 40, "dirty": False},
            "hardware": {"processor": "any", "cores": 2, "memory_gib": 6.0, "gpu": None},
            "inputs": {"text encoder": "a" * 64, "image encoder": "b" * 64},
            "device": "cpu",
            "precision": "torch.float32",
            "kernel": "eager",
        },
        **changes,
    }


def write(folder: Path, records: list[dict[str, Any]]) -> list[Path]:
    paths = []
    for number, record in enumerate(records):
        path = folder / str(number) / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        path.with_name("history.csv").write_text("epoch,loss,validation_recall\n1,3.5,0.1\n2,3.0,0.2\n")
        paths.append(path)
    return paths


def test_caps_are_a_column_only_where_a_record_has_one():
    paths = sorted((REPOSITORY / "results" / "runs").rglob("record.json"))
    committed = json.loads(paths[0].read_text(encoding="utf-8"))
    for metrics in committed["metrics"].values():
        metrics.pop("caps", None)  # As in records of earlier releases.
    before = quality([committed])
    assert "cap" not in before and len(before)
    capped = json.loads(paths[0].read_text(encoding="utf-8"))
    for metrics in capped["metrics"].values():
        metrics["caps"] = {"hit@5": 0.9}
    after = quality([capped])
    assert after.drop(columns="cap").equals(before)
    assert after.groupby("metric")["cap"].max().dropna().to_dict() == {"hit@5": 0.9}


def test_quality_has_a_row_per_direction_and_metric_and_none_for_the_counts():
    frame = quality([a_record()])
    assert frame.to_dict("list") == {
        "dataset": ["stamps-image"] * 4,
        "method": ["lora"] * 4,
        "seed": [0] * 4,
        "direction": ["text->image", "text->image", "image->text", "image->text"],
        "metric": ["hit@1", "median_rank"] * 2,
        "value": [0.25, 5.0] * 2,
        "queries": [161] * 4,
        "gallery": [190] * 4,
    }


def test_directions_stand_in_the_order_of_the_table_whatever_the_record_says():
    sizes = {"queries": 1, "gallery": 1, "hit@1": 1.0}
    names = ["image->audio", "image->text", "audio->image", "text->image", "audio->text", "text->audio"]
    frame = quality([a_record(metrics=dict.fromkeys(names, sizes))])
    assert list(frame["direction"]) == [
        "text->audio", "audio->text", "text->image", "image->text", "audio->image", "image->audio",
    ]  # fmt: skip


def test_a_null_metric_is_kept_as_missing_and_a_flag_is_no_metric():
    metrics = {
        "text->image": {"queries": 1, "gallery": 5, "hit@10": None, "collapsed": True, "note": "small"}
    }
    frame = quality([a_record(metrics=metrics)])
    assert list(frame["metric"]) == ["hit@10"]
    assert frame["value"].isna().all()


def test_costs_name_the_parts_of_the_parameters_apart():
    tuning = {"size": "r = 8", "budget": "0.5%", "tuned": True}
    [row] = costs([a_record(seed=7, tuning=tuning)]).to_dict("records")
    assert row == {
        "dataset": "stamps-image",
        "method": "lora",
        "seed": 7,
        "size": "r = 8",
        "budget": "0.5%",
        "tuned": True,
        "total": 450,
        "trainable": 40,
        "method_parameters": 30,
        "projection_parameters": 10,
        "checkpoint_bytes": 812,
        "seconds": 3.5,
        "samples_per_second": 2.0,
        "peak_memory_bytes": 9e8,
        "best_epoch": 6,
    }


def test_histories_put_the_cell_before_every_epoch():
    epochs = pd.DataFrame({"epoch": [1, 2], "loss": [3.5, 3.0]})
    frame = histories([a_record(seed=0), a_record(seed=1)], [epochs, epochs[:1]])
    assert list(frame.columns) == ["dataset", "method", "seed", "epoch", "loss"]
    assert list(zip(frame["seed"], frame["epoch"], strict=True)) == [(0, 1), (0, 2), (1, 1)]


def test_rows_follow_the_first_appearance_of_methods_and_the_number_of_the_seed(tmp_path):
    cells = [("b", "zeta", 10), ("b", "alpha", 0), ("a", "mid", 0), ("a", "zeta", 2), ("b", "zeta", 2)]
    aggregate(write(tmp_path, [a_record(*cell) for cell in cells]), tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "costs.csv")
    assert list(zip(frame["dataset"], frame["method"], frame["seed"], strict=True)) == [
        ("b", "zeta", 2), ("b", "zeta", 10), ("b", "alpha", 0), ("a", "zeta", 2), ("a", "mid", 0),
    ]  # fmt: skip


def test_each_history_stays_with_its_own_cell_when_cells_are_sorted(tmp_path):
    paths = write(tmp_path, [a_record(seed=1), a_record(seed=0)])
    paths[0].with_name("history.csv").write_text("epoch,loss\n1,11\n")
    paths[1].with_name("history.csv").write_text("epoch,loss\n1,10\n")
    aggregate(paths, tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "histories.csv")
    assert list(zip(frame["seed"], frame["loss"], strict=True)) == [(0, 10), (1, 11)]


def test_the_same_records_give_the_same_bytes(tmp_path):
    paths = write(tmp_path, [a_record(seed=seed) for seed in (0, 1)])
    aggregate(paths, tmp_path / "first")
    aggregate(paths, tmp_path / "second")
    for name in ("quality.csv", "costs.csv", "histories.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (a_record(seed=1, status="failed"), "status is 'failed'"),
        (a_record(seed=0), "the same dataset, method and seed as .*0/record.json"),
        (
            a_record(seed=1, metrics={"text->image": {"queries": 161, "gallery": 95}}),
            "stamps-image text->image gallery is 95, but 190 in .*0/record.json",
        ),
        (
            a_record(seed=1, metrics={"text->image": {"queries": 160, "gallery": 190}}),
            "stamps-image text->image queries is 160, but 161",
        ),
        ({key: value for key, value in a_record(seed=1).items() if key != "training"}, "lacks training"),
    ],
)
def test_a_record_that_must_not_stand_in_the_table_is_refused_by_name(tmp_path, second, complaint):
    paths = write(tmp_path, [a_record(), second])
    with pytest.raises(ValueError, match=rf"1/record\.json: .*{complaint}"):
        aggregate(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_datasets_may_have_other_galleries(tmp_path):
    other = a_record("stamps-speech", metrics={"text->image": {"queries": 5, "gallery": 9, "hit@1": 1}})
    aggregate(write(tmp_path, [a_record(), other]), tmp_path / "out")
    assert set(pd.read_csv(tmp_path / "out" / "quality.csv")["gallery"]) == {190, 9}


def test_a_broken_record_a_missing_history_and_no_records_are_refused(tmp_path):
    [path] = write(tmp_path, [a_record()])
    path.with_name("history.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"0/history\.csv"):
        aggregate([path], tmp_path / "out")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"0/record\.json: not valid JSON"):
        aggregate([path], tmp_path / "out")
    with pytest.raises(ValueError, match="no records"):
        aggregate([], tmp_path / "out")


def test_the_deviation_is_that_of_a_sample_and_missing_for_one_seed():
    frame = pd.DataFrame({"method": ["b", "a", "b", "b"], "value": [1.0, 9.0, 2.0, 6.0]})
    rows = over_seeds(frame, ["method"], "value")
    assert list(rows["method"]) == ["b", "a"]
    assert list(rows["mean"]) == [3.0, 9.0]
    assert rows["sd"][0] == pytest.approx(7**0.5)  # (4 + 1 + 9) / (3 - 1)
    assert pd.isna(rows["sd"][1])
    assert list(rows["seeds"]) == [3, 1]


def test_both_ways_between_two_modalities_are_one_pair():
    assert pair("image->text") == pair("text->image") == "text and image"
    assert pair("image->audio") == pair("audio->image") == "audio and image"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([("a", 0)], "1 seed"),
        ([("a", 0), ("a", 1)], "2 seeds"),
        ([("a", 0), ("a", 1), ("b", 0)], "1 to 2 seeds"),
    ],
)
def test_seeds_are_counted_per_method(cells, words):
    frame = pd.DataFrame([{"dataset": "d", "method": method, "seed": seed} for method, seed in cells])
    assert seeds_of(frame) == words


def test_provenance_has_a_row_for_each_cell_and_input():
    frame = provenance([a_record(), a_record(seed=1)])
    assert frame[["seed", "input", "sha256"]].to_numpy().tolist() == [
        [0, "text encoder", "a" * 64],
        [0, "image encoder", "b" * 64],
        [1, "text encoder", "a" * 64],
        [1, "image encoder", "b" * 64],
    ]
    assert set(frame["torch"]) == {"2.11.0"} and set(frame["cores"]) == {2}
    assert not frame["changed"].any()
