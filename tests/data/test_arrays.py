"""Claims about datasets that are trained together, and the rows drawn from them."""

import numpy as np
import pandas as pd
import pytest

from crossmodal_peft.data.arrays import Examples, in_turn, read_manifests, rows_of


def examples(items: int) -> Examples:
    return Examples({}, {}, labels=np.arange(items), names=np.arange(items))


def test_batches_of_a_single_dataset_are_those_of_its_own_epoch():
    alone = list(examples(10).epoch(3, np.random.default_rng(0)))
    together = in_turn({"a": examples(10)}, 3, np.random.default_rng(0))
    assert [list(items) for _, items in together] == [list(items) for items in alone]


def test_batches_of_two_datasets_are_spread_evenly():
    both = {"large": examples(12), "small": examples(4)}
    names = [name for name, _ in in_turn(both, 2, np.random.default_rng(0))]
    # Six batches and two: the small dataset's are in the middle of each half.
    assert names == ["large", "large", "small", "large", "large", "large", "small", "large"]


@pytest.fixture
def manifests(tmp_path) -> dict:
    for name, groups in (("one", ["b", "c", "b"]), ("two", ["a", "b", None])):
        rows = [row if group else -1 for row, group in enumerate(groups)]
        frame = pd.DataFrame({"group": groups, "row": rows, "label": 9, "modality": "text"})
        frame.to_parquet(tmp_path / f"{name}.parquet")
    return {name: tmp_path / f"{name}.parquet" for name in ("one", "two")}


def test_equal_captions_of_two_datasets_are_relevant_to_each_other(manifests):
    together = read_manifests(manifests)
    assert list(together.dataset) == ["one"] * 3 + ["two"] * 2
    assert list(together.label) == [1, 2, 1, 0, 1]
    assert list(together.index) == [0, 1, 2, 3, 4]


def test_drawing_rows_of_many_items_at_once_equals_a_choice_for_each_in_turn():
    of_item = {"b": [4, 0, 7], "a": [2], "c": [5, 1]}
    rows = [{"item": item, "row": row} for item, rows in of_item.items() for row in rows]
    shuffled = pd.DataFrame(rows).iloc[[5, 0, 3, 1, 4, 2]].sort_values("row")
    items = np.array([2, 0, 1, 0])
    drawn = rows_of(shuffled, np.array(["a", "b", "c"])).draw(items, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    choices = [sorted(of_item["abc"[item]]) for item in items]
    expected = [choice[i] for choice, i in zip(choices, rng.integers(0, [len(c) for c in choices]))]
    assert list(drawn) == expected
