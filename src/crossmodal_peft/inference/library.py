"""Embeddings of a folder's files, or of a text's lines: computed once, and continued where interrupted."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossmodal_peft.files import atomic_write
from crossmodal_peft.inference.media import SUFFIXES
from crossmodal_peft.inference.model import Model

CHUNK = 256  # Items after which what was computed is kept.


@dataclass(frozen=True)
class Entry:
    """An item: its name, what changes when its content does, and the text or path to embed."""

    name: str
    stamp: str
    item: Any


def entries_of(source: Path, modality: str) -> list[Entry]:
    """The pictures or sounds under a folder, sorted by name; or the lines of a text file, by number."""
    return list(_lines(source) if modality == "text" else _files(source, SUFFIXES[modality]))


def nothing_in(source: Path, *modalities: str) -> ValueError:
    """The error for a source in which there is nothing to embed."""
    suffixes = ", ".join(suffix for modality in modalities for suffix in SUFFIXES.get(modality, ()))
    return ValueError(f"{source}: has no {f'files that end with {suffixes}' if suffixes else 'lines'}")


def embed_entries(
    model: Model, modality: str, entries: list[Entry], parts: Path, known: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Embed entries, except those that are known with the same stamp; keeps parts in a folder meanwhile.

    Returns name, stamp, reason (why it could not be embedded; else empty) and embedding (width,), in the
    order of the entries. `known` is such a table. An interrupted call is continued by the next.
    """
    own = parts / model.description.version
    if not own.exists():  # The parts are of another model, or there are none.
        shutil.rmtree(parts, ignore_errors=True)
        own.mkdir(parents=True)
    kept = [pd.read_parquet(path) for path in sorted(own.glob("*.parquet"))]
    tables = [*([] if known is None else [known]), *kept]
    done = {key for table in tables for key in zip(table["name"], table["stamp"])}
    waiting = [entry for entry in entries if (entry.name, entry.stamp) not in done]
    for number, start in enumerate(range(0, len(waiting), CHUNK), start=len(kept)):
        chunk = embed_chunk(model, modality, waiting[start : start + CHUNK])
        with atomic_write(own / f"{number:06}.parquet") as path:
            chunk.to_parquet(path, index=False)
        tables.append(chunk)
    rows = pd.concat(tables).drop_duplicates(["name", "stamp"]).set_index(["name", "stamp"])
    return rows.loc[[(entry.name, entry.stamp) for entry in entries]].reset_index()


def embed_chunk(model: Model, modality: str, entries: list[Entry]) -> pd.DataFrame:
    """The table of some entries, as `embed_entries` returns it."""
    reasons = [""] * len(entries)
    embeddings = model.encode_usable(modality, [entry.item for entry in entries], reasons.__setitem__)
    return pd.DataFrame(
        {
            "name": [entry.name for entry in entries],
            "stamp": [entry.stamp for entry in entries],
            "reason": reasons,
            "embedding": list(embeddings),
        }
    )


def matrix(table: pd.DataFrame) -> np.ndarray:
    """The embeddings (rows, width), float32, of a table."""
    return np.stack(table["embedding"].tolist()).astype(np.float32)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Entry]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            status = path.stat()
            yield Entry(path.relative_to(folder).as_posix(), f"{status.st_size} {status.st_mtime_ns}", path)


def _lines(path: Path) -> Iterator[Entry]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        yield Entry(str(number), hashlib.sha256(line.encode()).hexdigest(), line)
