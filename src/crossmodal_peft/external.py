"""Embeddings that were made elsewhere: .npy files and a table of what is relevant."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.galleries import Gallery
from crossmodal_peft.relevance import Relevance, relevance_from_pairs


def read_embeddings(path: Path) -> Gallery:
    """A .npy file of shape (items, width); an item's id is its row.

    Raises ValueError that names the file if it is no matrix of finite numbers.
    """
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"{path}: expected floats of shape (items, width), found {array.dtype} {array.shape}"
        )
    rows = np.arange(len(array))
    return Gallery(torch.from_numpy(array.astype(np.float32)), rows, rows)


def read_relevance(path: Path, queries: int, gallery: int) -> Relevance:
    """A CSV with the columns `query` and `item`, rows of the two embedding files, one relevant pair a line.

    Raises ValueError that names the file and the line of a row number that is not there.
    """
    pairs = pd.read_csv(path)
    if not {"query", "item"} <= set(pairs.columns):
        raise ValueError(f"{path}: expected the columns query and item, found {', '.join(pairs.columns)}")
    for column, size in (("query", queries), ("item", gallery)):
        wrong = pairs.index[~pairs[column].between(0, size - 1)]
        if len(wrong):
            value = pairs[column][wrong[0]]
            raise ValueError(
                f"{path}, line {wrong[0] + 2}: {column} {value} is not among the {size} embeddings"
            )
    return relevance_from_pairs(pairs["query"].to_numpy(), pairs["item"].to_numpy(), queries, gallery)
