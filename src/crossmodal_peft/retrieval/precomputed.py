"""Precomputed embeddings: .npy files, optionally ids, and a table of relevant pairs."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.retrieval.embeddings import Gallery
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_pairs


def read_embeddings(path: Path, ids: Path | None = None) -> Gallery:
    """Read a .npy file of shape (items, width); items are identified by row, or by the lines of an id file.

    Raises ValueError naming the file, and the row or line, if it is not a matrix of floats, if an item is
    zero or not finite, or if ids are too few, too many, empty or duplicated.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a .npy file of numbers; write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: an archive of several arrays; write the embeddings with numpy.save")
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"{path}: expected floats of shape (items, width), found {array.dtype} {array.shape}"
        )
    with np.errstate(over="ignore"):  # Values beyond float32 become infinite and are refused below.
        embeddings = array.astype(np.float32)
    unusable = ~np.isfinite(embeddings).all(axis=1) | ~embeddings.any(axis=1)
    if unusable.any():
        row = int(np.flatnonzero(unusable)[0])
        fault = "is zero" if np.isfinite(embeddings[row]).all() else "holds NaN or infinity in float32"
        raise ValueError(f"{path}: row {row} {fault}; {int(unusable.sum())} such row(s) in all")
    rows = np.arange(len(array))
    return Gallery(
        torch.from_numpy(embeddings), rows, rows if ids is None else _read_ids(ids, path, len(array))
    )


def _read_ids(path: Path, embeddings: Path, count: int) -> np.ndarray:
    ids = path.read_text(encoding="utf-8").splitlines()
    if len(ids) != count:
        raise ValueError(f"{path}: {len(ids)} ids, but {embeddings} has {count} rows")
    unusable = pd.Index(ids).duplicated() | (pd.Index(ids) == "")
    if unusable.any():
        line = int(np.flatnonzero(unusable)[0])
        fault = f"{ids[line]!r} is used above already" if ids[line] else "is empty"
        raise ValueError(f"{path}, line {line + 1}: the id {fault}")
    return np.array(ids, dtype=object)


def read_sides(
    queries: Path, gallery: Path, query_ids: Path | None = None, gallery_ids: Path | None = None
) -> tuple[Gallery, Gallery]:
    """Read queries and gallery of the same width.

    Raises ValueError naming both files if they differ in width, or as `read_embeddings` does.
    """
    ours, theirs = read_embeddings(queries, query_ids), read_embeddings(gallery, gallery_ids)
    widths = ours.embeddings.shape[1], theirs.embeddings.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(f"{queries} has embeddings of width {widths[0]}, {gallery} of width {widths[1]}")
    return ours, theirs


def read_relevance(path: Path, queries: Gallery, gallery: Gallery) -> Relevance:
    """Read a CSV with the columns `query` and `item`: one relevant pair of ids (or rows, from 0) per line.

    Raises ValueError naming the file, and the line of an unknown id; also if there are no pairs.
    """
    try:
        pairs = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV with the columns query and item: {error}") from error
    if not {"query", "item"} <= set(pairs.columns):
        raise ValueError(f"{path}: expected the columns query and item, found {', '.join(pairs.columns)}")
    if pairs.empty:
        raise ValueError(f"{path}: no relevant pairs; give at least one line of query,item below the header")
    rows = {}
    for column, side in (("query", queries), ("item", gallery)):
        found = pd.Index(side.positions.astype(str)).get_indexer(pd.Index(pairs[column]))
        if (found < 0).any():
            line = int(np.flatnonzero(found < 0)[0])
            name, size = pairs[column].iloc[line], len(side.positions)
            raise ValueError(f"{path}, line {line + 2}: {column} {name} is not among the {size} embeddings")
        rows[column] = found
    return relevance_from_pairs(rows["query"], rows["item"], len(queries.positions), len(gallery.positions))
