"""Precomputed embeddings: .npy files, optionally ids, and a table of relevant pairs."""

import itertools
import math
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.retrieval.embeddings import Gallery
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_pairs
from crossmodal_peft.tabular import cells
from crossmodal_peft.tabular.table import Table, read_table
from crossmodal_peft.tabular.text import at, lines_of, read_text

GRADES = ("relevance", "grade", "score", "judgement", "judgment")


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
    positions = rows if ids is None else _read_ids(ids, path, len(array))
    return Gallery(torch.from_numpy(embeddings), rows, positions, _contents(embeddings))


def _contents(embeddings: np.ndarray) -> np.ndarray | None:
    """A number for each row, the same for equal rows; None if no two are equal."""
    codes: dict[bytes, int] = {}
    found = [codes.setdefault(blake2b(row.tobytes()).digest(), len(codes)) for row in embeddings]
    return np.array(found) if len(codes) < len(found) else None


def _read_ids(path: Path, embeddings: Path, count: int) -> np.ndarray:
    try:
        lines = lines_of(read_text(path))
    except ValueError as error:
        raise ValueError(at(path, error)) from None
    lines = lines[:-1] if lines[-1] == "" else lines
    if len(lines) != count:
        raise ValueError(f"{path}: {len(lines)} ids, but {embeddings} has {count} rows")
    ids = [_name(line, "the id", f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    unusable = pd.Index(ids).duplicated() | (pd.Index(ids) == "")
    if unusable.any():
        line = int(np.flatnonzero(unusable)[0])
        fault = f"{ids[line]!r} is used above already" if ids[line] else "is empty"
        raise ValueError(f"{path}, line {line + 1}: the id {fault}")
    return np.array(ids, dtype=object)


def _name(cell: Any, column: str, place: str) -> str:
    try:
        return cells.name(cell, column)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


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
    """Read a table with the columns `query` and `item`: one pair of ids (or rows, from 0) per line.

    A pair is relevant; in a table with a column of grades, if its grade is above 0. Raises ValueError as
    `read_table`, and naming file and line if an id is unknown, a grade no number, or a pair judged in two
    ways; also for other columns, and if there are no relevant pairs.
    """
    table = read_table(path, ["query", "item", *GRADES], required=[("query",), ("item",)])
    grades = [name for name in GRADES if name in table.columns]
    if table.others or len(grades) > 1:
        more = table.others or grades
        raise ValueError(
            f"{path}: the columns {', '.join(more)} beside query and item; keep one at most, of grades, "
            f"and call it {' or '.join(GRADES)}"
        )
    pairs = list(zip(_rows(table, "query", queries), _rows(table, "item", gallery)))
    relevant = [not grades or _grade(table, grades[0], row) > 0 for row in range(len(pairs))]
    if not any(relevant):
        above = f", with a {grades[0]} above 0" if grades else ""
        raise ValueError(f"{path}: no relevant pairs; give at least one line of query,item{above}")
    if grades:
        _require_one_judgement(table, pairs, relevant)
    ours, theirs = zip(*itertools.compress(pairs, relevant))
    return relevance_from_pairs(ours, theirs, len(queries.positions), len(gallery.positions))


def _rows(table: Table, column: str, side: Gallery) -> list[int]:
    """The rows of a side that the ids in a column name."""
    row_of = {str(position): row for row, position in enumerate(side.positions)}
    found = []
    for number, cell in enumerate(table.columns[column]):
        row = row_of.get(cell) if isinstance(cell, str) else None
        if row is None:
            place = f"{table.path}, {table.place(number)}"
            name = _name(cell, column, place)
            if name not in row_of:
                raise ValueError(f"{place}: {column} {name} is not among the {len(row_of)} embeddings")
            row = row_of[name]
        found.append(row)
    return found


def _grade(table: Table, column: str, row: int) -> float:
    cell = table.columns[column][row]
    try:
        grade = float(cell)
    except (TypeError, ValueError):
        grade = math.nan
    if not math.isfinite(grade):
        raise ValueError(f"{table.path}, {table.place(row)}: {column} is {cell!r}, not a number")
    return grade


def _require_one_judgement(table: Table, pairs: list[tuple[int, int]], relevant: list[bool]) -> None:
    """Raise ValueError if a pair is judged relevant in one line and not relevant in another."""
    judged: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(pairs):
        other = judged.setdefault(pair, row)
        if relevant[other] != relevant[row]:
            raise ValueError(
                f"{table.path}, {table.place(row)}: relevant in one line and not relevant in another, "
                f"{table.place(other)}; keep one"
            )
