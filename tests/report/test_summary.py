"""Claims about the summary in words and the report's pages, on made-up results whose answers are plain."""

import pandas as pd

from crossmodal_peft.report.html import page
from crossmodal_peft.report.summary import better, summary

PAIRED = ["method_a", "method_b", "difference", "low", "high", "p", "p_holm"]
TRAINABLE = {"frozen": 10, "lora": 20, "full": 1000}


def results(recall: dict[str, float], certain: list[tuple[str, str]]) -> dict[str, pd.DataFrame]:
    """One dataset, one direction; `certain`: pairs (better, worse) that the tests tell apart."""
    methods = list(recall)
    quality = pd.DataFrame(
        [("d", m, s, "text->image", "hit@10", recall[m], 50, 60) for m in methods for s in (0, 1)],
        columns=["dataset", "method", "seed", "direction", "metric", "value", "queries", "gallery"],
    )
    costs = pd.DataFrame(
        [("d", m, s, TRAINABLE[m], 2000, 5.0 * TRAINABLE[m]) for m in methods for s in (0, 1)],
        columns=["dataset", "method", "seed", "trainable", "total", "seconds"],
    )
    pairs = [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]
    significance = pd.DataFrame(
        [
            ("d", "text->image", "hit@10", a, b, recall[a] - recall[b], -0.02, 0.04, 0.01, p)
            for a, b in pairs
            for p in [0.01 if (a, b) in certain or (b, a) in certain else 0.5]
        ],
        columns=["dataset", "direction", "metric", *PAIRED],
    )
    return {"quality": quality, "costs": costs, "significance": significance}


RECALL = {"frozen": 0.3, "lora": 0.5, "full": 0.52}


def test_better_needs_a_certain_difference_in_the_right_direction():
    tests = results(RECALL, [("full", "frozen")])["significance"]
    assert better(tests, "full", "frozen")
    assert not better(tests, "frozen", "full")
    assert not better(tests, "full", "lora")


def test_the_best_mean_is_named_with_what_it_beats_and_what_it_is_not_told_apart_from():
    text = summary(**results(RECALL, [("full", "frozen")]))
    assert (
        "**text → image**: `full` has the highest R@10, 52.0; it is better than `frozen`, "
        "not told apart from `lora`." in text
    )


def test_a_lead_that_no_test_confirms_is_not_called_better():
    text = summary(**results(RECALL, []))
    assert "`full` has the highest R@10, 52.0; it is not told apart from any other." in text
    assert "No two methods are told apart" in text


def test_the_most_that_the_relevance_allows_is_said_with_the_sizes():
    tables = results(RECALL, [])
    assert "at most" not in summary(**tables)
    tables["quality"]["cap"] = 0.6
    assert "text → image: 50 queries, gallery of 60, R@10 of at most 60.0 for any model." in summary(**tables)


def test_every_step_of_the_front_says_what_it_costs_and_whether_it_is_certain():
    text = summary(**results(RECALL, [("lora", "frozen"), ("full", "frozen")]))
    assert "| 10 | 0.50 % | `frozen` | 30.0 | – | – |" in text
    assert "| 20 | 1.00 % | `lora` | 50.0 | +20.0 | text → image |" in text
    assert "| 1,000 | 50.00 % | `full` | 52.0 | +2.0 | no direction |" in text


def test_the_cheapest_method_that_none_beats_is_named_with_its_saving():
    text = summary(**results(RECALL, [("lora", "frozen"), ("full", "frozen")]))
    assert "`lora`, with 20 trained parameters (2.0 % of those of `full`) and 100 s of training" in text
    every = summary(**results(RECALL, [("lora", "frozen"), ("full", "frozen"), ("full", "lora")]))
    assert "`full`, which is the dearest too" in every


def test_a_single_method_has_nothing_to_compare():
    text = summary(**results({"lora": 0.5}, []))
    assert "`lora` has the highest R@10, 50.0." in text
    assert "nothing, there is one method only" in text


def test_a_page_holds_its_tables_and_needs_no_other_file():
    html = page("**Title**\n\n| a | b |\n|--|--|\n| 1 | **2** |\n\n<script>alert(1)</script>", "t")
    assert "<td>1</td>" in html and "<strong>2</strong>" in html
    assert "<script>" not in html
    assert "http" not in html
