"""Run one retrieval tool once on prepared embeddings and print what it cost, as JSON.

Usage: python retrieval_tools.py TOOL DATA.npz

`retrieval_metrics.py` starts this file in a fresh process per measurement, in the environment that has the
tool. Every tool gets embeddings and labels in memory and returns metrics; a first call on a few rows keeps
imports and compilation out of the figures.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

DEPTH = 100
BLOCK = 1024


def product(queries, gallery, query_labels, gallery_labels):
    """The bare blockwise product: every score is computed and none is looked at."""
    out = torch.empty(2 * BLOCK, 512)
    for row in range(0, len(queries), 2 * BLOCK):
        part = queries[row : row + 2 * BLOCK]
        for column in range(0, len(gallery), 512):
            tile = gallery[column : column + 512]
            torch.mm(part, tile.T, out=out[: len(part), : len(tile)].resize_(len(part), len(tile)))
    return {}


def ours(queries, gallery, query_labels, gallery_labels):
    """All metrics of crossmodal-peft, exact at full depth."""
    from crossmodal_peft.retrieval.metrics import metrics, summarise
    from crossmodal_peft.retrieval.ranks import rank
    from crossmodal_peft.retrieval.relevance import relevance_from_labels

    ranks = rank(queries, gallery, relevance_from_labels(query_labels, gallery_labels))
    return summarise(metrics(ranks, ks=(1, 5, 10, DEPTH)))


def ours_nearest(queries, gallery, query_labels, gallery_labels):
    """The ten best items per query, exact, for the per-query results."""
    from crossmodal_peft.retrieval.topk import nearest

    return {"mean score": float(nearest(queries, gallery, 10).scores.mean())}


def faiss_numpy(queries, gallery, query_labels, gallery_labels):
    """faiss IndexFlatIP to depth 100, metrics in NumPy."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery.numpy())
    _, found = index.search(queries.numpy(), min(DEPTH, len(gallery)))
    hits = gallery_labels[found] == query_labels[:, None]
    total = _relevant_counts(query_labels, gallery_labels)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    ap = (precision * hits).sum(axis=1) / np.minimum(total, DEPTH)
    return {"hit@10": float(hits[:, :10].any(axis=1).mean()), "map@100": float(ap.mean())}


def trec_top(queries, gallery, query_labels, gallery_labels):
    """pytrec_eval on the 100 best of a blockwise product."""
    import pytrec_eval

    run, qrels = _run(queries, gallery), _qrels(query_labels, gallery_labels)
    measures = {"map_cut.100", "success.1,5,10", "recall.1,5,10", "ndcg_cut.10", "recip_rank"}
    values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run).values()
    return {
        "hit@10": float(np.mean([v["success_10"] for v in values])),
        "map@100": float(np.mean([v["map_cut_100"] for v in values])),
    }


def ranx_top(queries, gallery, query_labels, gallery_labels):
    """ranx on the 100 best of a blockwise product."""
    from ranx import Qrels, Run, evaluate

    run, qrels = Run(_run(queries, gallery)), Qrels(_qrels(query_labels, gallery_labels))
    names = [
        "map@100",
        "hit_rate@1",
        "hit_rate@5",
        "hit_rate@10",
        "recall@1",
        "recall@5",
        "recall@10",
        "ndcg@10",
        "mrr",
    ]
    values = evaluate(qrels, run, names)
    return {"hit@10": float(values["hit_rate@10"]), "map@100": float(values["map@100"])}


def sentence_transformers(queries, gallery, query_labels, gallery_labels):
    """InformationRetrievalEvaluator with its defaults (MAP@100), embeddings handed in by a stand-in model."""
    from sentence_transformers.evaluation import InformationRetrievalEvaluator

    class Model:
        def encode_query(self, inputs, **_):
            return queries

        def encode_document(self, inputs, **_):
            return gallery[[int(i) for i in inputs]]

    evaluator = InformationRetrievalEvaluator(
        {_name(i): _name(i) for i in range(len(queries))},
        {_name(i): _name(i) for i in range(len(gallery))},
        {query: set(items) for query, items in _qrels(query_labels, gallery_labels).items()},
        score_functions={"dot": lambda a, b: a @ b.T},
        write_csv=False,
    )
    values = evaluator.compute_all_metrics(Model())["dot"]
    return {"hit@10": values["accuracy@k"][10], "map@100": values["map@k"][100]}


