"""Queries, galleries and relevance that ranking, metrics and nearest items are tested on."""

import numpy as np
import torch

from crossmodal_peft.retrieval.exact import to_grid
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_pairs

Problem = tuple[torch.Tensor, torch.Tensor, Relevance]


def from_scores(scores: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings whose inner products are the given (queries, gallery) scores."""
    return torch.eye(len(scores)), torch.tensor(scores, dtype=torch.float32).T.contiguous() + 0.0


def exact_matrix(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    return (to_grid(queries, "query").double() @ to_grid(gallery, "gallery").double().T).numpy()


def random_problem(seed: int, queries: int, gallery: int, most_relevant: int, dimension: int = 16):
    """Random embeddings; each query has 1 to `most_relevant` random relevant items."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most_relevant + 1, queries)
    items = np.concatenate([rng.choice(gallery, count, replace=False) for count in counts])
    relevance = relevance_from_pairs(np.repeat(np.arange(queries), counts), items, queries, gallery)
    q, g = rng.standard_normal((queries, dimension)), rng.standard_normal((gallery, dimension))
    return torch.from_numpy(q), torch.from_numpy(g), relevance


def tied_problem(seed: int, queries: int = 40, gallery: int = 60, most_relevant: int = 12):
    """Small integer embeddings, so that most scores tie exactly."""
    rng = np.random.default_rng(seed)
    _, _, relevance = random_problem(seed, queries, gallery, most_relevant)
    q, g = (rng.integers(-1, 2, (n, 4)) for n in (queries, gallery))
    q[:, 0], g[:, 0] = 1, 1
    return torch.from_numpy(q).float(), torch.from_numpy(g).float(), relevance


def near_ties(copies: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Items that differ in the last bits of float32, which a plain product orders by its block size."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(1, 256, generator=generator).repeat(300, 1)
    gallery = base + 1e-6 * torch.randn(300, 256, generator=generator)
    queries = base[:4] + 0.1 * torch.randn(4, 256, generator=generator)
    return queries, gallery.repeat_interleave(copies, dim=0)[:300]


def near_tied_problem():
    """Near ties around a third of the relevant items, so that float32 cannot tell them apart."""
    queries, gallery = near_ties(3)
    rng = np.random.default_rng(0)
    far = torch.from_numpy(rng.standard_normal((300, 256))).float()
    rows = np.repeat(np.arange(4), 6)
    items = np.concatenate(
        [[*rng.choice(300, 2, False), *rng.choice(np.arange(300, 600), 4, False)] for _ in range(4)]
    )
    return queries, torch.cat([gallery, far]), relevance_from_pairs(rows, items, 4, 600)


def adversarial_problem(kind: str, seed: int, queries: int, gallery: int, most_relevant: int) -> Problem:
    """Embeddings with ties, duplicates, nearly one direction, or norms of many magnitudes."""
    rng = np.random.default_rng(seed)
    q, g, relevance = random_problem(seed, queries, gallery, most_relevant)
    if kind == "quantised":
        q, g = (4 * q).round() / 4 + 1 / 8, (4 * g).round() / 4 + 1 / 8
    elif kind == "collapsed":
        q, g = 1 + 1e-6 * q, 1 + 1e-6 * g
    elif kind == "one-hot":
        q, g = (torch.eye(16)[torch.from_numpy(rng.integers(0, 16, n))] for n in (queries, gallery))
    elif kind == "duplicates":
        g = g[torch.from_numpy(rng.integers(0, max(gallery // 4, 1), gallery))]
    elif kind == "norms":
        q, g = (x * torch.from_numpy(10.0 ** rng.uniform(-6, 6, (len(x), 1))) for x in (q, g))
    return q.float(), g.float(), relevance


def small_problem(seed: int) -> Problem:
    """The seed's problem: one of every kind in turn, from one query and a gallery of one item upwards."""
    kinds = ["tied", "quantised", "collapsed", "one-hot", "duplicates", "norms", "plain"]
    kind, rng = kinds[seed % len(kinds)], np.random.default_rng(seed)
    queries, gallery = int(rng.integers(1, 25)), int(rng.choice([1, 2, *range(3, 60)]))
    shape = queries, gallery, int(rng.integers(1, min(gallery, 9) + 1))
    return tied_problem(seed, *shape) if kind == "tied" else adversarial_problem(kind, seed, *shape)


def naive_counts(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pairs,) exact scores, irrelevant items above and tied, from the whole matrix in float64."""
    queries, gallery, relevance = problem
    exact = exact_matrix(queries, gallery)[relevance.queries]
    scores = exact[np.arange(len(exact)), relevance.items]
    irrelevant = np.ones((len(queries), len(gallery)), dtype=bool)
    irrelevant[relevance.queries, relevance.items] = False
    others = irrelevant[relevance.queries]
    above, tied = (exact > scores[:, None]) & others, (exact == scores[:, None]) & others
    return scores, above.sum(axis=1), tied.sum(axis=1)
