"""The user's own data: a table in CSV, TSV, Parquet or JSON Lines, and the files that it names.

Source, licence and citation are the user's. Columns:

- `id`: name of the item, unique; default: its files;
- `split`: train, validation or test; without it a hash of the group decides (setting `split`);
- `caption`, or `captions` for several, as a list (in CSV a JSON list);
- `image`, `audio`: file path relative to the table; in Parquet and JSON Lines also a list of paths;
- `group`: items of one group are in the same split; default: one group per item;
- `label`: items with a label in common are relevant to each other, also a list; default: their captions.

Other columns are ignored. Rows with the same files are one item, and without `split`, items that share a file
or a caption are one group (see `data.overlaps`); labelled items may share captions with those of other sides.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import FoundData, mark
from crossmodal_peft.data import images
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.data.labels import normal_form
from crossmodal_peft.data.named_files import named_file
from crossmodal_peft.data.overlaps import own_items
from crossmodal_peft.files import parse_json, sha256, why_missing
from crossmodal_peft.tabular import cells
from crossmodal_peft.tabular.table import Table, read_table

MODALITIES = ("text", "image", "audio")
SPLITS = ("train", "validation", "test")
LIST = re.compile(r"""\s*\[\s*["'].*["']\s*\]\s*""", re.DOTALL)  # As JSON or Python writes it.
read_image = images.read_image


class Settings(FoundData):
    """`manifest` names the table."""

    kind: Literal["manifest"]
    manifest: str = Field(
        description="The table: .csv, .tsv, .parquet or .jsonl.", pattern=r"\.(csv|tsv|parquet|jsonl)$"
    )

    @property
    def source(self) -> str:
        """The kind, the table's name in letters that every shell knows, and a short hash of its path."""
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(self.manifest).stem)
        return f"{self.kind}-{stem}-{mark(self.manifest)}"

    @property
    def origin(self) -> dict[str, Any]:
        """The table."""
        return {"manifest": self.manifest}

    @property
    def read(self) -> list[str]:
        """The table, by its name on the disk."""
        return [str(_table(self.manifest))]


def download(raw: Path, manifest: str) -> dict[str, str]:
    """Nothing to download; the receipt has the table's hash, so that a changed table is prepared again.

    Raises ValueError if the table does not exist.
    """
    table = _table(manifest)
    if not table.is_file():
        raise ValueError(why_missing(table))
    return {"source": manifest, "licence": "the user's own", "sha256": sha256(table)}


def unpack(raw: Path, out: Path, manifest: str) -> Path:
    """The folder of the table, to which its file paths are relative."""
    return _table(manifest).parent


def _table(manifest: str) -> Path:
    """The table, or where it should be; accents in its name may be composed in another way on the disk."""
    path = Path(manifest)
    try:
        return path if path.is_file() else named_file(Path(path.anchor), str(path.relative_to(path.anchor)))
    except ValueError:
        return path


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """The items of the table, in the order of their first rows.

    Raises ValueError if the table cannot be read, or lacks a column for a modality of the dataset.
    """
    media = [(modality,) for modality in settings.encoders if modality != "text"]
    needed = [("caption", "captions"), *media] if "text" in settings.encoders else media
    known = ["id", "split", "group", "label", "caption", "captions", *(modality for (modality,) in media)]
    table = read_table(_table(settings.manifest), known, needed)
    if table.others:
        print(f"{settings.manifest}: columns that are not read: {', '.join(table.others)}", flush=True)
    return own_items(list(_rows(root, table, settings)), by_caption="label" not in table.columns)


def _rows(root: Path, table: Table, settings: Settings) -> Iterator[Item | Refused]:
    taken: set[str] = set()
    for number, row in enumerate(table.rows()):
        place = table.place(number)
        try:
            name = _name(row, place, taken)
        except ValueError as error:
            yield Refused(place, str(error))
            continue
        taken.add(name)
        try:
            yield _item(root, name, row, settings)
        except ValueError as error:
            yield Refused(name, str(error))


def _name(row: dict[str, Any], place: str, taken: set[str]) -> str:
    """The id of a row; in a table without ids its files, and its place where they stand above already.

    Raises ValueError if the id is missing, rounded or taken.
    """
    if "id" in row:
        own = cells.name(row["id"], "id")
        if not own or own in taken:
            raise ValueError(f"duplicate id {own!r}" if own else "no id")
        return own
    files = [path for key in ("image", "audio") for path in cells.paths(row.get(key), key)]
    name = " + ".join(files) or place
    return f"{name} ({place})" if name in taken else name


def _item(root: Path, name: str, row: dict[str, Any], settings: Settings) -> Item:
    """The item in a row. Raises ValueError with the reason if the row cannot be used."""
    side = cells.name(row["split"], "split") if "split" in row else None
    if side is not None and side not in SPLITS:
        raise ValueError(f"split is {side!r}, not one of: {', '.join(SPLITS)}")
    texts = [*_caption(row.get("caption")), *_captions(row.get("captions"))]
    if "text" in settings.encoders and not texts:
        raise ValueError("no caption")
    # Tables that are trained together may use the same ids.
    own, group = f"{Path(settings.manifest).stem}:{name}", cells.name(row.get("group"), "group")
    return Item(
        name=name,
        group=group or own,
        texts=texts,
        images=_files(root, row, "image", settings),
        audios=_files(root, row, "audio", settings),
        split=side,
        labels=_labels(row["label"])
        if "label" in row
        else tuple(sorted({*map(normal_form, texts)})) or (own,),
    )


def _labels(cell: Any) -> tuple[str, ...]:
    labels = tuple(sorted({" ".join(value.split()) for value in cells.names(cell, "label")}))
    if not labels:
        raise ValueError("no label; fill in the column or leave it out")
    return labels


def _files(
    root: Path, row: dict[str, Any], modality: Literal["image", "audio"], settings: Settings
) -> list[Path]:
    if modality not in settings.encoders:
        return []
    paths = cells.paths(row.get(modality), modality)
    if not paths:
        raise ValueError(f"no {modality}")
    return [named_file(root, path) for path in paths]


def _caption(cell: Any) -> list[str]:
    if isinstance(cell, str) and LIST.fullmatch(cell):
        raise ValueError(f"caption holds a list ({cell[:40]}); name the column captions")
    return cells.texts(cell, "caption")


def _captions(cell: Any) -> list[str]:
    """The list in a cell, which may be written as JSON."""
    if isinstance(cell, str) and cell.strip():
        try:
            cell = parse_json(cell)
        except ValueError:
            cell = None
        if not isinstance(cell, list):
            raise ValueError('captions is not a JSON list such as ["one", "another"]')
    return cells.texts(cell, "captions")