def clip_benchmark(queries, gallery, query_labels, gallery_labels):
    """The dense path of CLIP_benchmark's zero-shot retrieval: recall@1, 5 and 10 only."""
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = queries @ gallery.T
    positive = torch.from_numpy(query_labels[:, None] == gallery_labels[None, :])
    values = {
        k: (batchify(recall_at_k, scores, positive, 64, "cpu", k=k) > 0).float().mean() for k in (1, 5, 10)
    }
    return {"hit@10": float(values[10])}


def torchmetrics(queries, gallery, query_labels, gallery_labels):
    """RetrievalHitRate@10 and RetrievalMAP at full depth."""
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP

    scores = (queries @ gallery.T).flatten()
    target = torch.from_numpy(query_labels[:, None] == gallery_labels[None, :]).flatten()
    indexes = torch.arange(len(queries)).repeat_interleave(len(gallery))
    measures = {"hit@10": RetrievalHitRate(top_k=10), "map@100": RetrievalMAP(top_k=DEPTH)}
    return {name: float(measure(scores, target, indexes=indexes)) for name, measure in measures.items()}


def _relevant_counts(query_labels, gallery_labels):
    labels, counts = np.unique(gallery_labels, return_counts=True)
    return counts[np.searchsorted(labels, query_labels)]


def _name(row):
    """Ids of one width: ranx compiles anew for every length of string."""
    return f"{row:07d}"


def _qrels(query_labels, gallery_labels):
    items: dict[int, list[str]] = {}
    for item, label in enumerate(gallery_labels.tolist()):
        items.setdefault(label, []).append(_name(item))
    return {_name(query): dict.fromkeys(items[label], 1) for query, label in enumerate(query_labels.tolist())}


def _run(queries, gallery):
    names = np.array([_name(item) for item in range(len(gallery))], dtype=object)
    run = {}
    for row in range(0, len(queries), BLOCK):
        values, items = torch.topk(queries[row : row + BLOCK] @ gallery.T, min(DEPTH, len(gallery)), dim=1)
        for offset, (found, scores) in enumerate(zip(names[items.numpy()], values.tolist(), strict=True)):
            run[_name(row + offset)] = dict(zip(found, scores, strict=True))
    return run


TOOLS: dict[str, Callable] = {
    "product": product,
    "crossmodal-peft": ours,
    "crossmodal-peft nearest 10": ours_nearest,
    "faiss 100 + NumPy": faiss_numpy,
    "pytrec_eval 100": trec_top,
    "ranx 100": ranx_top,
    "sentence-transformers": sentence_transformers,
    "CLIP_benchmark": clip_benchmark,
    "torchmetrics": torchmetrics,
}


def resident(field: str) -> float:
    """VmRSS or VmHWM (its peak) of this process in MB, from /proc (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    """Time the tool on the data, after a small first call, and print the figures."""
    tool, path = TOOLS[sys.argv[1]], sys.argv[2]
    torch.set_num_threads(1)
    with np.load(path) as stored:
        queries, gallery = torch.from_numpy(stored["queries"]), torch.from_numpy(stored["gallery"])
        query_labels, gallery_labels = stored["query_labels"], stored["gallery_labels"]
    few = np.flatnonzero(np.isin(query_labels, gallery_labels[:200]))[:50]
    tool(queries[few], gallery[:200], query_labels[few], gallery_labels[:200])
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
    before, wall, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    values = tool(queries, gallery, query_labels, gallery_labels)
    figures = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(figures | {"added_mb": resident("VmHWM") - before, "values": values}))


if __name__ == "__main__":
    main()
