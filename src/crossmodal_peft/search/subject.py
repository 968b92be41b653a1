"""What is searched: a trained cell's own items, or a folder that was indexed with a trained model."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pandas as pd

from crossmodal_peft.config.cell_file import read_cell
from crossmodal_peft.config.location import find_cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import mark
from crossmodal_peft.inference.description import DESCRIPTION as EXPORTED
from crossmodal_peft.search import index as search_index
from crossmodal_peft.search.index import Index
from crossmodal_peft.stages.prepare import dataset_root

if TYPE_CHECKING:
    from crossmodal_peft.inference.model import Model

FOLDER = "folder"  # What the index of a folder has in the place of a split.
PLACE = "place.txt"  # Beside such an index: the folder that it is of.


@dataclass(frozen=True)
class Subject:
    """An index, how to open the model that embeds queries to it, and the file of a row that was found."""

    index: Index
    model: "Callable[[], Model]"
    file: Callable[[Any], str | None]


def open_subject(given: str, folder: Path | None, paths: str) -> Subject:
    """What `given`, a cell or an exported folder, searches; `folder`: one that was indexed with it.

    Raises ValueError if that was not indexed, or if several folders were and none is given.
    """
    if folder is None and not (Path(given) / EXPORTED).is_file():
        name, layout = find_cell(given, paths)
        return Subject(
            search_index.open_index(name, layout), lambda: _cell(name, layout), _files(name, layout)
        )
    home = home_of(given, paths)
    place = home / mark(str(folder.resolve())) if folder else only_index(home, given)
    description = search_index.read_description(place)
    if description is None:
        raise ValueError(
            f"{folder}: is not indexed; index it with: crossmodal-peft index {given} --folder {folder}"
        )
    source = Path((place / PLACE).read_text(encoding="utf-8"))
    command = f"crossmodal-peft index {given} --folder {source}"
    index = search_index.read_index(place, description, command)
    model = open_model(given, paths)
    if model.description.version != description["weights_sha256"]:
        raise ValueError(f"{source}: was indexed with another model; index it again with: {command}")
    return Subject(index, lambda: model, lambda row: str(source / row.source))


def index_folder(given: str, source: Path, paths: str) -> Index:
    """Index the pictures and sounds under a folder; of what is indexed already, only changed files again.

    Files that cannot be used are left out, and listed in refused.csv beside the index. Raises ValueError if
    there is no file that the model embeds.
    """
    from crossmodal_peft.inference.library import embed_entries, entries_of, matrix, nothing_in

    model, place = open_model(given, paths), home_of(given, paths) / mark(str(source.resolve()))
    entries = {m: entries_of(source, m) for m in model.modalities if m != "text"}
    if not any(entries.values()):
        raise nothing_in(source, *entries)
    known, parts = known_in(place, model.description.version), place.with_name(f".{place.name}.partial")
    tables = {
        modality: embed_entries(model, modality, own, parts / modality, known.get(modality))
        for modality, own in entries.items()
        if own
    }
    usable = {modality: table[table["reason"] == ""] for modality, table in tables.items()}
    index = Index(
        model.description.cell,
        FOLDER,
        {modality: flat(matrix(table)) for modality, table in usable.items() if len(table)},
        {modality: rows_of(table) for modality, table in usable.items() if len(table)},
    )
    search_index.save_index(index, model.description.version, place)
    (place / PLACE).write_text(str(source.resolve()), encoding="utf-8")
    refused = pd.concat([table.loc[table["reason"] != "", ["name", "reason"]] for table in tables.values()])
    if len(refused):
        refused.to_csv(place / "refused.csv", index=False)
        print(f"{len(refused)} files are left out: {place / 'refused.csv'}")
    shutil.rmtree(parts)
    return index


def home_of(given: str, paths: str) -> Path:
    """Where indexes of folders are kept: in the exported folder, or beside those of the project's cells."""
    if (Path(given) / EXPORTED).is_file():
        return Path(given) / "index"
    name, layout = find_cell(given, paths)
    return layout.index("folders") / read_cell(name, layout)[0].cell.name


def only_index(home: Path, given: str) -> Path:
    """The only index of a folder under `home`. Raises ValueError if there is none, or more than one."""
    places = [path.parent for path in sorted(home.glob(f"*/{search_index.DESCRIPTION}"))]
    if not places:
        raise ValueError(f"{given}: no folder is indexed; do: crossmodal-peft index {given} --folder FOLDER")
    if len(places) > 1:
        folders = ", ".join((place / PLACE).read_text(encoding="utf-8") for place in places)
        raise ValueError(f"{given}: several folders are indexed; give one with --folder: {folders}")
    return places[0]


def open_model(given: str, paths: str) -> "Model":
    """The model of an exported folder, or of a cell."""
    from crossmodal_peft.inference.opening import load

    return load(given) if (Path(given) / EXPORTED).is_file() else _cell(*find_cell(given, paths))


def known_in(place: Path, version: str) -> dict[str, pd.DataFrame]:
    """What a stored index holds, as `embed_entries` takes it; nothing if it is of another model."""
    description = search_index.read_description(place)
    if description is None or description["weights_sha256"] != version:
        return {}
    index = search_index.read_index(place, description, f"delete {place}")
    return {
        modality: pd.DataFrame(
            {
                "name": items["item"],
                "stamp": items["stamp"],
                "reason": "",
                "embedding": list(index.vectors[modality].reconstruct_n(0, len(items))),
            }
        )
        for modality, items in index.items.items()
    }


def flat(embeddings: np.ndarray) -> Any:
    """An exact inner-product index of embeddings (items, width)."""
    vectors = faiss.IndexFlatIP(embeddings.shape[1])
    vectors.add(embeddings)
    return vectors


def rows_of(table: pd.DataFrame) -> pd.DataFrame:
    """The items of an index of a folder; no two are known to be relevant to one another."""
    names = table["name"].reset_index(drop=True)
    stamps = table["stamp"].reset_index(drop=True)
    labels = [[number] for number in range(len(names))]
    return pd.DataFrame(
        {"dataset": "", "item": names, "source": names, "labels": labels, "caption": "", "stamp": stamps}
    )


def _cell(name: str, layout: Layout) -> "Model":
    from crossmodal_peft.inference.opening import open_cell

    return open_cell(name, layout)


def _files(name: str, layout: Layout) -> Callable[[Any], str | None]:
    """The file of a row of a cell's own index; a caption has none."""
    cell = read_cell(name, layout)[0].cell

    def file(row: Any) -> str | None:
        root = dataset_root(cell.data[row.dataset], layout)
        path = root / row.source
        return str(path) if path.is_file() else None

    return file
