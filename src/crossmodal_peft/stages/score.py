"""Scores of a trained cell on any split, for interactive use; the workflow uses `evaluate` instead."""

from typing import Any

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.training.trained import embeddings_of


def score_split(name: str, split: str, ks: list[int], layout: Layout) -> dict[str, Any]:
    """Evaluate a cell on a split, by direction. Raises ValueError like `embeddings_of`."""
    from crossmodal_peft.retrieval.evaluate import evaluate

    return evaluate(embeddings_of(name, split, layout), ks)
