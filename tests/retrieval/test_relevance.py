"""Relevance from labels and from pairs."""

import numpy as np
import pytest

from crossmodal_peft.retrieval.relevance import relevance_from_labels, relevance_from_pairs


def test_labels_list_the_relevant_items_ascending():
    labels = np.random.default_rng(0).integers(0, 5, 500)
    relevance = relevance_from_labels(labels[:50], labels)
    for query in range(50):
        items = relevance.items[relevance.offsets[query] : relevance.offsets[query + 1]]
        np.testing.assert_array_equal(items, np.flatnonzero(labels == labels[query]))


def test_labels_and_pairs_give_the_same_relevance():
    by_label = relevance_from_labels(["b", "a", "none", "b"], ["a", "b", "c", "b"])
    by_pairs = relevance_from_pairs([3, 3, 1, 0, 0, 0], [1, 3, 0, 3, 1, 3], 4, 4)
    for relevance in (by_label, by_pairs):
        assert relevance.offsets.tolist() == [0, 2, 3, 3, 5]
        assert relevance.items.tolist() == [1, 3, 0, 1, 3]
        assert relevance.gallery_size == 4


def test_relevance_refuses_bad_input():
    with pytest.raises(ValueError, match=r"pair 1 \(query row 0, gallery row 9\)"):
        relevance_from_pairs([0, 0], [1, 9], 1, 3)
    with pytest.raises(ValueError, match="the same length"):
        relevance_from_pairs([0, 0], [1], 1, 3)
    with pytest.raises(TypeError, match="different types"):
        relevance_from_labels(["1"], [1])
