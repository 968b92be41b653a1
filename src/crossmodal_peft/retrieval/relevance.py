"""Which gallery items are relevant to which query, as a sparse table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Relevance:
    """The relevant gallery items of every query, in compressed sparse row (CSR) form.

    `items[offsets[i]:offsets[i + 1]]` are the gallery rows that are relevant to query row `i`, ascending and
    without duplicates. Build it with `relevance_from_labels` or `relevance_from_pairs`, which ensure this.

    Attributes:
        offsets: (queries + 1,) int64.
        items: (pairs,) int64, gallery rows.
        gallery_size: number of items in the gallery, relevant to a query or not.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    gallery_size: int

    @property
    def query_count(self) -> int:
        """Number of queries, including those without a relevant item."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(queries,) number of relevant items of each query, R in the definitions of the metrics."""
        return np.diff(self.offsets)

    @property
    def queries(self) -> NDArray[np.int64]:
        """(pairs,) the query row of every entry of `items`."""
        return np.repeat(np.arange(self.query_count), self.counts)


def relevance_from_labels(query_labels: ArrayLike, gallery_labels: ArrayLike) -> Relevance:
    """A gallery item is relevant to a query if they have a label in common.

    Args:
        query_labels: (queries,) or (queries, m) labels, strings or integers: a class, or the id of the item
            that was captioned. A row with fewer than m labels repeats one of its own.
        gallery_labels: (gallery,) or (gallery, m) labels of the same type.

    Raises:
        TypeError: one side has strings and the other numbers, so no labels could ever be equal.
    """
    query_array, gallery_array = np.asarray(query_labels), np.asarray(gallery_labels)
    if (query_array.dtype.kind in "US") != (gallery_array.dtype.kind in "US"):
        raise TypeError(
            f"labels of different types: queries {query_array.dtype}, gallery {gallery_array.dtype}"
        )
    if query_array.ndim > 1 or gallery_array.ndim > 1:
        return _from_several(query_array, gallery_array)
    codes = np.unique(np.concatenate([query_array, gallery_array]), return_inverse=True)[1]
    query_codes, gallery_codes = np.split(codes, [len(query_array)])
    by_label = np.argsort(gallery_codes, kind="stable")
    starts = np.searchsorted(gallery_codes[by_label], query_codes, side="left")
    counts = np.searchsorted(gallery_codes[by_label], query_codes, side="right") - starts
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, counts)
    return Relevance(offsets, by_label[position].astype(np.int64), len(gallery_array))


def _from_several(query_labels: NDArray, gallery_labels: NDArray) -> Relevance:
    """As `relevance_from_labels`, with several labels a row: pairs of all places of labels, once each."""
    queries, gallery = (of.reshape(len(of), -1) for of in (query_labels, gallery_labels))
    places = relevance_from_labels(queries.ravel(), gallery.ravel())
    rows = places.queries // queries.shape[1], places.items // gallery.shape[1]
    return relevance_from_pairs(*rows, len(queries), len(gallery))


def relevance_from_pairs(
    query_rows: ArrayLike, gallery_rows: ArrayLike, query_count: int, gallery_size: int
) -> Relevance:
    """Build the table from (query row, gallery row) pairs; a repeated pair counts once.

    Raises:
        ValueError: the two columns differ in length, or a row lies outside its side; the message names the
            pair.
    """
    queries, items = np.asarray(query_rows, dtype=np.int64), np.asarray(gallery_rows, dtype=np.int64)
    if queries.ndim != 1 or queries.shape != items.shape:
        raise ValueError(
            f"pairs need two columns of the same length, got shapes {queries.shape} and {items.shape}"
        )
    outside = (queries < 0) | (queries >= query_count) | (items < 0) | (items >= gallery_size)
    if outside.any():
        pair = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"pair {pair} (query row {queries[pair]}, gallery row {items[pair]}) lies outside "
            f"{query_count} queries x {gallery_size} gallery items"
        )
    pairs = np.unique(np.stack([queries, items], axis=1), axis=0)
    offsets = np.searchsorted(pairs[:, 0], np.arange(query_count + 1)).astype(np.int64)
    return Relevance(offsets, pairs[:, 1].copy(), gallery_size)
