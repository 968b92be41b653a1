"""Search in the items of a trained cell: a FAISS index per modality, queries from any modality.

Opening and searching an index does not load torch; building one and embedding a query does.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pandas as pd

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import EMBEDDED_SPLITS, read_cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data import uploads
from crossmodal_peft.data.images import require_seen
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.files import atomic_write, read_json, sha256, write_json
from crossmodal_peft.training.trained import embeddings_of

if TYPE_CHECKING:
    from crossmodal_peft.models.dual_encoder import DualEncoder
    from crossmodal_peft.retrieval.embeddings import Gallery

DESCRIPTION = "index.json"  # Written last: an index without it is incomplete.
SPLITS = (*EMBEDDED_SPLITS, "train")


@dataclass(frozen=True)
class Index:
    """The searchable items of one cell, by modality.

    `vectors` are exact inner-product indexes. Row i of `items` describes vector i: dataset, item (its
    name), source (a caption, or a file path in the unpacked dataset), caption, labels (codes; rows with one
    in common are relevant to each other).
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


def build_index(name: str, split: str, layout: Layout) -> Index:
    """Index the items of one split of a trained cell (`all`: of every split) and store the index on disk.

    Raises ValueError as `embeddings_of`.
    """
    from crossmodal_peft.data.arrays import read_manifests

    file, _ = read_cell(name, layout)
    parts = [embeddings_of(name, part, layout) for part in (SPLITS if split == "all" else (split,))]
    galleries = [of_dataset for part in parts for of_dataset in part.values()]
    index = index_galleries(name, split, galleries, read_manifests(layout.manifests(file.cell.dataset)))
    _save(index, file.weights_sha256, layout.index(name))
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
    folder = layout.index(name)
    file, _ = read_cell(name, layout)
    if not (folder / DESCRIPTION).exists():
        return build_index(name, "test", layout)
    again = f"rebuild with: crossmodal-peft index {name}"
    description = read_json(folder / DESCRIPTION, again)
    if description.get("weights_sha256") != file.weights_sha256:
        return build_index(name, description.get("split", "test"), layout)
    for path, expected in description["files"].items():
        if not (folder / path).exists() or sha256(folder / path) != expected:
            raise ValueError(f"{folder / path}: changed or missing; {again}")
    modalities = description["modalities"]
    items = {modality: pd.read_parquet(folder / f"{modality}.parquet") for modality in modalities}
    if not all("labels" in of for of in items.values()):  # Of a release in which a row had one label.
        return build_index(name, description["split"], layout)
    vectors = {modality: faiss.read_index(str(folder / f"{modality}.faiss")) for modality in modalities}
    return Index(name, description["split"], vectors, items)


def _save(index: Index, weights_sha256: str, folder: Path) -> None:
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


@dataclass(frozen=True)
class QueryEncoder:
    """A trained cell's model, and the preparers that turn captions, images and waveforms into its inputs."""

    model: "DualEncoder"
    preparers: dict[str, Callable[[list[Any]], tuple[np.ndarray, np.ndarray | None]]]

    def embed(self, modality: str, medium: Any) -> np.ndarray:
        """The unit-length embedding (width,) of a caption, PIL image, or mono waveform at the cell's rate.

        Raises ValueError as `require_seen`.
        """
        import torch

        inputs, lengths = self.preparers[modality]([medium])
        require_seen(inputs[0], medium)
        if lengths is not None:
            inputs = inputs[:, : lengths.max()]
        sizes = None if lengths is None else torch.from_numpy(lengths)
        with torch.inference_mode():
            embedding: np.ndarray = self.model.embed(modality, torch.from_numpy(inputs), sizes)[0].numpy()
        return embedding


def open_query_encoder(name: str, layout: Layout) -> QueryEncoder:
    """A trained cell ready to embed queries, in float32 on the CPU.

    Raises ValueError if the checkpoint or its encoders have changed.
    """
    from crossmodal_peft.config import plugins
    from crossmodal_peft.models.checkpoint import open_checkpoint

    cell = read_cell(name, layout)[0].cell
    folders = layout.folders(cell.encoder_names)
    _, model = open_checkpoint(layout.checkpoint(name), folders, "sdpa")
    tower: Any
    for tower in model.towers.values():
        tower.cut = "input"  # A query has no cached activations.
    preparers = {
        str(modality): plugins.module("encoders", settings.family).preparer(folders[modality], settings)
        for modality, settings in cell.encoders.items()
    }
    return QueryEncoder(model, preparers)


def search_for(
    name: str, modality: str, query: str | Path, to: str | None, k: int, layout: Layout
) -> pd.DataFrame:
    """Search a trained cell for a text or a file, as `Index.search`. `to` None: another modality.

    Raises ValueError naming the file if it cannot be used, or the cell's modalities if it lacks one.
    """
    index = open_index(name, layout)
    index.require(modality)
    others = [other for other in index.vectors if other != modality]
    to = to or (others or [modality])[0]
    index.require(to)
    cell = read_cell(name, layout)[0].cell
    try:
        medium = read_query(modality, _content(query) if isinstance(query, Path) else query, cell)
        embedding = open_query_encoder(name, layout).embed(modality, medium)
    except Unusable as error:
        raise ValueError(f"{query if isinstance(query, Path) else 'the text'} {error}") from None
    return index.search(embedding, to, k)


def _content(path: Path) -> bytes:
    """A file, or enough of it to be refused as too large."""
    with open(path, "rb") as file:
        return file.read(uploads.MAX_BYTES + 1)


def read_query(modality: str, query: Any, cell: Cell) -> Any:
    """A typed text, or the content of a file, as a cell's encoders take it. Raises Unusable."""
    if modality == "text":
        return uploads.read_text(query)
    if modality == "image":
        return uploads.read_image(query)
    encoder: Any = cell.encoders["audio"]
    return uploads.read_audio(query, sample_rate(cell), encoder.seconds)


def sample_rate(cell: Cell) -> int:
    """Sample rate (Hz) that a cell's audio encoder expects."""
    from crossmodal_peft.config import plugins

    rate: int = plugins.module("encoders", cell.encoders["audio"].family).SAMPLE_RATE
    return rate
