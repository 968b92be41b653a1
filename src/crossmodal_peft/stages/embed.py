"""Embeddings of a user's own files."""

import shutil
from pathlib import Path

import numpy as np

from crossmodal_peft.files import atomic_write


def embed_files(model: Path, modality: str, source: Path, out: Path) -> str:
    """Embed a folder's files, or a text's lines, into `out` (.npy); returns a line that says how many.

    Row i of the array is line i of the ids beside it, OUT.ids.txt; items that cannot be used are listed
    with the reason in OUT.refused.csv. An interrupted call is continued by the next. Raises ValueError if
    there is nothing to embed, or no item can be used.
    """
    from crossmodal_peft.inference.library import embed_entries, entries_of, matrix, nothing_in
    from crossmodal_peft.inference.opening import load

    entries = entries_of(source, modality)
    if not entries:
        raise nothing_in(source, modality)
    parts = out.with_name(f".{out.name}.partial")
    table = embed_entries(load(model), modality, entries, parts)
    refused, usable = (table[(table["reason"] != "") == bad] for bad in (True, False))
    listed = out.with_suffix(".refused.csv")
    listed.unlink(missing_ok=True)
    if len(refused):
        refused[["name", "reason"]].to_csv(listed, index=False)
    if not len(usable):
        raise ValueError(f"{source}: none of {len(table)} items can be embedded; see {listed}")
    with atomic_write(out) as path:
        np.save(path, matrix(usable))
    ids = out.with_suffix(".ids.txt")
    ids.write_text("".join(f"{name}\n" for name in usable["name"]), encoding="utf-8")
    shutil.rmtree(parts)
    lost = f"; {len(refused)} refused, see {listed}" if len(refused) else ""
    return f"{out}: {len(usable)} of {len(table)} items, named in {ids}{lost}"
