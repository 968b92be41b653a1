"""Exact search in embedded items: a FAISS index per modality, of a trained cell's own items.

Opening and searching an index does not load torch; building one does.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pandas as pd

from crossmodal_peft.config.cell_file import EMBEDDED_SPLITS, read_cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write, read_json, sha256, write_json
from crossmodal_peft.training.trained import embeddings_of

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.embeddings import Gallery

DESCRIPTION = "index.json"  # Written last: an index without it is incomplete.
SPLITS = (*EMBEDDED_SPLITS, "train")


@dataclass(frozen=True)
class Index:
    """The searchable items of one cell or folder, by modality; `split`: of the cell's dataset, or "folder".

    `vectors` are exact inner-product indexes. Row i of `items` describes vector i: dataset, item (its
    name), source (a caption, or a file path in the unpacked dataset or the folder), caption, labels (codes;
    rows with one in common are relevant to each other).
    """

    cell: str
    split: str
    vectors: dict[str, Any]
    items: dict[str, pd.DataFrame]

    def search(self, query: np.ndarray, modality: str, k: int) -> pd.DataFrame:
        """The k items of a modality nearest to an embedding (width,), best first: `items` with score, rank.

        Raises ValueError if the cell does not have the modality.
        """
        self.require(modality)
        vectors = self.vectors[modality]
        scores, rows = vectors.search(query[None].astype(np.float32), min(k, vectors.ntotal))
        found = self.items[modality].iloc[rows[0]].assign(score=scores[0])
        return found.assign(rank=range(1, len(found) + 1))

    def embedding(self, modality: str, row: int) -> np.ndarray:
        """The embedding (width,) of an item, for a query by example."""
        return self.vectors[modality].reconstruct(row)

    def require(self, modality: str) -> None:
        """Raise ValueError listing the cell's modalities if this is not one of them."""
        if modality not in self.vectors:
            raise ValueError(f"{self.cell} has no {modality}; it has {', '.join(self.vectors)}")


def build_index(name: str, layout: Layout, split: str) -> Index:
    """Index the items of one split of a trained cell (`all`: of every split) and store the index on disk.

    Raises ValueError as `embeddings_of`.
    """
    from crossmodal_peft.data.arrays import read_manifests

    file, _ = read_cell(name, layout)
    parts = [embeddings_of(name, part, layout) for part in (SPLITS if split == "all" else (split,))]
    galleries = [of_dataset for part in parts for of_dataset in part.values()]
    index = index_galleries(
        file.cell.name, split, galleries, read_manifests(layout.manifests(file.cell.dataset))
    )
    save_index(index, file.weights_sha256, layout.index(file.cell.name))
    return index


def index_galleries(
    name: str, split: str, galleries: list[dict[str, "Gallery"]], manifest: pd.DataFrame
) -> Index:
    """Index galleries by modality, one mapping per split and dataset. Each caption is indexed once."""
    from crossmodal_peft.retrieval.captions import captions
    from crossmodal_peft.retrieval.embeddings import pooled

    described = manifest.assign(caption=captions(manifest))[
        ["dataset", "item", "source", "caption", "labels"]
    ]
    vectors, items = {}, {}
    for modality in dict.fromkeys(m for by_modality in galleries for m in by_modality):
        gallery = pooled([by_modality[modality] for by_modality in galleries if modality in by_modality])
        rows = described.iloc[gallery.positions].reset_index(drop=True)
        rows = rows.drop_duplicates(["labels", "source"])
        vectors[modality] = faiss.IndexFlatIP(gallery.embeddings.shape[1])
        vectors[modality].add(gallery.embeddings.numpy()[rows.index])
        items[modality] = rows.reset_index(drop=True)
    return Index(name, split, vectors, items)


def open_index(name: str, layout: Layout) -> Index:
    """The stored index of a cell, of whichever split; rebuilt if the cell has been trained again since.

    Raises ValueError if the cell is not trained, or if a file of the index was changed.
    """
    file, _ = read_cell(name, layout)
    folder = layout.index(file.cell.name)
    description = read_description(folder)
    if description is None:
        return build_index(name, layout, "test")
    if description.get("weights_sha256") != file.weights_sha256:
        return build_index(name, layout, description.get("split", "test"))
    index = read_index(folder, description, f"crossmodal-peft index {name}")
    if not all("labels" in of for of in index.items.values()):  # Of a release in which a row had one label.
        return build_index(name, layout, index.split)
    return index


def read_description(folder: Path) -> dict[str, Any] | None:
    """What a stored index says of itself; None if there is none, or an incomplete one."""
    if not (folder / DESCRIPTION).exists():
        return None
    description: dict[str, Any] = read_json(folder / DESCRIPTION, f"delete {folder} and index again")
    return description


def read_index(folder: Path, description: dict[str, Any], command: str) -> Index:
    """A stored index. Raises ValueError with the command that rebuilds it if a file of it was changed."""
    for path, expected in description["files"].items():
        if not (folder / path).exists() or sha256(folder / path) != expected:
            raise ValueError(f"{folder / path}: changed or missing; rebuild with: {command}")
    modalities = description["modalities"]
    items = {modality: pd.read_parquet(folder / f"{modality}.parquet") for modality in modalities}
    vectors = {modality: faiss.read_index(str(folder / f"{modality}.faiss")) for modality in modalities}
    return Index(description["cell"], description["split"], vectors, items)


def save_index(index: Index, weights_sha256: str, folder: Path) -> None:
    """Store an index in a folder, in place of one that is there; `weights_sha256`: of the model."""
    shutil.rmtree(folder, ignore_errors=True)
    for modality, vectors in index.vectors.items():
        with atomic_write(folder / f"{modality}.faiss") as path:
            faiss.write_index(vectors, str(path))
        with atomic_write(folder / f"{modality}.parquet") as path:
            index.items[modality].to_parquet(path, index=False)
    description = {
        "cell": index.cell,
        "split": index.split,
        "modalities": list(index.vectors),
        "weights_sha256": weights_sha256,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder / DESCRIPTION, description)
