"""Claims about the evaluation of cells: directions, per-query results, comparisons, tables of summaries."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from crossmodal_peft.report.evaluation_table import notes, readable, summary_table
from crossmodal_peft.retrieval.compare import compare_cells, compare_methods, method_intervals
from crossmodal_peft.retrieval.embeddings import (
    Gallery,
    gallery_rows,
    load_embeddings,
    pooled,
    save_embeddings,
)
from crossmodal_peft.retrieval.evaluate import evaluate
from crossmodal_peft.retrieval.hard_queries import hardest_queries
from crossmodal_peft.training.validation import mean_recall

KS = (1, 5, 10)


def gallery(embeddings, labels, first=0) -> Gallery:
    rows = torch.tensor(embeddings, dtype=torch.float32)
    return Gallery(F.normalize(rows, dim=-1), np.array(labels), np.arange(first, first + len(labels)))


@pytest.fixture
def three() -> dict[str, Gallery]:
    """Two captions; caption 0 has two pictures, of which the second looks like caption 1; a clip of each."""
    return {
        "text": gallery([[1, 0], [0, 1]], [0, 1]),
        "image": gallery([[1, 0.1], [0.2, 1], [0, 1]], [0, 0, 1], first=10),
        "audio": gallery([[0.9, 0.3], [0.1, 1]], [0, 1], first=20),
    }


def test_every_ordered_pair_of_modalities_is_evaluated(three):
    assert set(evaluate({"d": three}, KS)) == {
        "text->image", "text->audio", "image->text", "image->audio", "audio->text", "audio->image",
    }  # fmt: skip


def test_a_direction_by_hand(three):
    summary = evaluate({"d": three}, KS)["image->text"].summary
    # Pictures 0 and 2 find their caption first, picture 1 finds it second.
    assert summary["hit@1"] == pytest.approx(2 / 3)
    assert summary["hit@5"] == 1
    assert summary["map@10"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert summary["median_rank"] == 1
    assert (summary["queries"], summary["gallery"]) == (3, 2)
    assert summary["k_above_gallery"] == [5, 10]


def test_rows_name_what_was_retrieved_by_manifest_position(three):
    rows = evaluate({"d": three}, KS)["text->image"].queries.set_index("query")
    assert list(rows.loc[0, "retrieved"]) == [10, 11, 12]
    assert list(rows.loc[1, "retrieved"]) == [12, 11, 10]
    assert rows.loc[0, "scores"][0] > rows.loc[0, "scores"][1]
    assert rows.loc[1, "first_rank"] == 1


@pytest.fixture
def pictures_and_clips(three) -> dict[str, dict[str, Gallery]]:
    """Two datasets with captions in common: one of pictures, one of clips."""
    speech = {"text": gallery([[1, 0], [0, 1]], [0, 1], first=30), "audio": three["audio"]}
    return {"pictures": {m: three[m] for m in ("text", "image")}, "speech": speech}


def test_a_pair_that_no_dataset_has_is_emergent(pictures_and_clips):
    found = evaluate(pictures_and_clips, KS)
    emergent = {name for name, direction in found.items() if direction.summary["emergent"]}
    assert emergent == {"image->audio", "audio->image"}
    assert set(found) - emergent == {"text->image", "image->text", "text->audio", "audio->text"}
    # Picture 1 is of caption 0 and nearest to the clip of caption 1, and the other way round (cosine 0.9952,
    # and 0.9950 to the clip's own picture).
    assert found["audio->image"].summary["hit@1"] == pytest.approx(1 / 2)
    assert found["image->audio"].summary["hit@1"] == pytest.approx(2 / 3)
    assert list(found["audio->image"].queries["query"]) == [20, 21]


def test_pairs_are_evaluated_within_their_dataset(pictures_and_clips, three):
    alone = evaluate({"pictures": {m: three[m] for m in ("text", "image")}}, KS)
    together = evaluate(pictures_and_clips, KS)
    assert together["image->text"].summary == alone["image->text"].summary


def test_without_captions_in_common_nothing_emerges(pictures_and_clips):
    speech = {m: replace(g, labels=g.labels + 7) for m, g in pictures_and_clips["speech"].items()}
    assert "image->audio" not in evaluate(pictures_and_clips | {"speech": speech}, KS)


def test_a_pair_that_two_datasets_have_is_named_after_each(three):
    pair = {m: three[m] for m in ("text", "image")}
    assert set(evaluate({"a": pair, "b": pair}, KS)) == {
        "a: text->image", "a: image->text", "b: text->image", "b: image->text",
    }  # fmt: skip


def test_a_gallery_has_every_caption_once_and_every_picture():
    manifest = pd.DataFrame(
        {
            "split": "test",
            "modality": ["text", "text", "image", "image", "text"],
            "labels": [(3,), (3,), (3,), (3,), (4,)],
            "source": ["A cat.", "A cat.", "one.png", "two.png", "A dog."],
        }
    )
    assert list(gallery_rows(manifest, "test", "text").index) == [0, 4]
    assert list(gallery_rows(manifest, "test", "image").index) == [2, 3]


def test_saved_galleries_are_loaded_unchanged(three, tmp_path):
    save_embeddings(tmp_path / "embeddings.safetensors", {"test": {"d": three}})
    loaded = load_embeddings(tmp_path / "embeddings.safetensors", "test")["d"]
    assert all(torch.equal(loaded[m].embeddings, three[m].embeddings) for m in three)
    assert all((loaded[m].positions == three[m].positions).all() for m in three)
    with pytest.raises(ValueError, match="no embeddings of the split 'train'"):
        load_embeddings(tmp_path / "embeddings.safetensors", "train")


def test_several_labels_a_row_and_equal_contents_are_saved_and_pooled(three, tmp_path):
    several = replace(three["text"], labels=np.array([[0, 5], [1, 1]]), contents=np.array([0, 0]))
    save_embeddings(tmp_path / "embeddings.safetensors", {"test": {"d": {"text": several}}})
    loaded = load_embeddings(tmp_path / "embeddings.safetensors", "test")["d"]["text"]
    assert loaded.labels.tolist() == [[0, 5], [1, 1]] and loaded.contents.tolist() == [0, 0]
    together = pooled([three["image"], loaded])
    assert together.labels.tolist() == [[0, 0], [0, 0], [1, 1], [0, 5], [1, 1]]
    assert together.contents.tolist() == [0, 1, 2, 3, 3]
    assert pooled([three["image"], three["audio"]]).labels.ndim == 1


def test_a_query_of_several_labels_finds_the_items_of_each(three):
    two = replace(three["text"], labels=np.array([[0, 1], [1, 1]]))
    summary = evaluate({"d": {"text": two, "image": three["image"]}}, (1, 3))["text->image"].summary
    assert summary["recall@3"] == 1 and summary["precision@3"] == pytest.approx((3 / 3 + 1 / 3) / 2)
    # One of six values is not 1: picture 1 finds the caption first that it shares no label with.
    assert mean_recall({"d": {"text": two, "image": three["image"]}}) == pytest.approx((5 + 2 / 3) / 6)


def cells(gain: float, methods=("weak", "strong")) -> pd.DataFrame:
    """Per-query hits of two methods, 3 seeds and 200 queries; the second hits `gain` more often."""
    rng = np.random.default_rng(0)
    rows = []
    for rank, method in enumerate(methods):
        for seed in range(3):
            hits = (rng.random(200) < 0.3 + gain * rank).astype(float)
            rows.append(
                pd.DataFrame({"query": np.arange(200), "hit@1": hits, "seed": seed, "method": method})
            )
    return pd.concat(rows, ignore_index=True).assign(dataset="d", direction="text->image")


def test_a_large_difference_is_significant_and_none_is_not():
    large = compare_methods(cells(0.3), ["hit@1"]).iloc[0]
    assert large.difference == pytest.approx(-0.3, abs=0.05)
    assert large.p_holm < 0.001
    assert compare_methods(cells(0.0), ["hit@1"]).iloc[0].p_holm > 0.05


def test_intervals_of_methods_contain_their_means():
    table = method_intervals(cells(0.3), ["hit@1"])
    assert list(table.method) == ["weak", "strong"]
    assert ((table.low < table.value) & (table.value < table.high)).all()


def test_seeds_with_different_queries_are_refused():
    frame = cells(0.1)
    with pytest.raises(ValueError, match="different queries"):
        compare_methods(frame.drop(index=0), ["hit@1"])


def test_cells_are_compared_with_the_first(three):
    directions = evaluate({"d": three}, KS)
    table = compare_cells({"a": directions, "b": directions})
    assert table.loc[table.cell == "b", "difference"].eq(0).all()
    assert table.loc[table.cell == "a", "difference"].isna().all()
    other = evaluate({"d": {**three, "text": gallery([[1, 0], [0, 1]], [0, 1], first=50)}}, KS)
    with pytest.raises(ValueError, match="b: has different queries"):
        compare_cells({"a": directions, "b": other})


def test_cells_are_compared_at_the_metrics_that_were_evaluated(three):
    directions = evaluate({"d": three}, (5,))
    assert set(compare_cells({"a": directions, "b": directions}).metric) == {"hit@5"}


def test_a_rank_is_printed_as_it_is_and_a_k_that_was_not_asked_for_stays_empty(three):
    [_, _, row] = readable({"image->text": evaluate({"d": three}, (5,))["image->text"]}).splitlines()[:3]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:-1] == ["image->text", "3", "2", "", "100.0 [100.0, 100.0]", "", "", "1.0"]


def test_the_hardest_queries_are_named_with_what_stood_first_instead(three):
    manifest = pd.DataFrame(
        {
            "modality": ["text", "text", "image", "image", "image"],
            "dataset": "d",
            "item": ["a", "c", "a", "b", "c"],
            "label": [0, 1, 0, 0, 1],
            "source": ["A cat.", "A dog.", "a.png", "b.png", "c.png"],
        }
    )
    images = gallery([[1, 0.1], [0.2, 1], [0, 1]], [0, 0, 1], first=2)
    rows = evaluate({"d": {"text": three["text"], "image": images}}, KS)["image->text"].queries
    table = hardest_queries(rows.assign(dataset="d", direction="image->text"), {"d": manifest})
    worst = table.iloc[0]
    assert (worst["query"], worst["caption"], worst["mean_rank"]) == ("b.png", "A cat.", 2)
    assert (worst["instead"], worst["share"]) == ("A dog.", 1)


def test_a_summary_table_has_every_metric_and_interval(three):
    results = evaluate({"d": three}, KS)
    table = summary_table(results).set_index("direction")
    row, summary = table.loc["image->text"], results["image->text"].summary
    assert (row["hit@1"], row["ndcg@10"], row["gallery"]) == (summary["hit@1"], summary["ndcg@10"], 2)
    assert [row["map@10_low"], row["map@10_high"]] == summary["intervals"]["map@10"]
    assert row["k_above_gallery"] == "5 10"
    shown = readable({"image->text": results["image->text"]})
    assert "| image->text" in shown and "66.7 [" in shown and "gallery smaller than K = 5, 10" in shown
    assert "hit@K: share of queries" in shown and "map@K: sum of" in shown and "min(R, K)" in shown


def test_notes_say_what_is_left_out_collapsed_or_emergent():
    same = gallery([[1, 0.001], [1, 0], [1, 0.002]], [0, 1, 5])
    apart = gallery([[1, 0], [0, 1], [-1, 0.5]], [0, 1, 2], first=5)
    summary = evaluate({"d": {"text": same, "image": apart}}, KS)["text->image"].summary
    found = "; ".join(notes({**summary, "emergent": True}))
    assert "1 queries without a relevant item" in found
    assert "query embeddings collapsed (mean cosine 1.000)" in found and "gallery embeddings" not in found
    assert "never trained against each other" in found
