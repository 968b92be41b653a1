"""Claims about the recall that the best epoch is chosen by: the evaluation's, to the last digit."""

from itertools import permutations

import numpy as np
import pytest
import torch
from retrieval_problems import adversarial_problem
from torch.nn import functional as F

from crossmodal_peft.retrieval.embeddings import Gallery
from crossmodal_peft.retrieval.evaluate import evaluate
from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import relevance_from_labels
from crossmodal_peft.training import validation
from crossmodal_peft.training.validation import mean_recall

KS = (1, 5, 10)
KINDS = ["plain", "quantised", "collapsed", "one-hot", "duplicates"]
MODALITIES = ("text", "image", "audio")


def random_galleries(seed: int) -> dict[str, dict[str, Gallery]]:
    """One to three datasets of two or three modalities of different sizes, with labels in common."""
    rng = np.random.default_rng(seed)
    found = {}
    for dataset in range(rng.integers(1, 4)):
        labels = int(rng.integers(1, 30))
        found[f"d{dataset}"] = {
            str(modality): gallery(KINDS[seed % 5], rng, labels)
            for modality in rng.permutation(MODALITIES)[: rng.integers(2, 4)]
        }
    return found


def gallery(kind: str, rng: np.random.Generator, labels: int) -> Gallery:
    size = int(rng.integers(5, 60))
    embeddings = adversarial_problem(kind, int(rng.integers(10**6)), 1, size, 1)[1]
    shape = size if kind != "duplicates" else (size, int(rng.integers(1, 4)))  # One label a row, or several.
    return Gallery(F.normalize(embeddings, dim=1), rng.integers(0, labels, shape), np.arange(100, 100 + size))


def evaluated(galleries: dict[str, dict[str, Gallery]]) -> float:
    """The same mean from the evaluation's ranks and metrics."""
    means = []
    for a, b in permutations(dict.fromkeys(m for of in galleries.values() for m in of), 2):
        for of in galleries.values():
            if a in of and b in of:
                relevance = relevance_from_labels(of[a].labels, of[b].labels)
                values = metrics(rank(of[a].embeddings, of[b].embeddings, relevance), KS)
                means += [np.nanmean(values[f"hit@{k}"]) for k in KS]
    return float(np.mean(means))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("at_once", [1, 500, validation.SCORES_AT_ONCE])
def test_recall_is_that_of_the_evaluation_to_the_last_digit(at_once, monkeypatch):
    monkeypatch.setattr(validation, "SCORES_AT_ONCE", at_once)
    for seed in range(60):
        galleries = random_galleries(seed)
        np.testing.assert_equal(mean_recall(galleries), evaluated(galleries), err_msg=f"seed {seed}")


@pytest.mark.parametrize("seed", [0, 5, 10, 15])
def test_the_best_epoch_is_chosen_without_emergent_pairs(seed):
    galleries = random_galleries(seed)
    galleries = {"pictures": {m: galleries["d0"][m] for m in list(galleries["d0"])[:2]}, "other": {}}
    a, b = galleries["pictures"].values()
    galleries["other"] = {"text": a, "speech": b}
    trained = [d.summary for d in evaluate(galleries, KS).values() if not d.summary["emergent"]]
    expected = np.mean([s[f"hit@{k}"] for s in trained for k in KS])
    assert mean_recall(galleries) == pytest.approx(expected)


def test_a_tie_by_hand():
    """Caption 0 finds its picture level with another, the pictures find their captions level too."""
    same = torch.ones(2, 4) / 2
    sides = {m: Gallery(same, np.array([0, 1]), np.array([0, 1])) for m in ("text", "image")}
    # hit@1 is 1/2 in both directions, hit@5 and hit@10 are 1.
    assert mean_recall({"d": sides}) == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_a_query_without_a_relevant_item_is_left_out():
    text = Gallery(torch.eye(3), np.array([0, 1, 7]), np.arange(3))
    image = Gallery(torch.eye(3)[[1, 0]], np.array([0, 1]), np.arange(2))
    # Either caption that has a picture finds the other one first, and the other way round.
    assert mean_recall({"d": {"text": text, "image": image}}) == pytest.approx((0 + 1 + 1) / 3)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_an_unusable_embedding_is_named(value):
    galleries = random_galleries(0)
    modality, part = next(iter(galleries["d0"].items()))
    part.embeddings[2] = value
    with pytest.raises(
        ValueError, match=rf"validation \(d0, {modality}\): .* manifest position 102 is zero or"
    ):
        mean_recall(galleries)
