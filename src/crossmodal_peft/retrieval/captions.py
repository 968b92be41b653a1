"""The caption by which a reader knows a row of a manifest."""

import pandas as pd


def captions(manifest: pd.DataFrame) -> pd.Series:
    """The first caption of each row's item, else of its label (of another dataset), else the item's name.

    `manifest`: rows with dataset, item, modality, source and label. The index is that of the manifest.
    """
    texts = manifest[manifest["modality"] == "text"]
    of_item = texts.groupby(["dataset", "item"])["source"].first()
    items = pd.MultiIndex.from_frame(manifest[["dataset", "item"]])
    own = pd.Series(of_item.reindex(items).to_numpy(), manifest.index)
    of_label = manifest["label"].map(texts.groupby("label")["source"].first())
    return own.fillna(of_label).fillna(manifest["item"])
