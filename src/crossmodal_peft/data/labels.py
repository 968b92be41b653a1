"""What is relevant to what: the rows of manifests → label codes; rows with one in common are relevant."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

Labels = tuple[str, ...]


def normal_form(caption: str) -> str:
    """What equal captions have in common.

    Case, the form of Unicode, the width of spaces, and punctuation at the end do not tell captions apart.
    """
    folded = " ".join(unicodedata.normalize("NFKC", caption).casefold().split())
    return folded.rstrip(" .,;:!?…。") or folded


def with_labels(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows of one or more datasets with `label`, the code of an item's labels, and `labels`.

    `labels` has the codes by which a row is relevant to others: a caption that is one of its item's labels
    has that alone, a file those of all items of its dataset and split that have it, anything else those of
    its item. `manifest`: rows with dataset, split, modality, source, group, and labels where a group is not
    its items' label.
    """
    labelled = "labels" in manifest
    names = manifest["labels"].fillna(manifest["group"]) if labelled else manifest["group"]
    own = _own(manifest, [tuple(of.split("\n")) for of in names]) if labelled else [(of,) for of in names]
    codes = {name: code for code, name in enumerate(sorted({name for of in own for name in of}))}
    labels: list[Any] = [tuple(sorted(codes[name] for name in of)) for of in own]
    return manifest.assign(
        label=pd.factorize(names, sort=True)[0], labels=pd.Series(labels, manifest.index, dtype=object)
    )


def apart(manifest: pd.DataFrame) -> int:
    """How many labels stand on one side in one of several datasets, and on another side in another.

    `manifest` is as `with_labels` returns it.
    """
    rows = manifest[["dataset", "split", "labels"]].explode("labels").drop_duplicates()
    sides = rows.groupby(["labels", "dataset"])["split"].agg(["first", "size"]).reset_index()
    sides = sides[sides["size"] == 1]
    return int((sides.groupby("labels")["first"].nunique() > 1).sum())


def _own(manifest: pd.DataFrame, labels: Sequence[Labels]) -> list[Labels]:
    """The labels of each row."""
    keys = list(zip(*(manifest[key] for key in ("dataset", "split", "modality", "source")), strict=True))
    of_file: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for key, of in zip(keys, labels, strict=True):
        of_file[key] |= dict.fromkeys(of)
    return [
        _of_caption(key[-1], of) if key[2] == "text" else tuple(of_file[key])
        for key, of in zip(keys, labels, strict=True)
    ]


def _of_caption(caption: str, labels: Labels) -> Labels:
    normal = normal_form(caption)
    return (normal,) if normal in labels else labels
