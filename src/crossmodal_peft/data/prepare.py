"""Raw items → a manifest and one memory-mapped array for each modality."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import DatasetSettings, FoundData, Modality, Split
from crossmodal_peft.data.array_writer import ArrayWriter
from crossmodal_peft.data.encoder_folder import unknown_share
from crossmodal_peft.data.inputs import Reader, readers_of
from crossmodal_peft.data.items import Item, Refused, split_of
from crossmodal_peft.data.overlaps import Overlaps, overlaps, united
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.files import atomic_write, delete_partial

MAX_UNKNOWN = 0.5  # Share of the tokens in all captions; a vocabulary that fits has next to none.
MANY_UNKNOWN = 0.01  # A larger share is printed.
LINE_SECONDS = 30.0  # between progress lines
COLUMNS = ["item", "split", "modality", "row", "source", "reason", "group"]


class Prepared(NamedTuple):
    """A prepared dataset: its manifest, and what its items share."""

    manifest: pd.DataFrame
    overlaps: Overlaps


def prepare(
    root: Path,
    encoder_folders: Mapping[Modality, Path],
    settings: DatasetSettings,
    encoders: dict[str, Any],
    out: Path,
) -> Prepared:
    """Decode every item of the unpacked dataset at `root` once; write a manifest and one array per modality.

    The manifest has a row for each representation of an item: item, group, split, modality, row (in the
    array), length (tokens without padding; -1: all), source (caption or file path), reason (why the item was
    refused; its row is then -1), labels (of the item, one a line; only if a group is not its items' label),
    label (a number for these, or for the group). `data.labels` says what is relevant to what.
    Refused items are also listed in refused.csv. Raises ValueError if they are too many or a split is empty.
    """
    dataset = plugins.module("datasets", settings.kind)
    delete_partial(out)
    found = _limited(list(dataset.items(root, settings)), settings)
    items = [item for item in found if isinstance(item, Item)]
    count = len(found) + sum(len(item.also) for item in items)
    _require_enough([item for item in found if isinstance(item, Refused)], count, settings, out)
    if "text" in encoder_folders:
        _require_known(found, encoder_folders["text"], out.name)
    writers = {
        modality: ArrayWriter(out / f"{modality}.npy", sum(len(item.of(modality)) for item in items))
        for modality in encoder_folders
    }
    readers = readers_of(dataset, encoder_folders, encoders)
    rows = [
        row for item in shown(found, out.name) for row in _rows(item, writers, readers, root, settings.split)
    ]
    manifest = _manifest(rows)
    refused = [Refused(row["item"], row["reason"]) for row in rows if row["reason"]]
    _require_enough(refused, count, settings, out)
    _require_all_splits(manifest)
    lengths = {modality: writer.close() for modality, writer in writers.items()}
    manifest["length"] = [
        lengths[m][row] if row >= 0 else -1 for m, row in zip(manifest.modality, manifest.row)
    ]
    with atomic_write(out / "manifest.parquet") as path:
        manifest.to_parquet(path, index=False)
    accepted = set(manifest.loc[manifest.reason == "", "item"])
    return Prepared(manifest, overlaps([item for item in items if item.name in accepted], settings.split))


def _manifest(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows with `label`, and with `labels` if these are not the groups."""
    manifest = pd.DataFrame(rows, columns=[*COLUMNS, "labels"])
    accepted = manifest.reason == ""
    names = manifest["labels"]
    if (names[accepted] == manifest.loc[accepted, "group"]).all():
        manifest = manifest.drop(columns="labels")
    codes = {name: code for code, name in enumerate(sorted(names[accepted].unique()))}
    return manifest.assign(label=names.map(codes).fillna(-1).astype("int64"))


def _rows(
    item: Item | Refused, writers: Any, readers: dict[str, Reader], root: Path, split: Split
) -> Iterator[dict[str, Any]]:
    blank = dict(zip(COLUMNS, [item.name, "", "", -1, "", "", None]))
    if isinstance(item, Refused):
        yield blank | {"reason": item.reason}
        return
    try:
        inputs = {m: [readers[m](source) for source in item.of(m)] for m in writers}
    except Unusable as error:
        yield from (blank | {"item": name, "reason": str(error)} for name in (item.name, *item.also))
        return
    for modality, prepared in inputs.items():
        for source, (values, length) in zip(item.of(modality), prepared, strict=True):
            yield blank | {
                "split": item.split or split_of(item.group, split),
                "modality": modality,
                "row": writers[modality].add(values, length),
                "source": str(source.relative_to(root)) if isinstance(source, Path) else source,
                "group": item.group,
                "labels": "\n".join(item.labels or [item.group]),
            }


def shown(found: Sequence[Any], name: str) -> Iterator[Any]:
    """The items of a dataset; prints the progress from time to time."""
    printed = time.monotonic()
    for number, item in enumerate(found):
        if time.monotonic() - printed > LINE_SECONDS:
            printed = time.monotonic()
            print(f"{name}: {number} of {len(found)} items prepared", flush=True)
        yield item


def _limited(found: list[Item | Refused], settings: DatasetSettings) -> Sequence[Any]:
    """At most `limit` items, chosen by a hash of their names."""
    if settings.limit is None:
        return found
    items = [item for item in found if isinstance(item, Item)]
    items.sort(key=lambda item: hashlib.sha256(item.name.encode()).digest())
    return items[: settings.limit]


def _require_known(found: Sequence[Any], folder: Path, name: str) -> None:
    """Raise ValueError if the text encoder does not know the words of the captions; print it if some."""
    share = unknown_share([text for item in found if isinstance(item, Item) for text in item.texts], folder)
    if share > MAX_UNKNOWN:
        raise ValueError(
            f"{name}: {folder} does not know {100 * share:.0f} % of the tokens in the captions, more than "
            f"{100 * MAX_UNKNOWN:.0f} %: its vocabulary is of another model, or the captions are in a script "
            "that it cannot read"
        )
    if share > MANY_UNKNOWN:
        print(f"{name}: the text encoder does not know {100 * share:.0f} % of the tokens in the captions")


def _require_enough(refused: list[Refused], found: int, settings: DatasetSettings, out: Path) -> None:
    """List the refused items in refused.csv; raise ValueError if they are more than the settings allow."""
    path = out / "refused.csv"
    path.unlink(missing_ok=True)
    if not found:
        raise ValueError("no items were found")
    if refused:
        with atomic_write(path) as partial:
            pd.DataFrame([(r.name, r.reason) for r in refused], columns=["item", "reason"]).to_csv(
                partial, index=False
            )
    if isinstance(settings, FoundData) and len(refused) > settings.max_lost * found:
        first = "; ".join(f"{r.name}: {r.reason}" for r in refused[:3]) + ("; …" if len(refused) > 3 else "")
        raise ValueError(
            f"{len(refused)} of {found} items were refused, more than max_lost {settings.max_lost:g} allows "
            f"({first}); see {path} for all of them"
        )


def _require_all_splits(manifest: pd.DataFrame) -> None:
    missing = {"train", "validation", "test"} - set(manifest.split)
    if missing:
        groups = manifest[manifest.reason == ""].drop_duplicates("item")["group"]
        raise ValueError(
            f"no items in {', '.join(sorted(missing))}: of {manifest.item.nunique()} items "
            f"{manifest.loc[manifest.reason != '', 'item'].nunique()} were refused; "
            + (united(groups) or "see `limit` and `split`")
        )
