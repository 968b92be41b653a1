"""The highest R@K and recall@K that the relevance allows, whatever the model.

Queries of one content (equal captions) get one ranking, and gallery items of one content tie. Where such
queries have different answers, or only some of such items are relevant, no model reaches 100 percent.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from crossmodal_peft.retrieval.relevance import Relevance

Contents = NDArray[np.int64] | None
LEAST = 1e-9  # A cap this close to 1 is rounding.
CAPPED = "≤: the most that the relevance allows, as every model ranks equal captions or files alike."


def caps(relevance: Relevance, queries: Contents, gallery: Contents, ks: Sequence[int]) -> dict[str, float]:
    """Upper bounds, as shares, of hit@K and recall@K over the queries with a relevant item; below 1 only.

    `queries` and `gallery` number the contents (n,), None: all are different. The bound of hit@K is reached
    where the answers of equal queries are the same or have nothing in common.
    """
    judged = relevance.counts[relevance.counts > 0]
    if not len(judged):
        return {}
    bounds = {f"recall@{k}": float(np.mean(np.minimum(k, judged) / judged)) for k in ks}
    if queries is not None or gallery is not None:
        bounds |= dict(zip((f"hit@{k}" for k in ks), _hits(relevance, queries, gallery, ks) / len(judged)))
    return {name: round(float(bound), 12) for name, bound in bounds.items() if bound < 1 - LEAST}


def _hits(relevance: Relevance, queries: Contents, gallery: Contents, ks: Sequence[int]) -> NDArray:
    """(ks,) the highest number of queries that can have a relevant item among their first K."""
    of_query = np.arange(relevance.query_count) if queries is None else queries
    of_item = np.arange(relevance.gallery_size) if gallery is None else gallery
    sizes = np.bincount(of_item)
    members: dict[int, list[int]] = defaultdict(list)
    for query in np.flatnonzero(relevance.counts).tolist():
        members[int(of_query[query])].append(query)
    reached = np.zeros(len(ks))
    for same in members.values():
        answers = [np.unique(of_item[_items(relevance, query)], return_counts=True) for query in same]
        gains = sorted(_gains(answers, sizes, max(ks)), reverse=True)
        reached += [min(sum(gains[:k]), len(same)) for k in ks]
    return reached


def _items(relevance: Relevance, query: int) -> NDArray[np.int64]:
    return relevance.items[relevance.offsets[query] : relevance.offsets[query + 1]]


def _gains(answers: Sequence[tuple[NDArray, NDArray]], sizes: NDArray, deepest: int) -> Iterator[float]:
    """What each place of a ranking can add to the hits of equal queries; fewer for each further place.

    `answers`: for each of the queries, the contents of its relevant items and how many have each. Contents
    that answer the same queries add something once: whoever finds one needs no other.
    """
    answered: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for query, (contents, counts) in enumerate(answers):
        for content, count in zip(contents.tolist(), counts.tolist(), strict=True):
            answered[content].append((query, count))
    once = {(tuple(of), int(sizes[content])) for content, of in answered.items()}
    for of, size in once:
        found = [sum(_chance(size, count, k) for _, count in of) for k in range(min(size, deepest) + 1)]
        yield from np.diff(found).tolist()


def _chance(size: int, relevant: int, k: int) -> float:
    """Of a relevant item among the first k of `size` items in random order."""
    return 1 - comb(size - relevant, k) / comb(size, k)
