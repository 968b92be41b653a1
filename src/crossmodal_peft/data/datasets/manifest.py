"""The user's own data: a table in CSV, Parquet or JSON Lines, and the files that it names.

Source, licence and citation are the user's. Columns:

- `id`: name of the item, unique;
- `split`: train, validation or test; without it a hash of the group decides (setting `split`);
- `caption`, or `captions` for several, as a list (in CSV a JSON list);
- `image`, `audio`: file path relative to the table; in Parquet and JSON Lines also a list of paths;
- `group`: items of one group are relevant to each other and in the same split; default: one group per item.

Other columns are ignored.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from crossmodal_peft.config.schema import FoundData, mark
from crossmodal_peft.data import images
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.files import sha256, why_missing

MODALITIES = ("text", "image", "audio")
SPLITS = ("train", "validation", "test")
read_image = images.read_image


class Settings(FoundData):
    """`manifest` names the table."""

    kind: Literal["manifest"]
    manifest: str = Field(
        description="The table: .csv, .parquet or .jsonl.", pattern=r"\.(csv|parquet|jsonl)$"
    )

    @property
    def source(self) -> str:
        """The kind, the table's name, and a short hash of its path."""
        return f"{self.kind}-{Path(self.manifest).stem}-{mark(self.manifest)}"

    @property
    def origin(self) -> dict[str, Any]:
        """The table."""
        return {"manifest": self.manifest}

    @property
    def read(self) -> list[str]:
        """The table."""
        return [self.manifest]


def download(raw: Path, manifest: str) -> dict[str, str]:
    """Nothing to download; the receipt has the table's hash, so that a changed table is prepared again.

    Raises ValueError if the table does not exist.
    """
    if not Path(manifest).is_file():
        raise ValueError(why_missing(Path(manifest)))
    return {"source": manifest, "licence": "the user's own", "sha256": sha256(Path(manifest))}


def unpack(raw: Path, out: Path, manifest: str) -> Path:
    """The folder of the table, to which its file paths are relative."""
    return Path(manifest).parent


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """All rows of the table, in order.

    Raises ValueError if the table cannot be read, or lacks a column for a modality of the dataset.
    """
    table = read_table(Path(settings.manifest))
    _require_columns(table, settings)
    sides: dict[str, str] = {}
    names: set[str] = set()
    for number, row in enumerate(table.to_dict("records"), start=1):
        name = str(_values(row.get("id"))[0]) if _values(row.get("id")) else ""
        if not name or name in names:
            yield Refused(name or f"row {number}", f"row {number}: duplicate id" if name else "no id")
            continue
        names.add(name)
        try:
            item = _item(root, name, {str(k): v for k, v in row.items()}, settings)
        except ValueError as error:
            yield Refused(name, str(error))
            continue
        if item.split and sides.setdefault(item.group, item.split) != item.split:
            yield Refused(name, f"its group {item.group!r} is also in {sides[item.group]}")
        else:
            yield item


def read_table(path: Path) -> pd.DataFrame:
    """The table as it is; CSV cells are strings. Raises ValueError naming the file if it cannot be read."""
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return pd.DataFrame([_object(line, i) for i, line in enumerate(lines, start=1) if line.strip()])
    except (ValueError, OSError) as error:  # Includes the parsing errors of pandas and Arrow.
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not valid JSON: {error.msg}") from None
    if not isinstance(found, dict):
        raise ValueError(f"line {number} is not a JSON object")
    return found


def _require_columns(table: pd.DataFrame, settings: Settings) -> None:
    known = f"its columns are: {', '.join(map(str, table.columns))}"
    needed = [("id",), *[("caption", "captions") if m == "text" else (m,) for m in settings.encoders]]
    for names in needed:
        if not set(names) & set(table.columns):
            raise ValueError(f"{settings.manifest}: no column {' or '.join(names)}; {known}")


def _item(root: Path, name: str, row: dict[str, Any], settings: Settings) -> Item:
    """The item in a row. Raises ValueError with the reason if the row cannot be used."""
    side = str(next(iter(_values(row["split"])), "")).strip() if "split" in row else None
    if side is not None and side not in SPLITS:
        raise ValueError(f"split is {side!r}, not one of: {', '.join(SPLITS)}")
    texts = [str(value).strip() for value in _values(row.get("caption"))]
    texts += [str(value).strip() for value in _captions(row.get("captions"))]
    texts = [text for text in texts if text]
    if "text" in settings.encoders and not texts:
        raise ValueError("no caption")
    group = _values(row.get("group"))
    return Item(
        name=name,
        # Tables that are trained together may use the same ids.
        group=str(group[0]) if group else f"{Path(settings.manifest).stem}:{name}",
        texts=texts,
        images=_files(root, row, "image", settings),
        audios=_files(root, row, "audio", settings),
        split=side,
    )


def _files(
    root: Path, row: dict[str, Any], modality: Literal["image", "audio"], settings: Settings
) -> list[Path]:
    if modality not in settings.encoders:
        return []
    paths = [Path(str(value)) for value in _values(row.get(modality))]
    if not paths:
        raise ValueError(f"no {modality}")
    for path in paths:
        if path.is_absolute():
            raise ValueError(f"{path}: must be relative to the folder of {settings.manifest}")
        if not (root / path).is_file():
            raise ValueError(f"{path}: no such file")
    return [root / path for path in paths]


def _captions(cell: Any) -> list[Any]:
    """The list in a cell, which may be written as JSON."""
    if isinstance(cell, str) and cell.strip():
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            cell = None
        if not isinstance(cell, list):
            raise ValueError('captions is not a JSON list such as ["one", "another"]')
    return _values(cell)


def _values(cell: Any) -> list[Any]:
    """The values in a cell, which may hold none, one, or a list of them."""
    if hasattr(cell, "tolist"):  # Arrow's lists are arrays.
        cell = cell.tolist()
    values = cell if isinstance(cell, list) else [cell]
    return [value for value in values if value is not None and value == value and str(value).strip()]
