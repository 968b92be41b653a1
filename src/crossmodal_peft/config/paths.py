"""Where the workflow keeps its files. Does not load torch: the Snakefile uses it too."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossmodal_peft.config.cell import Cell, parts
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.config.settings import Paths

RECEIPT = "source.json"  # In each download's folder: what it is, its source and its hashes.


@dataclass(frozen=True)
class Layout:
    """Paths under the roots in the setting `paths`."""

    raw: Path
    prepared: Path
    checkpoints: Path
    results: Path
    scratch: Path | None = None

    @classmethod
    def of(cls, paths: Paths) -> "Layout":
        """The layout for the settings' paths."""
        scratch = None if paths.scratch is None else Path(os.path.expandvars(paths.scratch))
        return cls(
            Path(paths.raw), Path(paths.prepared), Path(paths.checkpoints), Path(paths.results), scratch
        )

    def under(self, root: Path) -> "Layout":
        """The same layout with paths relative to another folder than the working folder."""
        return Layout(
            root / self.raw, root / self.prepared, root / self.checkpoints, root / self.results, self.scratch
        )

    def dataset(self, kind: str) -> Path:
        """Folder of a dataset source's downloads."""
        return self.raw / "datasets" / kind

    def unpacked(self, kind: str) -> Path:
        """Folder of a dataset source's unpacked files: a cache that may be deleted."""
        return self.raw.with_name("unpacked") / kind

    def encoder(self, name: str) -> Path:
        """Hugging Face folder of an encoder."""
        return self.raw / "encoders" / name

    def manifest(self, dataset: str) -> Path:
        """Manifest of a prepared dataset."""
        return self.prepared / dataset / "manifest.parquet"

    def activations(self, dataset: str, modality: str, cut: str) -> Path:
        """Array of a modality at a cut (or `Cell.stored`); at `input` it is the prepared array."""
        name = f"{modality}.npy" if cut == "input" else f"{modality}.{cut}.npy"
        return self.prepared / dataset / name

    def manifests(self, dataset: str) -> dict[str, Path]:
        """The manifests, by name, of a dataset or of several trained together (`a+b`)."""
        return {name: self.manifest(name) for name in parts(dataset)}

    def arrays(self, cell: Cell) -> dict[str, dict[Modality, Path]]:
        """The arrays that a cell trains on, by dataset and modality."""
        return {
            name: {m: self.activations(name, m, cell.stored(m)) for m in data.encoders}
            for name, data in cell.data.items()
        }

    def folders(self, encoders: Mapping[Modality, str]) -> dict[Modality, Path]:
        """The folders of encoders, by modality."""
        return {modality: self.encoder(name) for modality, name in encoders.items()}

    def checkpoint(self, cell_name: str) -> Path:
        """Folder of a cell's weights, embeddings and per-query results, by its name dataset/method/seed."""
        return self.checkpoints / cell_name

    def training_state(self, cell_name: str) -> Path:
        """Folder of an unfinished training's state, which neither workflow nor version control tracks."""
        return self.checkpoints.with_name(f"{self.checkpoints.name}-unfinished") / cell_name

    def logged(self, logger: str, cell_name: str) -> Path:
        """Folder that a logger writes to during a training."""
        return self.results / "live" / logger / cell_name

    def run(self, cell_name: str) -> Path:
        """Folder of a cell's history and record."""
        return self.results / "runs" / cell_name

    def index(self, cell_name: str) -> Path:
        """Folder of a cell's search index: a cache that may be deleted."""
        return self.prepared.with_name("indexes") / cell_name

    def trained_cells(self) -> list[str]:
        """Names of the cells that have a checkpoint, sorted by dataset, method and seed."""
        found = [
            path.parent.relative_to(self.checkpoints).parts
            for path in self.checkpoints.glob("*/*/*/cell.json")
        ]
        return ["/".join(parts) for parts in sorted(found, key=lambda parts: (*parts[:2], int(parts[2])))]
